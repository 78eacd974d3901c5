"""Child processes that run our own modules, and nothing of the folder that one stands in.

`python -m` looks for modules in the current folder first: a json.py or a folder called `rag` there would run with all
rights of the service. So every child gets a safe path (`-P`), and no relative entry of PYTHONPATH.
"""

import os
import subprocess
import sys
from collections.abc import Mapping

# What a child needs that reads no configuration: it parses files of others, and is told no password.
_NEEDED = (
    "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "TZ",
    "USER",
)  # fmt: skip
_NEEDED_KINDS = ("LC_", "MALLOC_", "MKL_", "OMP_", "OPENBLAS_", "ORT_", "XDG_")


def python_child(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(*, secrets: bool, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a child. secrets: with all variables, for one that reads the configuration as we do."""
    kept = {
        name: value for name, value in environ.items() if secrets or name in _NEEDED or name.startswith(_NEEDED_KINDS)
    }
    kept.pop("PYTHONPATH", None)
    places = [place for place in environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(place)]
    return kept | {"PYTHONSAFEPATH": "1"} | ({"PYTHONPATH": os.pathsep.join(places)} if places else {})


def run_child(module: str, *arguments: str) -> str:
    """Run one of our modules to its end, without secrets. What it said last if it failed; nothing if it did not."""
    done = subprocess.run(  # noqa: S603 our own module, no shell
        python_child(module, *arguments),
        env=child_environment(secrets=False),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
