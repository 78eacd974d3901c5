"""How near the bundled embedder's vectors are to their references, alone and in batches, and what they find.

    python -m benchmarks.embedder [FOLDER …]      BEIR folders: nDCG@10 of the dense list over whole documents
    qemu-x86_64 -cpu max .venv/bin/python -m benchmarks.embedder      the same on a processor without VNNI; an hour

QUESTIONS sets how many questions of a folder are asked (1,000).
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.common import finish
from indexes.embedders.bundled import bundled_embedder
from rag.ports import Embedder, Vectors
from service.evaluation.cases import read_cases
from service.evaluation.measures import ranked

REFERENCE = Path(__file__).parents[1] / "tests" / "data" / "reference_vectors.npz"
QUESTIONS = int(os.environ.get("QUESTIONS", "1000"))
DEPTH = 10


def cosines(some: Vectors, others: Vectors) -> dict[str, float]:
    lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    found = np.sum(some * others, axis=1) / lengths
    return {"least": round(float(found.min()), 7), "mean": round(float(found.mean()), 7)}


def found_by(embedder: Embedder, folder: Path) -> dict[str, float]:
    """nDCG@10, recall and MRR of a folder's questions among its whole documents."""
    cases, corpus = read_cases(folder)
    if corpus is None:
        sys.exit(f"{folder} has no corpus.")
    documents = list(corpus)
    held = embedder.embed([f"{document.title}\n{document.text}".strip() for document in documents])
    cases = [case for case in cases if case.documents][:QUESTIONS]
    scores = embedder.embed([case.text for case in cases], query=True) @ held.T
    run = {}
    for case, row in zip(cases, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:DEPTH]
        run[case.id] = {documents[place].id: float(row[place]) for place in best}
    return ranked(cases, run)


def main() -> None:
    embedder = bundled_embedder()
    with np.load(REFERENCE) as stored:
        texts, reference = [str(text) for text in stored["texts"]], stored["vectors"].astype(np.float32)
    alone = np.vstack([embedder.embed([text]) for text in texts])
    found = {}
    for folder in sys.argv[1:]:
        found[folder] = found_by(embedder, Path(folder))
        print(json.dumps({"set": folder, **found[folder]}), flush=True)
    finish(
        embedder=embedder.name,
        texts=len(texts),
        to_reference=cosines(alone, reference),
        alone_to_batch=cosines(alone, embedder.embed(texts)),
        sets=found,
    )


if __name__ == "__main__":
    main()
