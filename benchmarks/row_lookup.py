"""How often the row that answers a question is found: first, and among the first five.

    python -m benchmarks.row_lookup QUESTIONS.jsonl DATABASE.sqlite|FOLDER [MORE_QUESTIONS.jsonl DATABASE …]

Each database is read in as it is. A line of the questions: {"text", "answers": [[value, …], …]}, with "db" naming a
file of the folder, "sql" the query that gave the answers, and "row_lookup" false for questions that no single row
answers; or {"text", "facts": [[entity, attribute, value], …]}. A row answers when it holds all values of an answer and,
where the query reads one table, all the texts that the query asks for.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import finish, over_database
from rag.documents import Document
from rag.events import Upsert
from rag.language.text import fold
from service.evaluation.cases import Case
from service.evaluation.measures import holds_answer


def answers(question: dict[str, Any], row: Document) -> bool:
    """Whether a row answers a question."""
    text = f"{row.title}\n{row.text}"
    if "facts" in question:
        return any(holds_answer(_case([(entity, value)]), text) for entity, _, value in question["facts"])
    query = question.get("sql") or ""
    asked = re.findall(r"\"([^\"]*)\"|'([^']*)'", query) if " JOIN " not in query.upper() else []
    literals = [fold(part.strip("% ")) for pair in asked for part in pair if part.strip("% ")]
    held = any if " OR " in query.upper() else all
    values = [[_number(str(value)) for value in answer if value is not None] for answer in question["answers"]]
    return any(holds_answer(_case([answer]), text) for answer in values) and (
        not literals or held(literal in fold(text) for literal in literals)
    )


def _case(answers: Sequence[Sequence[str]]) -> Case:
    return Case(id="", text="", answers=tuple(tuple(answer) for answer in answers))


def _number(value: str) -> str:
    return value.removesuffix(".0")


def read_questions(path: Path) -> Iterator[dict[str, Any]]:
    """Questions that one row can answer."""
    for line in path.read_text(encoding="utf-8").splitlines():
        question = json.loads(line)
        if "facts" in question:
            if question.get("entity_in_query", True):
                yield question
        elif question.get("row_lookup", True) and not question.get("empty") and any(question["answers"][0]):
            yield question


def measure(questions: Sequence[dict[str, Any]], database: Path) -> list[int | None]:
    """The place of the first answering row for each question, from 0; None when it is not among the first ten."""
    with over_database(database) as kb:
        rows = {
            e.document.id: e.document for e in kb.services.catalogue.connector("db").read() if isinstance(e, Upsert)
        }
        found = []
        for question in questions:
            hits = kb.retrieve(question["text"], k=40)
            ranked = list(dict.fromkeys(hit.chunk.document.id for hit in hits))[:10]
            found.append(next((i for i, name in enumerate(ranked) if answers(question, rows[name])), None))
        return found


def main() -> None:
    if len(sys.argv) < 3 or len(sys.argv) % 2 == 0:
        sys.exit(__doc__)
    figures = {}
    for file, place in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        questions = list(read_questions(Path(file)))
        databases = {question.get("db", "") for question in questions} if Path(place).is_dir() else {""}
        places: list[int | None] = []
        for name in sorted(databases):
            of = [question for question in questions if not name or question["db"] == name]
            found = measure(of, Path(place) / f"{name}.sqlite" if name else Path(place))
            places += found
            for question, at in zip(of, found, strict=True):
                if at is None or at >= 5:
                    print(f"{name or Path(place).stem}: place {at}: {question['text']}")
        first, five = (sum(at is not None and at < n for at in places) / len(places) for n in (1, 5))
        figures[Path(place).stem] = {"questions": len(places), "top1": round(first, 4), "top5": round(five, 4)}
    finish(**figures)


if __name__ == "__main__":
    main()
