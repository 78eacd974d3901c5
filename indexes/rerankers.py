"""Rerankers: a sentence-transformers CrossEncoder by folder or hub name, or a /rerank endpoint (vLLM, TEI, Cohere)."""

import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx

from rag.chunking import dense_text
from rag.documents import Hit
from rag.errors import RerankerUnavailable, first_line
from rag.ports import Reranker

_BATCH = 4
_log = logging.getLogger("citewell")


def load_reranker(model: str, *, url: str = "", api_key: str = "") -> Reranker:
    """The reranker for a model name or folder, or for an endpoint when `url` is given.

    Raises RerankerUnavailable when the model cannot be loaded.
    """
    return EndpointReranker(model, url=url, api_key=api_key) if url else CrossEncoderReranker(model)


class CrossEncoderReranker:
    """A cross-encoder in this process. Asks the clock after every few pairs; out of time, the order given stands."""

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import CrossEncoder

            self._model = CrossEncoder(model)
        except Exception as err:  # the libraries raise OSError, ValueError, and several of the hub client's own
            raise RerankerUnavailable(
                f"The reranking model {model!r} cannot be loaded: {first_line(err)}\n"
                "Set rerank.model to a local folder or a hub name that this machine can reach, or rerank.url to an "
                "endpoint, or take out [rerank]."
            ) from err
        self._lock = threading.Lock()

    def rank(self, question: str, hits: Sequence[Hit], *, timeout_s: float) -> list[Hit]:
        """The same hits, best first; in the order given when the time runs out."""
        deadline = time.monotonic() + timeout_s
        pairs = [(question, dense_text(hit.chunk)) for hit in hits]
        scores: list[float] = []
        if not self._lock.acquire(timeout=timeout_s):
            return list(hits)
        try:
            while len(scores) < len(pairs):
                started = time.monotonic()
                part = pairs[len(scores) : len(scores) + _BATCH]
                scores += [float(score) for score in self._model.predict(part, show_progress_bar=False)]
                took = time.monotonic() - started
                if len(scores) < len(pairs) and time.monotonic() + took > deadline:
                    _log.warning(
                        "reranking stopped after %d of %d passages: %.1f s are over", len(scores), len(pairs), timeout_s
                    )
                    return list(hits)
        finally:
            self._lock.release()
        return _ordered(hits, scores)


class EndpointReranker:
    """A /rerank endpoint. The request has the fields of Cohere's form (vLLM, Jina) and of TEI's."""

    def __init__(self, model: str, *, url: str, api_key: str = "") -> None:
        self._url = url.rstrip("/") if url.rstrip("/").endswith("/rerank") else f"{url.rstrip('/')}/rerank"
        self._model = model
        # A pool, so that a slow drip of bytes cannot hold us.
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="citewell-rerank")
        self._http = httpx.Client(headers={"Authorization": f"Bearer {api_key}"} if api_key else {})

    def rank(self, question: str, hits: Sequence[Hit], *, timeout_s: float) -> list[Hit]:
        """The same hits, best first; in the order given when the endpoint is late, fails, or answers nonsense."""
        texts = [dense_text(hit.chunk) for hit in hits]
        body = {"model": self._model, "query": question, "documents": texts, "texts": texts, "top_n": len(texts)}
        try:
            answer = self._pool.submit(self._http.post, self._url, json=body, timeout=timeout_s).result(timeout_s)
            answer.raise_for_status()
            found = answer.json()
            rows = found["results"] if isinstance(found, dict) else found
            scores = {int(row["index"]): float(row.get("relevance_score", row.get("score"))) for row in rows}
            if set(scores) != set(range(len(hits))) or not all(map(math.isfinite, scores.values())):
                raise ValueError(f"it scored {len(scores)} of {len(hits)} passages, or not with numbers")
        except (
            TimeoutError,
            httpx.HTTPError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            ArithmeticError,
        ) as err:
            _log.warning("the reranker %s failed, the fused order stands: %s: %s", self._url, type(err).__name__, err)
            return list(hits)
        return _ordered(hits, [scores[i] for i in range(len(hits))])


def _ordered(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    """Hits by their new scores; equal ones stay in the order given."""
    rescored = [
        replace(hit, score=score, scores={**hit.scores, "fused": hit.score, "rerank": score})
        for hit, score in zip(hits, scores, strict=True)
    ]
    return sorted(rescored, key=lambda hit: -hit.score)
