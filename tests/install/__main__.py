"""Installs a copy of this repository from nothing, as `make demo` does, and asks the sample's questions.

With uv where it is; INSTALLER=pip takes pip. QUICK=1 leaves the record shop out. The last line is one JSON object: seconds, megabytes of the
environment and of the cache, peak megabytes of the largest process that answers or reads. It fails where that is more than LIMITS_MB, where PyTorch
or CUDA was installed, or where an answer is not cited.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMITS_MB = {"environment": 750, "cache": 100, "peak": 1100}
HEAVY = ("torch", "transformers", "nvidia", "triton", "scipy")
QUESTIONS = {
    "handbook": ["员工每年有多少天年假？", "How long can an unopened record be returned?"],
    "shop": ["Which albums did AC/DC release?"],
}


def size_mb(folder: Path) -> float:
    """What a folder's files take, in millions of bytes, as they are stored on disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / 1e6


@contextmanager
def timed(found: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    found[name] = round(time.perf_counter() - started, 1)


def main() -> None:
    tool = "pip" if os.environ.get("INSTALLER") == "pip" or not shutil.which("uv") else "uv"
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        home, clone = Path(name) / "home", Path(name) / "clone"
        home.mkdir()
        shutil.copytree(
            ROOT,
            clone,
            ignore=shutil.ignore_patterns(".*venv*", ".git", ".*_cache", "__pycache__", ".citewell", "node_modules"),
        )
        left_out = ("PYTHONPATH", "VIRTUAL_ENV", "TEST_NOISE")
        environment = {key: value for key, value in os.environ.items() if key not in left_out} | {
            "XDG_CACHE_HOME": str(home / "cache"),
            "PIP_NO_CACHE_DIR": "1",
            "UV_CACHE_DIR": str(home / "uv"),
            "CITEWELL_CONFIG": "examples/record_shop/citewell.toml",
        }
        make = ["make", "--no-print-directory", *(["UV="] if tool == "pip" else []), ".venv/installed"]
        with timed(found, "first_answer_s"):
            with timed(found, "install_s"):
                subprocess.run(make, cwd=clone, env=environment, check=True)
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            asked(clone, environment, "handbook", QUESTIONS["handbook"][:1])
        asked(clone, environment, "", QUESTIONS["handbook"][1:])
        if os.environ.get("QUICK") != "1":
            with timed(found, "shop_s"):
                asked(clone, environment, "shop", QUESTIONS["shop"])
        packages = {path.name for path in (clone / ".venv" / "lib").glob("python*/site-packages/*")}
        sizes = {
            "environment": size_mb(clone / ".venv"),
            "cache": size_mb(home / "cache" / "citewell"),
            "peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6,
        }
        subprocess.run(["pkill", "-f", str(clone)], check=False)
    heavy = [package for package in HEAVY if package in packages]
    over = [kind for kind, limit in LIMITS_MB.items() if sizes[kind] > limit]
    print(json.dumps({
        "installer": tool, **found, **{f"{kind}_mb": round(size) for kind, size in sizes.items()},
        "installer_peak_mb": round(before * 1024 / 1e6), "heavy": heavy, "over": over,
    }))  # fmt: skip
    sys.exit(1 if heavy or over else 0)


def asked(clone: Path, environment: dict[str, str], source: str, questions: list[str]) -> None:
    """Read a source in, if one is named, and ask. Exits where an answer is not cited."""
    command = str(clone / ".venv" / "bin" / "citewell")
    if source:
        subprocess.run([command, "ingest", source], cwd=clone, env=environment, check=True)
    for question in questions:
        done = subprocess.run(
            [command, "ask", "--json", question], cwd=clone, env=environment, check=True, capture_output=True
        )
        answer = json.loads(done.stdout)
        print(f"> {question}\n{answer['text']}", flush=True)
        if answer["refused"] or not answer["citations"]:
            sys.exit(f"{question!r} was not answered.")


if __name__ == "__main__":
    main()
