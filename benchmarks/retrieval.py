"""Speed of hybrid search at several sizes beside LlamaIndex and Haystack, int8 beside fp32, stalls while ingesting.

    python -m benchmarks.retrieval           (QUICK=1: smaller sizes)
    DATA=FOLDER python -m benchmarks.retrieval --quality     nDCG and recall of each leg over BEIR folders under FOLDER

The points are clustered: 2,000 centres with noise of 0.6 of their length, 50 Zipf-drawn words each. LlamaIndex's
QdrantVectorStore (hybrid) and Haystack's QdrantHybridRetriever hold the same vectors in qdrant-client's local mode, and
are asked fewer questions, because each takes seconds.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from qdrant_client import QdrantClient

from benchmarks.common import QUESTIONS, QUICK, finish, hits_of, percentile, sample
from connectors.sql.source import SqlSource
from indexes.embedded.address import socket_path
from indexes.embedders.load import load_embedder
from indexes.qdrant.connect import connect_embedded
from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Encoders
from indexes.sparse import Bm25Encoder
from rag.documents import Chunk, Document, Point, SparseVector
from rag.events import Upsert
from rag.ports import Scope
from service.collection import Binding
from service.evaluation.cases import Case, read_cases
from service.evaluation.evaluate import LEGS, corpus_binding, evaluate
from service.evaluation.measures import ranked
from service.knowledge_base import KnowledgeBase
from tests.support.embedded import stop_engine

DIM, CENTRES, WORDS = 384, 2000, 30_000
SIZES = (5_000, 25_000) if QUICK else (10_000, 100_000, 500_000)
PEERS_AT = (25_000,) if QUICK else (10_000, 100_000)  # local mode holds the peers' points in this process
STALL_S = 20
ASKED, PEER_ASKED, CLIENTS = (100 if QUICK else 300), 5, 8


@dataclass(frozen=True, slots=True)
class Asked:
    dense: list[float]
    sparse: SparseVector
    text: str


class Corpus:
    """Points and questions drawn from one seed."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        centres = self._rng.normal(size=(CENTRES, DIM)).astype(np.float32)
        self._centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        self._words = np.array([f"word{i}" for i in range(WORDS)])
        share = 1 / np.arange(1, WORDS + 1)
        self._share = share / share.sum()
        self._encoder = Bm25Encoder()

    def _vectors(self, count: int) -> Any:
        noise = self._rng.normal(size=(count, DIM)).astype(np.float32) * 0.6 / DIM**0.5
        made = self._centres[self._rng.integers(CENTRES, size=count)] + noise
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def _texts(self, count: int, length: int) -> list[str]:
        return [" ".join(words) for words in self._rng.choice(self._words, size=(count, length), p=self._share)]

    def points(self, first: int, count: int) -> list[Point]:
        texts = self._texts(count, 50)
        parts = zip(texts, self._vectors(count).tolist(), self._encoder.encode(texts), strict=True)
        return [_point(first + i, *part) for i, part in enumerate(parts)]

    def asked(self, count: int) -> list[Asked]:
        texts = self._texts(count, 8)
        sparse = self._encoder.encode(texts, query=True)
        real = [QUESTIONS[i % len(QUESTIONS)] for i in range(count)]
        return [Asked(*parts) for parts in zip(self._vectors(count).tolist(), sparse, real, strict=True)]


def _point(number: int, text: str, dense: list[float], sparse: SparseVector) -> Point:
    document = Document(id=f"d{number}", source="bench", title="T", text="", uri="u", scope="x")
    chunk = Chunk(id=str(uuid.UUID(int=number + 1)), document=document, ordinal=0, text=text, start=0, end=len(text))
    return Point(chunk=chunk, dense=dense, sparse=sparse)


def _timed(ask: Callable[[Asked], Any], asked: Sequence[Asked]) -> list[float]:
    times = []
    for one in asked:
        started = time.perf_counter()
        ask(one)
        times.append(1000 * (time.perf_counter() - started))
    return times


