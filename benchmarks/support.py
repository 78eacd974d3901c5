"""How many right and wrong citations the check of labels tells apart, on answers that people wrote.

    python -m benchmarks.support FOLDER [MORE …]      BEIR folders whose queries have answers and judged passages

Each sentence of an answer is checked against the passages that it was written from, and against one drawn at random.
"""

import json
import random
import sys
from pathlib import Path

from benchmarks.common import finish
from rag.answer.claims import says_something, supporting
from rag.documents import Document, Passage
from rag.language.text import sentence_spans
from service.evaluation.cases import read_cases


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    figures = {}
    for folder in map(Path, sys.argv[1:]):
        rng = random.Random(0)
        cases, corpus = read_cases(folder)
        passages = {document.id: _passage(document) for document in corpus or ()}
        kept_right = kept_wrong = sentences = 0
        for case in cases:
            right = [passages[name] for name in case.documents if name in passages]
            wrong = passages[rng.choice([name for name in passages if name not in case.documents])]
            for answer in case.answers[:1]:
                for start, end in sentence_spans(answer[0]):
                    sentence = answer[0][start:end].strip()
                    if not right or not says_something(sentence):
                        continue
                    sentences += 1
                    kept_right += bool(supporting(sentence, right, [*right, wrong]))
                    kept_wrong += bool(supporting(sentence, [wrong], [*right, wrong]))
        figures[folder.name] = {
            "sentences": sentences,
            "right_kept": round(kept_right / sentences, 4),
            "wrong_kept": round(kept_wrong / sentences, 4),
        }
        print(json.dumps({folder.name: figures[folder.name]}), flush=True)
    finish(**figures)


def _passage(document: Document) -> Passage:
    text = document.text
    return Passage(label="a1b1", document=document, text=text, start=0, end=len(text), page=None, context="", score=1.0)


if __name__ == "__main__":
    main()
