"""Servers of vLLM's CPU build, each started once for the tests that ask it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.running import free_port, wait_until
from tests.vllm.environment import MODEL, CannotInstall, prepare, qwen_folder

_SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "0-1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@contextmanager
def serving(log: Path, model: Path, *more: str) -> Iterator[str]:
    """The base URL of a vLLM server, which ends with the block."""
    python, port = prepare(), free_port()
    # Not `vllm serve`: the CPU distribution's console script looks for one called vllm.
    command = [
        str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--dtype", "bfloat16",
        "--enforce-eager", "--host", "127.0.0.1", "--port", str(port), "--enable-prompt-tokens-details",
        "--generation-config", "vllm", *more,
    ]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | _SETTINGS)
        try:
            wait_until(lambda: _ready(port, process, log), timeout_s=300, what="vLLM's start")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    if process.poll() is not None:
        pytest.fail("vLLM ended:\n" + "\n".join(log.read_text().splitlines()[-20:]))
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v1/models").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SmolLM2-135M, which writes English of a kind."""
    try:
        prepare()
    except CannotInstall as err:
        pytest.skip(f"vLLM's CPU build cannot be installed here: {err}")
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    with serving(log, MODEL, "--served-model-name", "smollm2", "--max-model-len", "8192") as url:
        yield url


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny Qwen2 with random weights, and Qwen2.5's tokenizer and chat template."""
    try:
        folder = qwen_folder()
    except CannotInstall as err:
        pytest.skip(f"vLLM's CPU build cannot be installed here: {err}")
    log = tmp_path_factory.mktemp("qwen") / "vllm.log"
    with serving(
        log, folder, "--served-model-name", "qwen", "--max-model-len", "8192", "--load-format", "dummy"
    ) as url:
        yield url