def _spread(times: list[float]) -> dict[str, float]:
    return {f"p{round(100 * share)}_ms": round(percentile(times, share), 2) for share in (0.5, 0.95, 0.99)}


# Citewell.


def measure_ours(folder: Path, corpus: Corpus, asked: Sequence[Asked]) -> Iterator[dict[str, Any]]:
    """Speed at each size; the collection grows from one to the next."""
    embedder = load_embedder()
    embedder.embed(["warm"], query=True)
    index = _index(folder)
    have = 0
    for size in SIZES:
        started = time.perf_counter()
        while have < size:
            index.upsert(corpus.points(have, min(1000, size - have)))
            have += min(1000, size - have)
        loaded = time.perf_counter() - started
        waited = _wait_for_upkeep(folder)

        def search(one: Asked, index: QdrantIndex = index) -> Any:
            return index.query(one.dense, one.sparse, scope=Scope(), limit=40)

        def with_embedding(one: Asked, index: QdrantIndex = index) -> Any:
            embedder.embed([one.text], query=True)
            return search(one, index)

        _timed(search, asked)
        alone, whole = _timed(search, asked), _timed(with_embedding, asked)
        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(search, asked))
        rate = len(asked) / (time.perf_counter() - started)
        memory = _memory_mb(folder)
        stop_engine(folder)
        started = time.perf_counter()
        index = _index(folder)
        search(asked[0], index)
        yield {
            "chunks": size, "search": _spread(alone), "with_embedding": _spread(whole), "qps_8_clients": round(rate, 1),
            "engine_memory_mb": memory, "open_s": round(time.perf_counter() - started, 2), "load_s": round(loaded, 1),
            "optimise_s": round(waited, 1),
        }  # fmt: skip


def _index(folder: Path) -> QdrantIndex:
    client = connect_embedded(folder, idle_s=600)
    return QdrantIndex(client, alias="bench", encoders=Encoders(embedder="bench", dim=DIM, sparse="bm25"))


def _wait_for_upkeep(folder: Path) -> float:
    """Wait until the engine has nothing to optimise; measuring beside it would measure both."""
    started = time.perf_counter()
    quiet = 0
    while quiet < 80:  # it begins at most 6 s after the last write
        time.sleep(0.1)
        busy = len([path for path in (folder / "bench-1").iterdir() if path.is_dir()]) > 1
        quiet = 0 if busy else quiet + 1
    return time.perf_counter() - started - 8.0


def _memory_mb(folder: Path) -> int:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path(folder)))) as client:
        pid = client.get("http://engine/").json()["pid"]
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) // 1024


# Peers.


def llamaindex(points: Iterator[list[Point]]) -> Callable[[Asked], Any]:
    from llama_index.core.schema import TextNode
    from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    def sparse(texts: list[str], *, query: bool) -> tuple[list[list[int]], list[list[float]]]:
        made = Bm25Encoder().encode(texts, query=query)
        return [list(v.indices) for v in made], [list(v.values) for v in made]

    store = QdrantVectorStore(
        "bench", client=QdrantClient(":memory:"), enable_hybrid=True,
        sparse_doc_fn=lambda texts: sparse(texts, query=False), sparse_query_fn=lambda texts: sparse(texts, query=True),
    )  # fmt: skip
    for page in points:
        store.add([TextNode(id_=p.chunk.id, text=p.chunk.text, embedding=p.dense) for p in page])

    def ask(one: Asked) -> Any:
        return store.query(
            VectorStoreQuery(
                query_embedding=one.dense,
                query_str=one.text,
                mode=VectorStoreQueryMode.HYBRID,
                similarity_top_k=40,
                sparse_top_k=100,
                hybrid_top_k=40,
            )
        )

    return ask


