"""`citewell engine`: prints the vLLM command that fits, or runs it."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rag.errors import ConfigError
from service.vllm.plan import Engine, Plan, Shape, known_shape, shape_of

_GRACE_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    count: int
    gib: float


def gpus_here(nvidia_smi: str = "nvidia-smi") -> Gpus:
    """The GPUs of this machine, with the smallest one's memory. Raises ConfigError where nvidia-smi finds none."""
    command = [nvidia_smi, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 fixed
        sizes = [float(line) for line in done.stdout.split("\n") if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError) as err:
        raise ConfigError(
            f"nvidia-smi does not tell this machine's GPUs ({str(err)[:120]}). Run it where the GPUs are, or say what "
            "they are with --gpus 1 --gpu-memory 80."
        ) from err
    if not sizes:
        raise ConfigError("nvidia-smi finds no GPU. Say what there will be with --gpus 1 --gpu-memory 80.")
    return Gpus(count=len(sizes), gib=min(sizes) / 1024)


def read_shape(model: str) -> Shape:
    """The shape of a model by its folder, its name, or its config.json on the hub. Raises ConfigError for none."""
    config = Path(model).expanduser() / "config.json"
    if config.exists():
        return shape_of(json.loads(config.read_text(encoding="utf-8")))
    known = known_shape(model)
    if known is not None:
        return known
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return shape_of(json.loads(Path(hf_hub_download(model, "config.json")).read_text(encoding="utf-8")))
    except (HfHubHTTPError, OSError, ValueError) as err:
        raise ConfigError(
            f"{model} is no folder with a config.json, no Qwen2.5 name, and the hub does not give its config.json: "
            f"{str(err).splitlines()[0][:160]}"
        ) from err


def shell(engine: Engine) -> str:
    """A process as a line for a shell."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in engine.environment.items()]
    return " ".join([*variables, "vllm", "serve", *(shlex.quote(argument) for argument in engine.arguments)])


def run(plan: Plan) -> int:
    """Run the processes until one of them ends or a signal comes; then the others are ended too.

    Returns the exit status of the first that ended. Raises ConfigError where vLLM is not installed.
    """
    vllm = shutil.which("vllm")
    if vllm is None:
        raise ConfigError(
            "There is no vllm here. It wants an environment of its own: python3 -m venv vllm-env && "
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
