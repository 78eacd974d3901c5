"""Questions to measure with: a JSONL file of one's own, or a BEIR folder with its corpus."""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rag.documents import Document
from rag.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question with what should be found: documents by id with their grade, or answers.

    An answer is a text that a chunk should hold, or the values of a row that it should all hold. unanswerable: nothing
    holds an answer, and the question should be refused.
    """

    id: str
    text: str
    documents: Mapping[str, int] = field(default_factory=dict)
    answers: tuple[tuple[str, ...], ...] = ()
    unanswerable: bool = False


def read_cases(path: Path) -> tuple[list[Case], Iterator[Document] | None]:
    """Questions of a JSONL file, or of a BEIR folder with its corpus. Those without documents and answers are left out.

    Raises ConfigError saying what is wrong with the file.
    """
    if path.is_dir():
        grades = _qrels(path)
        queries = _lines(_one(path, "queries.jsonl", "queries.jsonl.gz"))
        cases = [
            _case(number, query, grades.get(str(query.get("id", query.get("_id"))), {})) for number, query in queries
        ]
        return [case for case in cases if _is_measured(case)], _corpus(_one(path, "corpus.jsonl", "corpus.jsonl.gz"))
    cases = [_case(number, query, {}) for number, query in _lines(path)]
    kept = [case for case in cases if _is_measured(case)]
    if not kept:
        raise ConfigError(
            f'{path} has no question with "documents", "answers" or "unanswerable", so there is nothing to measure.'
        )
    return kept, None


def _is_measured(case: Case) -> bool:
    return bool(case.documents or case.answers or case.unanswerable)


def _one(folder: Path, *names: str) -> Path:
    found = next((folder / name for name in names if (folder / name).exists()), None)
    if found is None:
        raise ConfigError(f"{folder} has no {names[0]}; a BEIR folder has corpus.jsonl, queries.jsonl and qrels.")
    return found


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ConfigError(f"{path}, line {number}: a JSON object is needed.")
                    yield number, row
    except (OSError, ValueError) as err:
        raise ConfigError(f"{path} cannot be read: {err}") from err


def _qrels(folder: Path) -> dict[str, dict[str, int]]:
    files = [folder / "qrels.tsv"] if (folder / "qrels.tsv").exists() else sorted((folder / "qrels").glob("*.tsv"))
    if not files:
        raise ConfigError(f"{folder} has no qrels.tsv, and no qrels folder.")
    grades: dict[str, dict[str, int]] = {}
    for line in (files[0] if len(files) == 1 else files[-1]).read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        grades.setdefault(query, {})[document] = int(float(grade))
    return grades


def _case(number: int, row: Mapping[str, Any], grades: Mapping[str, int]) -> Case:
    text = row.get("text") or row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f'Question {number} has no "text".')
    named = row.get("documents") or grades
    documents = (
        {str(name): 1 for name in named} if isinstance(named, list) else {str(k): int(v) for k, v in named.items()}
    )
    answers = tuple(
        tuple(_plain(value) for value in answer if value is not None) if isinstance(answer, list) else (str(answer),)
        for answer in row.get("answers") or ()
    )
    return Case(
        id=str(row.get("id", row.get("_id", number))),
        text=text,
        documents=documents,
        answers=answers,
        unanswerable=bool(row.get("unanswerable")),
    )


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _corpus(path: Path) -> Iterator[Document]:
    for _, row in _lines(path):
        name, title = str(row.get("id", row.get("_id"))), str(row.get("title") or "")
        yield Document(id=name, source="eval", title=title, text=str(row["text"]), uri=name, scope=name)
