"""fp8 weights (made as they are loaded) against bfloat16: rates, times and room for the KV cache.

python -m benchmarks.gpu.quantization
"""

from benchmarks.gpu import throughput
from benchmarks.gpu.serving import keep, serving


def measure() -> dict[str, object]:
    found: dict[str, object] = {}
    for name, quantization in (("bf16", "none"), ("fp8", "fp8")):
        with serving(f"quantization-{name}", quantization=quantization) as server:
            found[name] = throughput.measure(server) | {"cache_tokens": server.phases.get("cache_tokens")}
    return found


def main() -> None:
    keep("quantization", measure())


if __name__ == "__main__":
    main()
