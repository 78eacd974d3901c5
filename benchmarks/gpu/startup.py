"""Start-up cold and warm, by phase, and what the loader, the compile cache and the graph sizes change.

    WEIGHTS=auto MODEL=FOLDER python -m benchmarks.gpu.startup

cold: with an empty compile cache. `write_weights` makes a folder with random weights where there are no real ones.
"""

import shutil
from pathlib import Path
from typing import Any

from benchmarks.gpu.serving import keep, serving

CACHE = Path("/tmp/vllm-cache")
VARIANTS: dict[str, tuple[str, ...]] = {
    "warm": (),
    "warm, fastsafetensors": ("--load-format", "fastsafetensors"),
    "warm, graphs to 16": ("--max-cudagraph-capture-size", "16"),
    "warm, no compilation (--enforce-eager)": ("--enforce-eager",),
}


def write_weights(shape: Path, folder: Path) -> None:
    """A model folder with random weights in bfloat16, in the shape and with the tokenizer of another."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_default_device("cuda")
    torch.set_default_dtype(torch.bfloat16)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(shape), dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="4GB")
    for file in shape.iterdir():
        if not (folder / file.name).exists():
            shutil.copy(file, folder)


def write_weights_in_a_child(shape: Path, folder: Path) -> None:
    """The same in a process of its own, so that the GPU is free again after it."""
    import subprocess
    import sys

    call = f"write_weights(Path({str(shape)!r}), Path({str(folder)!r}))"
    code = f"from pathlib import Path; from benchmarks.gpu.startup import write_weights; {call}"
    subprocess.run([sys.executable, "-c", code], check=True)


def measure(variants: dict[str, tuple[str, ...]] = VARIANTS) -> dict[str, Any]:
    found = {}
    for name, more in variants.items():
        file = name.replace(" ", "-").replace(",", "").replace("(", "").replace(")", "")
        try:
            with serving(f"startup-{file}", *more, cache_folder=str(CACHE)) as server:
                found[name] = server.phases
        except SystemExit as err:
            found[name] = {"failed": str(err)[-400:]}
    return found


def main() -> None:
    shutil.rmtree(CACHE, ignore_errors=True)
    with serving("startup-cold", cache_folder=str(CACHE)) as server:
        cold = server.phases
    keep("startup", {"cold": cold, **measure()})


if __name__ == "__main__":
    main()
