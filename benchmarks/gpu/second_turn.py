"""Time to the first token of a second turn, after a first one of 4K and of 31K tokens, cache on and off.

python -m benchmarks.gpu.second_turn
"""

import asyncio
from statistics import median

from benchmarks.gpu.serving import Server, ask, keep, serving, words

ANSWER = 32


def measure(
    server: Server, sizes: tuple[tuple[int, int], ...] = ((4_000, 8), (31_000, 4))
) -> dict[str, dict[str, float]]:
    found = {}
    for size, conversations in sizes:
        times = {}
        for cache in ("on", "off"):
            ttfts = []
            for i in range(conversations):
                first = words(size, seed=size + 17 * i + (cache == "off"))
                second = [*first, {"role": "assistant", "content": "river stone market"}, *words(60, seed=i)]
                salts = [f"{size}-{i}-{cache}", f"{size}-{i}-{cache if cache == 'on' else 'other'}"]
                for chat, salt in zip((first, second), salts, strict=True):
                    (answer,), _ = asyncio.run(ask(server.url, [chat], at_once=1, max_tokens=ANSWER, salts=[salt]))
                ttfts.append(answer.ttft_s)
            times[f"ttft_{cache}_ms"] = round(1000 * median(ttfts), 1)
        found[str(size)] = times | {"ratio": round(times["ttft_off_ms"] / times["ttft_on_ms"], 1)}
    return found


def main() -> None:
    with serving("second-turn") as server:
        keep("second-turn", measure(server))


if __name__ == "__main__":
    main()
