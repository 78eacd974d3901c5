"""Earlier evaluations of the same questions, kept with a plot."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rag.boundary.extras import needs_extra
from rag.errors import ConfigError


def keep(folder: Path, name: str, found: Mapping[str, Mapping[str, float]]) -> Mapping[str, Mapping[str, float]]:
    """Write a run down beside the earlier ones of the same name, with a plot; returns the one before, empty if none."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    runs = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*runs, {"at": time.time(), "measures": found}], indent=1))
    _plot(folder / f"{name}.svg", name, [run["measures"] for run in runs[-9:]] + [found])
    return runs[-1]["measures"] if runs else {}


def _plot(path: Path, name: str, runs: Sequence[Mapping[str, Mapping[str, float]]]) -> None:
    """The shares of the last ten runs, a line for each measure."""
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise ConfigError(needs_extra("The plot needs", "eval")) from err
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for measure in [m for m in runs[-1]["fused"] if not m.endswith("_ms") and m != "questions"]:
        axes.plot([run.get("fused", {}).get(measure, float("nan")) for run in runs], marker="o", label=measure)
    axes.set(title=f"{name}: the last {len(runs)} runs", ylim=(0, 1.02), xlabel="run", xticks=range(len(runs)))
    axes.legend(loc="lower left", fontsize="small")
    figure.savefig(path)
