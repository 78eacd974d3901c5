"""`citewell eval`: questions of one's own, and BEIR folders."""

import json
from pathlib import Path

import pytest

from rag.errors import ConfigError
from service.evaluation.cases import read_cases
from service.knowledge_base import connect
from tests.support.command import citewell_here, citewell_json
from tests.support.embedded import stop_engine

TEXTS = {
    "cats.md": "# Cats\n\nA cat sleeps for about sixteen hours a day.",
    "fish.md": "# Fish\n\nMost fish breathe through gills.",
    "唱片.md": "# 唱片\n\n黑胶唱片应该竖直存放。",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "citewell.toml").write_text('[sources.docs]\nkind = "files"\npaths = ["*.md"]\n')
    return tmp_path / "citewell.toml"


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_own_questions_are_measured_and_compared_with_the_last_run(config: Path, tmp_path: Path) -> None:
    questions = lines(
        tmp_path / "mine.jsonl",
        {"text": "How long does a cat sleep?", "documents": ["cats.md"], "answers": ["sixteen hours"]},
        {"text": "黑胶唱片怎么存放？", "documents": {"docs/唱片.md": 2}, "answers": [["竖直"]]},
        {"text": "What do fish breathe through?", "answers": ["lungs"]},
    )
    with connect(config) as kb:
        kb.ingest()
    try:
        first = citewell_json("eval", str(questions), "--legs", config=config)
        assert set(first["measures"]) == {"fused", "words", "meaning"}
        fused = first["measures"]["fused"]
        assert (fused["nDCG@10"], fused["recall@10"], fused["MRR@10"], fused["questions"]) == (1.0, 1.0, 1.0, 3)
        assert fused["answer@1"] == fused["answer in context"] == pytest.approx(2 / 3, abs=1e-4)
        assert first["before"] == {}
        assert Path(first["plot"]).read_text().startswith("<?xml")
        again = citewell_here("eval", str(questions), config=config)
        assert "nDCG@10" in again.stdout
        assert citewell_json("eval", str(questions), config=config)["before"]["fused"]["recall@10"] == 1.0
    finally:
        stop_engine(tmp_path / ".citewell" / "qdrant")


def test_a_beir_folder_is_measured_in_a_collection_of_its_own(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    lines(folder / "corpus.jsonl", *({"_id": name, "title": "", "text": text} for name, text in TEXTS.items()))
    lines(
        folder / "queries.jsonl",
        {"_id": "q1", "text": "hours that a cat sleeps"},
        {"_id": "q2", "text": "no judgement"},
    )
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tcats.md\t1\n")
    with connect(config) as kb:
        kb.ingest()
        before = kb.services.collection.current().index.count()
        try:
            found = citewell_json("eval", str(folder), config=config)["measures"]["fused"]
            assert (found["nDCG@10"], found["questions"]) == (1.0, 1)
            assert kb.services.collection.current().index.count() == before
            assert [c.name for c in kb.services.qdrant().get_collections().collections] == ["citewell-1"]
        finally:
            stop_engine(tmp_path / ".citewell" / "qdrant")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "no expectation"}', "nothing to measure"),
        ('{"documents": ["x"]}', 'has no "text"'),
        ("[1]", "line 1: a JSON object"),
        ("{", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_measured_is_told(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_cases(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_cases(tmp_path / "none.jsonl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="has no qrels"):
        read_cases(tmp_path / "folder")


def test_questions_without_an_answer_measure_the_refusal_and_set_its_threshold(config: Path, tmp_path: Path) -> None:
    questions = lines(
        tmp_path / "mine.jsonl",
        {"text": "How long does a cat sleep a day?", "answers": ["sixteen hours"]},
        {"text": "What do most fish breathe through?", "answers": ["gills"]},
        {"text": "Who won the chess championship in Reykjavik?", "unanswerable": True},
    )
    with connect(config) as kb:
        kb.ingest()
    try:
        done = citewell_json("eval", str(questions), "--set-threshold", config=config)["measures"]["fused"]
        assert (done["refusal AUROC"], done["refused unanswerable"], done["false refusals"]) == (1.0, 1.0, 0.0)
        with connect(config) as kb:
            assert kb.settings.retrieval.threshold == done["threshold for 5% false refusals"]
            assert kb.settings.sources["docs"].kind == "files"
    finally:
        stop_engine(tmp_path / ".citewell" / "qdrant")
