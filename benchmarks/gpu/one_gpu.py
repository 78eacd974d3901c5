"""All tables of one GPU with as few starts of the engine as there can be, in two parts of some minutes each.

TRACES=FOLDER WORK=FOLDER python -m benchmarks.gpu.one_gpu first|second
"""

import os
import sys
import time
from pathlib import Path

from benchmarks.gpu import long_prompt, rag_traces, second_turn, serving, startup, throughput
from benchmarks.gpu.serving import keep

WORK = Path(os.environ.get("WORK", "/tmp/gpu-work"))


def step(name: str) -> None:
    print(f"[{time.perf_counter():.0f} s] {name}", flush=True)


def first() -> None:
    step("weights")
    folder = WORK / "weights"
    if not (folder / "config.json").exists():
        startup.write_weights_in_a_child(Path(serving.MODEL), folder)
    step("Transformers")
    baseline = throughput.transformers_in_a_child()
    print(baseline, flush=True)
    serving.MODEL, serving.WEIGHTS = str(folder), "auto"
    with serving.serving("startup-cold", cache_folder=str(startup.CACHE)) as server:
        keep("startup-cold", server.phases)
        step("throughput")
        keep("throughput", throughput.compare(throughput.measure(server), baseline))
        step("second turn")
        keep("second-turn", second_turn.measure(server))
        step("traces")
        keep("rag-traces", rag_traces.measure(server, Path(os.environ["TRACES"])))
    step("warm")
    keep("startup-warm", startup.measure({"warm": ()}))
    step("done")


def second() -> None:
    serving.MODEL, serving.WEIGHTS = str(WORK / "weights"), "auto"
    step("book")
    with serving.serving("book", window_tokens=131_072, load="documents") as server:
        keep("long-prompt", long_prompt.measure(server))
    step("fp8")
    with serving.serving("fp8", quantization="fp8") as server:
        keep("fp8", throughput.measure(server) | {"cache_tokens": server.phases.get("cache_tokens")})
    step("start-up variants")
    keep("startup-variants", startup.measure({name: more for name, more in startup.VARIANTS.items() if more}))
    step("done")


if __name__ == "__main__":
    {"first": first, "second": second}[sys.argv[1]]()
