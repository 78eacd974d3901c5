"""Follow-up questions searched for as they stand, behind the question before, and only where they refer back.

    python -m benchmarks.multi_turn FOLDER [MORE …]      BEIR folders whose queries have a history

Prints nDCG@10 and recall@10 of each way, over the follow-ups alone.
"""

import json
import sys
from pathlib import Path

from benchmarks.common import beir, finish, hits_of
from rag.question.follow_up import joined, refers_back
from rag.types import Turn
from service.evaluation.measures import ranked

WAYS = ("as it stands", "joined", "joined if it refers back")


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    figures = {}
    for folder in map(Path, sys.argv[1:]):
        lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
        rows = {row["id"]: row for row in map(json.loads, lines)}
        before = {name: [t["text"] for t in row["history"] if t["role"] == "user"] for name, row in rows.items()}
        runs: dict[str, dict[str, dict[str, float]]] = {way: {} for way in WAYS}
        with beir(folder) as (kb, cases, binding):
            follow_ups = [case for case in cases if before[case.id]]
            for case in follow_ups:
                last = before[case.id][-1]
                turns = [Turn(question=last, asked=last, answer="")]
                texts = (case.text, f"{last} {case.text}", joined(case.text, turns))
                for way, text in zip(WAYS, texts, strict=True):
                    hits = hits_of(kb, text, limit=50, binding=binding)
                    places = reversed(list(enumerate(hits)))
                    runs[way][case.id] = {hit.chunk.document.id: float(-place) for place, hit in places}
        figures[folder.name] = {
            "follow_ups": len(follow_ups),
            "refer_back": sum(refers_back(case.text) for case in follow_ups),
            **{way: ranked(follow_ups, run) for way, run in runs.items()},
        }
        print(json.dumps({folder.name: figures[folder.name]}), flush=True)
    finish(**figures)


if __name__ == "__main__":
    main()
