"""Questions to measure with, and what is wrong with a file of them."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rag.errors import ConfigError
from service.evaluation.cases import Case, read_cases


def file_of(tmp_path: Path, *rows: Any, name: str = "q.jsonl") -> Path:
    (tmp_path / name).write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8")
    return tmp_path / name


def cases(tmp_path: Path, *rows: Any) -> list[Case]:
    found, corpus = read_cases(file_of(tmp_path, *rows))
    assert corpus is None
    return found


def test_documents_come_by_name_or_with_grades(tmp_path: Path) -> None:
    found = cases(tmp_path, {"text": "a", "documents": ["x", 7]}, {"text": "b", "documents": {"x": 2}})
    assert [case.documents for case in found] == [{"x": 1, "7": 1}, {"x": 2}]


def test_an_answer_is_a_text_or_the_values_of_a_row(tmp_path: Path) -> None:
    [found] = cases(tmp_path, {"question": "a", "answers": ["x", ["AC/DC", 1980.0, 1.5, None]]})
    assert found.answers == (("x",), ("AC/DC", "1980", "1.5"))


def test_a_question_has_its_id_or_its_line(tmp_path: Path) -> None:
    rows = [{"text": "a", "answers": ["x"], **extra} for extra in ({"id": 7}, {"_id": "b"}, {})]
    assert [case.id for case in cases(tmp_path, *rows)] == ["7", "b", "5"]


def test_a_question_that_nothing_answers_is_measured_and_one_that_says_nothing_is_left_out(tmp_path: Path) -> None:
    found = cases(tmp_path, {"text": "a", "unanswerable": True}, {"text": "b"}, {"text": "c", "answers": []})
    assert [(case.text, case.unanswerable) for case in found] == [("a", True)]


def test_a_packed_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a", "answers": ["x"]}\n'))
    assert [case.text for case in read_cases(path)[0]] == ["a"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no question with"),
        ('{"text": "a"}', "no question with"),
        ("[1]", "line 1"),
        ("{", "cannot be read"),
        ('{"answers": ["x"]}', "Question 1"),
        ('{"text": " ", "answers": ["x"]}', "Question 1"),
        ('{"text": 7, "answers": ["x"]}', "Question 1"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "q.jsonl").write_text(content)
    with pytest.raises(ConfigError, match=told):
        read_cases(tmp_path / "q.jsonl")


def test_a_file_that_is_not_there_or_not_packed_is_told(tmp_path: Path) -> None:
    (tmp_path / "q.gz").write_text("plain")
    for name in ("missing.jsonl", "q.gz"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_cases(tmp_path / name)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    file_of(tmp_path, {"_id": "d1", "title": "T", "text": "Text."}, {"id": "d2", "text": "Other."}, name="corpus.jsonl")
    file_of(tmp_path, {"_id": "q1", "text": "a"}, {"_id": "q2", "text": "b"}, name="queries.jsonl")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\n")
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td2\t1\n")
    return tmp_path


def test_a_folder_has_questions_with_grades_and_its_own_corpus(beir: Path) -> None:
    found, corpus = read_cases(beir)
    assert [(case.id, case.documents) for case in found] == [("q1", {"d1": 2})]
    assert corpus is not None
    assert [(each.id, each.title, each.text, each.source) for each in corpus] == [
        ("d1", "T", "Text.", "eval"), ("d2", "", "Other.", "eval"),
    ]  # fmt: skip


def test_grades_in_one_file_go_before_the_folders(beir: Path) -> None:
    (beir / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td1\t1.0\n")
    assert [case.id for case in read_cases(beir)[0]] == ["q2"]


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl"])
def test_a_folder_without_one_of_its_files_is_told(beir: Path, missing: str) -> None:
    (beir / missing).unlink()
    with pytest.raises(ConfigError, match=missing):
        read_cases(beir)


def test_a_folder_without_grades_is_told(beir: Path) -> None:
    for path in (beir / "qrels").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"qrels\.tsv"):
        read_cases(beir)
