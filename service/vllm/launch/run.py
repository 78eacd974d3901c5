"""The GPUs of this machine, and vLLM processes on them."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass

from rag.errors import ConfigError
from service.vllm.launch.plan import Plan

_GRACE_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """gib: memory of the smallest."""

    count: int
    gib: float


def gpus_here(nvidia_smi: str = "nvidia-smi") -> Gpus:
    """The GPUs of this machine. Raises ConfigError where nvidia-smi finds none."""
    command = [nvidia_smi, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 fixed
        sizes = [float(line) for line in done.stdout.split("\n") if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError) as err:
        raise ConfigError(
            f"nvidia-smi does not list this machine's GPUs ({str(err)[:120]}). Run it where the GPUs are, or describe "
            "them with --gpus 1 --gpu-memory 80."
        ) from err
    if not sizes:
        raise ConfigError("nvidia-smi finds no GPU. Describe the GPUs with --gpus 1 --gpu-memory 80.")
    return Gpus(count=len(sizes), gib=min(sizes) / 1024)


def run(plan: Plan) -> int:
    """Run the processes until one of them ends or a signal comes; then the others are ended too.

    Returns the exit status of the first that ended. Raises ConfigError where vLLM is not installed.
    """
    vllm = shutil.which("vllm")
    if vllm is None:
        raise ConfigError(
            "vllm is not installed here. It needs an environment of its own: python3 -m venv vllm-env && "
            "vllm-env/bin/pip install 'vllm>=0.24,<0.34'. Then run this with vllm-env/bin on the PATH."
        )
    running = [
        subprocess.Popen([vllm, "serve", *engine.arguments], env=os.environ | engine.environment)  # noqa: S603 its own
        for engine in plan.engines
    ]
    try:
        pid, status = os.wait()
        ended = next((process for process in running if process.pid == pid), None)
        if ended is not None:
            ended.returncode = os.waitstatus_to_exitcode(status)
        print(f"A vLLM process ended with status {os.waitstatus_to_exitcode(status)}.", file=sys.stderr)
        return abs(os.waitstatus_to_exitcode(status))
    finally:
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(timeout=_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
