"""A prompt of 120,000 tokens (profile book, YaRN), cold and from the cache.

python -m benchmarks.gpu.long_prompt
"""

import asyncio

from benchmarks.gpu.serving import Server, ask, keep, serving, words


def measure(server: Server, size: int = 120_000) -> dict[str, float]:
    chat = words(size, seed=9)
    found = {}
    for name in ("cold", "cached"):
        (answer,), _ = asyncio.run(ask(server.url, [chat], at_once=1, max_tokens=32))
        found[f"{name}_ttft_s"] = round(answer.ttft_s, 3)
        found["prompt_tokens"] = answer.prompt_tokens
    return found | {"ratio": round(found["cold_ttft_s"] / found["cached_ttft_s"], 1)}


def main() -> None:
    with serving("book", window_tokens=131_072, load="documents") as server:
        keep("long-prompt", measure(server))


if __name__ == "__main__":
    main()
