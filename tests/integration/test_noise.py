"""The noise that `make test NOISE=…` puts on the vectors reaches the programs that the tests start."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.noise.hook import environment
from tests.support.command import citewell, citewell_here
from tests.support.embedded import stop_engine

pytestmark = pytest.mark.usefixtures("exact_vectors")


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "stores.md").write_text("# Stores\n\nThe Edmonton store opens at 11:00.\n")
    (tmp_path / "citewell.toml").write_text('[sources.docs]\nkind = "files"\npaths = ["stores.md"]\n')
    assert citewell_here("ingest", config=tmp_path / "citewell.toml").returncode == 0
    yield tmp_path / "citewell.toml"
    stop_engine(tmp_path / ".citewell" / "qdrant")


def cosine(config: Path) -> float:
    """Between a question, as the installed command embeds it, and the stored text."""
    done = citewell("retrieve", "When does the Edmonton store open?", "--json", config=config)
    assert done.returncode == 0, done.stderr
    found: float = json.loads(done.stdout)["hits"][0]["scores"]["dense"]
    return found


def test_the_installed_command_embeds_with_noise_where_there_is_a_seed(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = cosine(config)
    for name, value in environment("1").items():
        monkeypatch.setenv(name, value)
    noisy = cosine(config)
    assert noisy == pytest.approx(exact, abs=0.05)
    assert abs(noisy - exact) > 0.001
