"""The GPUs of this machine, as nvidia-smi lists them."""

from pathlib import Path

import pytest

from rag.errors import ConfigError
from service.vllm.launch.run import Gpus, gpus_here


def nvidia_smi(folder: Path, script: str) -> str:
    """A program in nvidia-smi's place."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_the_gpus_are_counted_with_the_smallest_one_s_memory(tmp_path: Path) -> None:
    assert gpus_here(nvidia_smi(tmp_path, "echo 81559; echo 81920")) == Gpus(count=2, gib=81559 / 1024)


@pytest.mark.parametrize("script", ["exit 9", "echo no devices were found"])
def test_a_machine_whose_gpus_are_not_listed_says_how_to_give_them(tmp_path: Path, script: str) -> None:
    with pytest.raises(ConfigError, match="--gpus 1 --gpu-memory 80"):
        gpus_here(nvidia_smi(tmp_path, script))


def test_a_machine_without_a_gpu_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finds no GPU"):
        gpus_here(nvidia_smi(tmp_path, "true"))


def test_a_machine_without_nvidia_smi_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not list this machine's GPUs"):
        gpus_here(str(tmp_path / "none"))
