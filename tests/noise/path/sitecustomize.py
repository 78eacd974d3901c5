"""On PYTHONPATH while tests run with noise: Python imports it as it starts, and with it the hook of hook.py."""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).parent


def _load(name: str, path: list[str]) -> ModuleType | None:
    """A module from some folders, without a place in sys.modules."""
    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_load("sitecustomize", [each for each in sys.path if Path(each) != _HERE])  # the one that this one hides
if hook := _load("hook", [str(_HERE.parent)]):
    hook.install()
