"""What goes wrong with a vLLM engine, by what its log says, and how to mend it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rag.errors import ConfigError

_LAST_BYTES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """pattern: of a line in the log."""

    name: str
    pattern: re.Pattern[str]
    remedy: str


def _trouble(name: str, pattern: str, remedy: str) -> Trouble:
    return Trouble(name=name, pattern=re.compile(pattern, re.I), remedy=remedy)


TROUBLES = (
    _trouble(
        "no room for the KV cache",
        r"no available memory for the cache blocks|KV cache is needed, which is larger than the available|"
        r"larger than the maximum number of tokens that can be stored in KV cache|is larger than the available KV cache",
        "The window does not fit beside the weights. Start it with a smaller profile, --fp8-cache, --quantization fp8 or more "
        "GPUs; `citewell engine` calculates it beforehand.",
    ),
    _trouble(
        "out of GPU memory",
        r"CUDA out of memory|torch\.OutOfMemoryError|Free memory on device .* is less than desired",
        "Something else holds GPU memory, or --gpu-memory-utilization is too high. See nvidia-smi for other processes, or use "
        "`citewell engine --memory-share 0.85`.",
    ),
    _trouble(
        "killed for memory",
        r"exit code -9|signal 9|Killed",
        "The machine's own memory ran out (not the GPU's), usually while weights were loaded. Allow about twice the memory of "
        "the weights, or load one process at a time.",
    ),
    _trouble(
        "wrong max-model-len",
        r"max_model_len.*(?:greater|larger|exceeds).*derived|maximum context length is \d+ tokens.*requested|"
        r"User-specified max_model_len",
        "The model was made for a shorter context. `citewell engine --profile …` adds YaRN where it is needed; without it use "
        "the profile chat or document.",
    ),
    _trouble(
        "tokenizer or model not found",
        r"Can't load tokenizer|is not a local folder and is not a valid model identifier|Repository Not Found|"
        r"couldn't connect to 'https://huggingface|does not appear to have a file named|LocalEntryNotFoundError",
        "The weights or tokenizer files are missing and cannot be fetched from the hub. Use a folder that contains config.json, "
        "tokenizer.json and *.safetensors: `citewell engine --model FOLDER`.",
    ),
    _trouble(
        "NCCL",
        r"NCCL error|ncclUnhandledCudaError|ncclSystemError|ncclInternalError|NCCL watchdog|"
        r"Failed to initialize NCCL|custom_all_reduce.*not supported",
        "The GPUs cannot communicate with each other. Give the container --ipc=host or a large /dev/shm, set NCCL_DEBUG=INFO to see "
        "which link fails, NCCL_P2P_DISABLE=1 where peer access is broken, or use `citewell engine --parallel data`.",
    ),
    _trouble(
        "prompts evicted and computed again",
        r"\bpreempted\b|preemptions: [1-9]",
        "More requests are in progress than the KV cache holds. Use --load documents, --fp8-cache, or another replica.",
    ),
    _trouble(
        "slow: eager mode",
        r"Cudagraph is disabled|enforce_eager=True",
        "Without CUDA graphs each token costs more. Leave --enforce-eager out except for a quick test.",
    ),
    _trouble(
        "unknown flag",
        r"unrecognized arguments",
        "This vLLM does not know a flag. `citewell engine` prints those of vLLM 0.24 to 0.33.",
    ),
)
_SLOW_START_S = 60.0
_COMPILE = re.compile(r"torch\.compile took ([\d.]+) s|compilation: ([\d.]+) s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    trouble: str
    line: str
    remedy: str


def read_log(path: Path, *, last_bytes: int = _LAST_BYTES) -> list[Found]:
    """The troubles in the last part of a log, each once, with its first line. Raises ConfigError for no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - last_bytes))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as err:
        raise ConfigError(f"The engine's log {path} cannot be read: {err.strerror}.") from err
    return find(lines)


def find(lines: Iterable[str]) -> list[Found]:
    """The troubles that lines of a log show."""
    found: dict[str, Found] = {}
    for line in lines:
        for trouble in TROUBLES:
            if trouble.name not in found and trouble.pattern.search(line):
                found[trouble.name] = Found(trouble=trouble.name, line=line.strip()[:300], remedy=trouble.remedy)
        took = _COMPILE.search(line)
        if took and float(took[1] or took[2]) > _SLOW_START_S and "slow start" not in found:
            remedy = (
                "Compiling takes this long at a first start. Keep VLLM_CACHE_ROOT on a persistent disk (`citewell engine` "
                "sets it to the data folder), and the next start loads it from there."
            )
            found["slow start"] = Found(trouble="slow start", line=line.strip()[:300], remedy=remedy)
    return list(found.values())
