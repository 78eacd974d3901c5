import math
from pathlib import Path

import numpy as np
import pytest

from indexes.embedders.export import disagreement, exported_model, stamp_of
from rag.errors import EmbedderUnavailable
from rag.ports import Vectors

SAME = np.eye(6, dtype=np.float32)


def turned(*rows: int, by: float) -> Vectors:
    """The unit vectors, some of them turned by an angle towards the next one."""
    made = SAME.copy()
    for row in rows:
        made[row] = np.cos(by) * SAME[row] + np.sin(by) * SAME[(row + 1) % 6]
    return made


def test_an_export_that_gives_the_same_vectors_is_used() -> None:
    assert disagreement((SAME, SAME), (SAME, SAME)) == ""
    assert disagreement((SAME, SAME), (turned(0, by=0.1), turned(3, by=0.1))) == ""


def test_one_vector_that_is_too_far_off_is_enough() -> None:
    assert "its lowest cosine is 0.955" in disagreement((SAME, SAME), (turned(2, by=0.3), SAME))
    assert "its lowest cosine is 0.955" in disagreement((SAME, SAME), (SAME, turned(2, by=0.3)))


@pytest.mark.parametrize(("lost", "is_used"), [(0, True), (1, True), (2, False)])
def test_one_answer_may_be_lost_and_not_two(lost: int, is_used: bool) -> None:
    rows = range(0, 2 * lost, 2)
    before, after = (turned(*rows, by=math.pi / 4 + angle) for angle in (-0.09, 0.09))  # nearer to its own, to the next
    reason = disagreement((before, SAME), (after, SAME))
    assert (reason == "") is is_used
    assert is_used or "it loses 2 of 6 probes" in reason


def test_models_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    start = b"\0" * (4 << 20)
    (tmp_path / "a").write_bytes(start + b"a" * (1 << 20))
    (tmp_path / "b").write_bytes(start + b"b" * (1 << 20))
    assert stamp_of(tmp_path / "a") != stamp_of(tmp_path / "b")


def test_an_export_that_was_refused_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "citewell" / "onnx").mkdir(parents=True)
    stamp = stamp_of(tmp_path / "model.safetensors")
    (tmp_path / "citewell" / "onnx" / f"{stamp}.refused").write_text("it differs")
    with pytest.raises(EmbedderUnavailable, match="it differs"):
        exported_model(tmp_path)


def test_an_export_that_was_made_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    made = tmp_path / "citewell" / "onnx" / f"{stamp_of(tmp_path / 'model.safetensors')}.onnx"
    made.parent.mkdir(parents=True)
    made.touch()
    assert exported_model(tmp_path) == made
