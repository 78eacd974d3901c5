"""How many questions that have no answer here are refused, and how many that have one are answered.

    python -m benchmarks.refusal QUESTIONS.jsonl [MORE.jsonl …]

The files hold questions about something else, as {"text": …} a line (the queries of a BEIR folder); up to 400 of each
are asked of the sample record shop. The questions of tests/acceptance/test_record_shop.py are those to be answered.
"""

import json
import random
import sys
from pathlib import Path

from benchmarks.common import finish, sample
from rag.question.evidence import THRESHOLD
from tests.acceptance.test_record_shop import QUESTIONS

PER_FILE = 400


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with sample() as kb:
        list(kb.ingest())
        refused = {}
        for path in map(Path, sys.argv[1:]):
            texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
            chosen = random.Random(0).sample(texts, min(PER_FILE, len(texts)))
            answers = [kb.ask(text) for text in chosen]
            refused[path.parent.name] = round(sum(answer.refused for answer in answers) / len(answers), 4)
        answered = [not kb.ask(question).refused for question, _, _ in QUESTIONS]
        finish(threshold=THRESHOLD, refused=refused, answered=round(sum(answered) / len(answered), 4))


if __name__ == "__main__":
    main()
