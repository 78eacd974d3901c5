import os
import tempfile
from pathlib import Path

import pytest

from indexes.embedded.address import socket_path
from indexes.embedded.store import is_due


@pytest.mark.parametrize(("points", "optimised", "is_quiet", "due"), [
    (19_999, 0, True, False), (20_000, 0, False, True), (20_000, 0, True, True),
    (119_999, 100_000, True, False), (120_000, 100_000, True, True),  # at rest, as many as at first
    (120_000, 100_000, False, False), (149_999, 100_000, False, False), (150_000, 100_000, False, True),  # half as many again
    (25_000, 30_000, True, False),  # fewer than there were
])  # fmt: skip
def test_a_collection_is_optimised_as_it_grows(points: int, optimised: int, is_quiet: bool, due: bool) -> None:
    assert is_due(points, optimised, at_least=20_000, is_quiet=is_quiet) is due


def test_an_engine_listens_in_its_folder() -> None:
    assert socket_path(Path("/data/qdrant")) == Path("/data/qdrant/engine.sock")
    longest = Path("/" + "a" * 87)
    assert len(str(longest / "engine.sock")) == 100
    assert socket_path(longest) == longest / "engine.sock"


def test_where_a_folder_s_path_is_too_long_it_listens_in_a_private_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first, second = (socket_path(Path("/") / ("long-" * 20) / name) for name in ("a", "b"))
    assert first.parent == second.parent == tmp_path / f"citewell-{os.getuid()}"
    assert first != second
    assert first.parent.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(first)) < len(os.fsencode(tmp_path)) + 60
