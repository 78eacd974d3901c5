"""How often the answer stands in the prompt, by how passages are fitted to a small budget.

    python -m benchmarks.trimming FOLDER [MORE …]      BEIR folders whose queries have answers

whole: passages by relevance until one does not fit. fitted: as Citewell does it, that one cut to sentences and the
room behind it given to the next. ordered: the same in the order for the prefix cache.
"""

import json
import random
import sys
from collections import Counter
from pathlib import Path

from benchmarks.common import QUICK, beir, finish, hits_of
from rag.prompt.ordering import PrefixOrder
from rag.prompt.prompt import PromptPlan, build
from rag.retrieval.retrieval import to_passages
from service.evaluation.measures import holds_answer

BUDGETS = (600, 1000, 2000)
MOST = 100 if QUICK else 1000


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    figures = {}
    for folder in map(Path, sys.argv[1:]):
        held: Counter[str] = Counter()
        with beir(folder) as (kb, cases, binding):
            wanted = [case for case in cases if case.answers and not case.unanswerable]
            wanted = random.Random(0).sample(wanted, min(MOST, len(wanted)))
            plain, ordered = (
                PromptPlan(counter=kb.services.counter()),
                PromptPlan(counter=kb.services.counter(), ordering=PrefixOrder()),
            )
            for case in wanted:
                passages = to_passages(hits_of(kb, case.text, limit=40, binding=binding))
                for budget in BUDGETS:
                    fitted = build(case.text, passages, plain, budget_tokens=budget)
                    whole = list(fitted.passages)
                    while whole and whole[-1] != passages[len(whole) - 1]:
                        whole.pop()  # what came in behind the first passage that did not fit whole
                    content = build(case.text, passages, ordered, budget_tokens=budget).messages[-1].content
                    for name, text in (
                        ("whole", "\n".join(passage.text for passage in whole)),
                        ("fitted", "\n".join(passage.text for passage in fitted.passages)),
                        ("ordered", content.partition("Most relevant first")[0]),
                    ):
                        held[f"{budget}, {name}"] += holds_answer(case, text)
        figures[folder.name] = {name: round(count / len(wanted), 4) for name, count in held.items()}
        print(json.dumps({folder.name: figures[folder.name], "questions": len(wanted)}), flush=True)
    finish(**figures)


if __name__ == "__main__":
    main()
