"""Requests and tokens a second at 1, 8, 32 and 128 at once, 512 tokens in and 128 out, against Transformers' generate.

python -m benchmarks.gpu.throughput
"""

import asyncio
import time

from benchmarks.gpu.serving import MODEL, Server, ask, keep, serving, summary, words

PROMPT, ANSWER = 512, 128


def transformers_generate() -> dict[str, float]:
    """Requests a second of generate, one after another and in batches of 32. Weights are random, in bfloat16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(MODEL)
    torch.set_default_device("cuda")
    torch.set_default_dtype(torch.bfloat16)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    torch.set_default_device("cpu")
    torch.set_default_dtype(torch.float32)
    found = {}
    for name, batch, rounds in (("serial", 1, 3), ("batched_32", 32, 1)):
        ids = torch.randint(1000, 100_000, (batch, PROMPT), device="cuda")
        options = {"max_new_tokens": ANSWER, "min_new_tokens": ANSWER, "do_sample": False, "pad_token_id": 0}
        with torch.inference_mode():
            model.generate(
                ids, attention_mask=torch.ones_like(ids), **(options | {"max_new_tokens": 4, "min_new_tokens": 4})
            )
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(rounds):
                model.generate(ids, attention_mask=torch.ones_like(ids), **options)
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        found[f"{name}_requests_per_s"] = round(batch * rounds / seconds, 3)
        found[f"{name}_tokens_per_s"] = round(batch * rounds * ANSWER / seconds, 1)
    return found


def measure(server: Server) -> dict[str, dict[str, float]]:
    found = {}
    for at_once, requests in ((1, 6), (8, 32), (32, 128), (128, 384)):
        chats = [words(PROMPT, seed=1000 * at_once + i) for i in range(requests)]
        found[str(at_once)] = summary(*asyncio.run(ask(server.url, chats, at_once=at_once, max_tokens=ANSWER)))
    return found


def main() -> None:
    baseline = transformers_in_a_child()
    with serving("throughput") as server:
        keep("throughput", compare(measure(server), baseline))


def compare(vllm: dict[str, dict[str, float]], baseline: dict[str, float]) -> dict[str, object]:
    rate = vllm["32"]["requests_per_s"]
    return {
        "vllm": vllm,
        "transformers": baseline,
        "vs_serial_at_32": round(rate / baseline["serial_requests_per_s"], 1),
        "vs_batched_at_32": round(rate / baseline["batched_32_requests_per_s"], 1),
    }


def transformers_in_a_child() -> dict[str, float]:
    """The baseline in a process of its own, so that the GPU is free again after it."""
    import json
    import subprocess
    import sys

    code = "import json; from benchmarks.gpu.throughput import transformers_generate as g; print(json.dumps(g()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"Transformers failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    main()