def haystack(points: Iterator[list[Point]]) -> Callable[[Asked], Any]:
    from haystack import Document as HaystackDocument
    from haystack.dataclasses import SparseEmbedding
    from haystack_integrations.components.retrievers.qdrant import QdrantHybridRetriever
    from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

    store = QdrantDocumentStore(
        ":memory:", embedding_dim=DIM, use_sparse_embeddings=True, sparse_idf=True, progress_bar=False
    )
    for page in points:
        store.write_documents(
            [
                HaystackDocument(
                    id=p.chunk.id, content=p.chunk.text, embedding=p.dense,
                    sparse_embedding=SparseEmbedding(indices=list(p.sparse.indices), values=list(p.sparse.values)),
                )
                for p in page
            ]
        )  # fmt: skip
    retriever = QdrantHybridRetriever(document_store=store, top_k=40)

    def ask(one: Asked) -> Any:
        sparse = SparseEmbedding(indices=list(one.sparse.indices), values=list(one.sparse.values))
        return retriever.run(query_embedding=one.dense, query_sparse_embedding=sparse)

    return ask


def measure_peers(asked: Sequence[Asked]) -> Iterator[dict[str, Any]]:
    """Each peer at each size of PEERS_AT, with the very points that Citewell has."""
    for size in PEERS_AT:
        for name, build in (("llamaindex", llamaindex), ("haystack", haystack)):
            corpus = Corpus()
            ask = build(corpus.points(first, min(1000, size - first)) for first in range(0, size, 1000))
            yield {"peer": name, "chunks": size, "search": _spread(_timed(ask, asked[:PEER_ASKED]))}


# int8.


def measure_int8(kb: KnowledgeBase) -> dict[str, float]:
    """Passages a second and nDCG of int8 against the original, over rows of the sample asked for by what they hold."""
    rows = _tracks(kb)
    texts = [document.text.strip() for document in rows]
    questions = [_asked_for(document.text) for document in rows]
    long = [" ".join(texts[i : i + 4]) for i in range(0, len(texts), 4)][: 24 if QUICK else 96]
    found: dict[str, tuple[float, float]] = {}
    for backend in ("onnx", "torch"):
        embedder = load_embedder(backend=backend)
        embedder.embed(long[:4])
        started = time.perf_counter()
        embedder.embed(long)
        rate = len(long) / (time.perf_counter() - started)
        scores = embedder.embed(questions, query=True) @ embedder.embed(texts).T
        ranks = [int((row > row[i]).sum()) for i, row in enumerate(scores)]
        found[backend] = rate, float(np.mean([1 / np.log2(rank + 2) if rank < 10 else 0.0 for rank in ranks]))
    return {
        "int8_passages_s": round(found["onnx"][0], 1), "fp32_passages_s": round(found["torch"][0], 1),
        "int8_speedup": round(found["onnx"][0] / found["torch"][0], 2),
        "int8_ndcg": round(found["onnx"][1], 4), "fp32_ndcg": round(found["torch"][1], 4),
        "int8_ndcg_ratio": round(found["onnx"][1] / found["torch"][1], 4),
    }  # fmt: skip


def _tracks(kb: KnowledgeBase) -> list[Document]:
    database = kb.services.catalogue.connector("shop")
    if not isinstance(database, SqlSource):
        raise SystemExit("the sample's source `shop` is no database")
    events = (event for event in database.read() if isinstance(event, Upsert))
    tracks = [event.document for event in events if event.document.scope == "Track"]
    return tracks[:: 60 if QUICK else 12]


def _asked_for(text: str) -> str:
    """A question for a track by the first half of its name's words."""
    name = next(line.removeprefix("Name: ") for line in text.splitlines() if line.startswith("Name: ")).split()
    return f"What is the song called that begins with {' '.join(name[: (len(name) + 1) // 2])}?"


# The event loop.


