"""Follow-up questions searched for as they stand, behind the question before, and only where they refer back.

    python -m benchmarks.multi_turn FOLDER [MORE …]      BEIR folders whose queries have a history

Prints nDCG@10 and recall@10 of each way, over the follow-ups alone.
"""

import json
import sys
from pathlib import Path

from benchmarks.common import finish, sample
from rag.conversation import joined, refers_back
from rag.ports import Scope
from rag.types import Turn
from service.evaluation import corpus_index, ranked, read_cases


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    figures = {}
    with sample() as kb:
        kb.index.prepare()
        for folder in map(Path, sys.argv[1:]):
            cases, corpus = read_cases(folder)
            lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
            before = {
                row["id"]: [t["text"] for t in row["history"] if t["role"] == "user"] for row in map(json.loads, lines)
            }
            follow_ups = [case for case in cases if before[case.id]]
            if corpus is None or not follow_ups:
                sys.exit(f"{folder} has no questions with a history.")
            runs: dict[str, dict[str, dict[str, float]]] = {
                "as it stands": {},
                "joined": {},
                "joined if it refers back": {},
            }
            with corpus_index(kb, corpus) as index:
                for case in follow_ups:
                    last = before[case.id][-1]
                    turns = [Turn(question=last, asked=last, answer="")]
                    texts = (case.text, f"{last} {case.text}", joined(case.text, turns))
                    for name, text in zip(runs, texts, strict=True):
                        hits = kb.hits_of(text, limit=50, scope=Scope(), index=index)
                        runs[name][case.id] = {
                            hit.chunk.document.id: float(-place) for place, hit in reversed(list(enumerate(hits)))
                        }
            figures[folder.name] = {
                "follow_ups": len(follow_ups),
                "refer_back": sum(refers_back(case.text) for case in follow_ups),
                **{name: ranked(follow_ups, run) for name, run in runs.items()},
            }
            print(json.dumps({folder.name: figures[folder.name]}), flush=True)
    finish(**figures)


if __name__ == "__main__":
    main()
