from pathlib import Path

import pytest

from rag.errors import ConfigError
from service.vllm.troubles import TROUBLES, find, read_log

LINES = {
    "no room for the KV cache": "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
    "out of GPU memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.02 GiB.",
    "killed for memory": "Engine core proc EngineCore died unexpectedly, exit code -9.",
    "wrong max-model-len": "ValueError: User-specified max_model_len (131072) is greater than the derived max_model_len",
    "tokenizer or model not found": "OSError: Can't load tokenizer for '/models/qwen'. If you were trying to load it",
    "NCCL": "RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)",
    "prompts evicted and computed again": "INFO Engine 000: Running: 90 reqs, Waiting: 30 reqs, Preemptions: 3",
    "slow: eager mode": "WARNING Cudagraph is disabled under eager mode",
    "unknown flag": "api_server.py: error: unrecognized arguments: --swap-space 4",
    "slow start": "INFO torch.compile took 92.40 s in total",
}


@pytest.mark.parametrize("name", LINES)
def test_a_trouble_is_told_by_its_line_with_a_remedy(name: str) -> None:
    (found,) = find(["INFO starting", LINES[name], LINES[name]])
    assert found.trouble == name
    assert found.remedy.endswith(".")


def test_every_trouble_has_a_line_here() -> None:
    assert {trouble.name for trouble in TROUBLES} == set(LINES) - {"slow start"}


def test_a_log_without_trouble_has_none() -> None:
    assert (
        find(
            [
                "INFO torch.compile took 4.02 s in total",
                "INFO Starting vLLM server",
                "preemption_mode=None, preemptions: 0",
            ]
        )
        == []
    )


def test_a_compilation_counts_as_slow_in_either_wording() -> None:
    assert [found.trouble for found in find(["INFO init engine took 90 s (compilation: 75.10 s)"])] == ["slow start"]


def test_troubles_come_in_the_order_of_the_log_each_with_its_first_line() -> None:
    lines = [LINES["NCCL"], LINES["unknown flag"], "other " + LINES["NCCL"]]
    assert [(found.trouble, found.line) for found in find(lines)] == [("NCCL", lines[0]), ("unknown flag", lines[1])]


def test_the_last_part_of_a_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    log.write_bytes(LINES["NCCL"].encode() + b"\n" + LINES["unknown flag"].encode() + b"\xff\n")
    assert [found.trouble for found in read_log(log, last_bytes=80)] == ["unknown flag"]


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.log cannot be read: No such file"):
        read_log(tmp_path / "none.log")
