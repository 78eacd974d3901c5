"""Puts the noise of vectors.py into this process and all that it starts, where TEST_NOISE holds a seed.

Children find path/sitecustomize.py on PYTHONPATH, which Python imports as it starts. Where the variable holds nothing,
nothing is done.
"""

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE = "TEST_NOISE"
_HERE = Path(__file__).parent
_DISTURBED = "indexes.embedders.load"


def seed() -> str:
    return os.environ.get(VARIABLE, "")


def spread() -> None:
    """Disturb this process and its children, where there is a seed; to be called before `indexes` is imported."""
    if seed():
        os.environ.update(environment(seed()))
        install()


def environment(value: str) -> dict[str, str]:
    """The variables with which a child is disturbed, for a seed."""
    folder = str(_HERE / "path")
    others = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each not in ("", folder)]
    return {VARIABLE: value, "PYTHONPATH": os.pathsep.join([folder, *others])}


def install() -> None:
    """Disturb what `load_embedder` gives out, once its module is imported."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == _DISTURBED else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Disturbing(spec.loader)
        return spec


class _Disturbing(Loader):
    """Loads the module as ever, then puts the noise round its function."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: Any) -> None:
        self._loader.exec_module(module)
        module.load_embedder = _vectors().disturbing(module.load_embedder, seed)


def _vectors() -> Any:
    """vectors.py, by its place, because a child may not find `tests`; late, because numpy is slow to load."""
    spec = spec_from_file_location("citewell_test_noise", _HERE / "vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
