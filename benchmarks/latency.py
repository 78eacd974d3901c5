"""Latency of a question without the language model, at 16k and at 100k chunks.

    python -m benchmarks.latency       (QUICK=1: at 16k and 32k)

The 16k chunks are the sample. The further ones are copies of its points, each with other ids and with a vector moved
by noise of a tenth of its length, so that they lie clustered as real ones do, and need no hour of embedding.
"""

import json
import time
import uuid
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.common import QUESTIONS, QUICK, finish, percentile, sample
from indexes.sparse import Bm25Encoder
from rag.documents import Point
from rag.ports import Scope
from service.knowledge_base import KnowledgeBase

ROUNDS = 20


def measure(kb: KnowledgeBase) -> dict[str, Any]:
    """p50 and p95 in ms of whole answers, and of retrieval alone, and how many chunks there were."""
    for question in QUESTIONS:
        kb.ask(question)
    asked, retrieved = [], []
    for question in QUESTIONS * ROUNDS:
        started = time.perf_counter()
        kb.ask(question)
        asked.append(1000 * (time.perf_counter() - started))
        started = time.perf_counter()
        kb.retrieve(question, k=10)
        retrieved.append(1000 * (time.perf_counter() - started))
    return {
        "chunks": kb.services.collection.current().index.count(),
        "answer_p50_ms": round(percentile(asked, 0.5), 1),
        "answer_p95_ms": round(percentile(asked, 0.95), 1),
        "retrieve_p50_ms": round(percentile(retrieved, 0.5), 1),
        "retrieve_p95_ms": round(percentile(retrieved, 0.95), 1),
    }


def grow(kb: KnowledgeBase, size: int) -> None:
    """Copy points until there are `size`."""
    rng = np.random.default_rng(0)
    hits = {hit.chunk.id: hit for question in QUESTIONS for hit in kb.retrieve(question, k=200)}
    ids = [row for name in kb.settings.sources for row in _chunk_ids(kb, name)]
    vectors = [
        v
        for start in range(0, len(ids), 1000)
        for v in kb.services.collection.current().index.embedded(ids[start : start + 1000]).values()
    ]
    texts = [hit.chunk for hit in hits.values()]
    encoded = Bm25Encoder().encode([chunk.text for chunk in texts])
    all_vectors = np.array(vectors, dtype=np.float32)
    dim = all_vectors.shape[1]
    have = kb.services.collection.current().index.count()
    while have < size:
        points: list[Point] = []
        for _ in range(min(1000, size - have)):
            pick, row = int(rng.integers(len(texts))), int(rng.integers(len(all_vectors)))
            moved = all_vectors[row] + rng.normal(scale=0.1 / dim**0.5, size=dim)
            chunk = texts[pick]
            document = replace(chunk.document, id=f"copy/{have + len(points)}")
            copy = replace(chunk, id=str(uuid.UUID(int=int(rng.integers(2**63)))), document=document)
            points.append(Point(chunk=copy, dense=moved.tolist(), sparse=encoded[pick]))
        kb.services.collection.current().index.upsert(points)
        have = kb.services.collection.current().index.count()


def _chunk_ids(kb: KnowledgeBase, source: str) -> list[str]:
    return [
        chunk_id for page in kb.services.ledger().pages(source) for document in page for chunk_id in document.chunk_ids
    ]


def main() -> None:
    with sample() as kb:
        list(kb.ingest())
        kb.services.collection.current().index.query(
            [0.0] * kb.services.collection.current().embedder.dim,
            Bm25Encoder().encode(["x"])[0],
            scope=Scope(),
            limit=1,
        )
        small = measure(kb)
        print(json.dumps(small))
        grow(kb, 32_000 if QUICK else 100_000)
        large = measure(kb)
        print(json.dumps(large))
        finish(small=small, large=large)


if __name__ == "__main__":
    main()