async def _stalls(kb: KnowledgeBase, process: subprocess.Popen[bytes]) -> float:
    """The longest time, in ms, that the loop did not come round while questions are asked and a sync runs."""
    worst = 0.0
    until = time.monotonic() + STALL_S

    async def watch() -> None:
        nonlocal worst
        while process.poll() is None and time.monotonic() < until:
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, 1000 * (time.perf_counter() - started) - 1)

    async def ask() -> None:
        while process.poll() is None and time.monotonic() < until:
            await asyncio.to_thread(kb.retrieve, QUESTIONS[0])

    await asyncio.gather(watch(), ask())
    return worst


def measure_stalls(kb: KnowledgeBase) -> float:
    command = [
        sys.executable,
        "-m",
        "service.cli.main",
        "ingest",
        "--full",
        "-c",
        str(kb.settings.root / "citewell.toml"),
    ]
    kb.retrieve(QUESTIONS[0])
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    worst = asyncio.run(_stalls(kb, process))
    process.terminate()
    process.wait()
    return round(worst, 1)


# Quality.


def quality(folder: Path) -> None:
    """A line for each BEIR folder: nDCG@10 and recall@10 of words, meaning and both."""
    with sample() as kb:
        kb.services.collection.current().index.prepare()
        for path in sorted(path.parent for path in folder.rglob("qrels.tsv")):
            cases, corpus = read_cases(path)
            if corpus is None:
                continue
            with corpus_binding(kb.services, corpus) as binding:
                found = {leg: evaluate(kb.services, cases, binding=binding, leg=leg) for leg in LEGS}
                found["rrf"] = reciprocal_ranks(kb, cases, binding)
            print(json.dumps({"set": str(path.relative_to(folder)), "questions": len(cases), **found}), flush=True)


def reciprocal_ranks(kb: KnowledgeBase, cases: Sequence[Case], binding: Binding) -> dict[str, float]:
    """What reciprocal rank fusion (k 60, equal weights) of the two lists would give."""
    run: dict[str, dict[str, float]] = {}
    for case in cases:
        scores: dict[str, float] = {}
        for leg, name in (("words", "bm25"), ("meaning", "dense")):
            leg_only = replace(binding, index=binding.index.weighted(LEGS[leg]))
            hits = hits_of(kb, case.text, limit=100, binding=leg_only)
            documents = dict.fromkeys(hit.chunk.document.id for hit in hits if name in hit.scores)
            for rank, document in enumerate(documents, start=1):
                scores[document] = scores.get(document, 0.0) + 1 / (60 + rank)
        run[case.id] = scores
    return ranked(cases, run)


def main() -> None:
    if "--quality" in sys.argv:
        quality(Path(os.environ["DATA"]))
        return
    if QUICK:
        os.environ["CITEWELL_SOURCES__SHOP__EXCLUDE"] = '["PlaylistTrack", "InvoiceLine"]'
    with sample() as kb:
        kb.ingest()
        stall = measure_stalls(kb)  # first, while PyTorch is not in the process
        print(json.dumps({"max_stall_ms": stall}), flush=True)
        int8 = measure_int8(kb)
        print(json.dumps(int8), flush=True)
    corpus = Corpus()
    asked = Corpus().asked(ASKED)
    with tempfile.TemporaryDirectory(prefix="citewell-bench-") as folder:
        try:
            ours = {}
            for figures in measure_ours(Path(folder), corpus, asked):
                ours[figures["chunks"]] = figures
                print(json.dumps(figures), flush=True)
        finally:
            stop_engine(Path(folder))
    peers = {}
    for figures in measure_peers(asked):
        peers[figures["peer"]] = figures
        print(json.dumps(figures), flush=True)
    common = ours[PEERS_AT[-1]]["search"]["p50_ms"]
    finish(
        p95_ms_100k=ours[25_000 if QUICK else 100_000]["with_embedding"]["p95_ms"],
        vs_llamaindex=round(peers["llamaindex"]["search"]["p50_ms"] / common, 1),
        vs_haystack=round(peers["haystack"]["search"]["p50_ms"] / common, 1),
        max_stall_ms=stall,
        **int8,
    )


if __name__ == "__main__":
    main()
