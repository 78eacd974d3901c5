"""Rerankers: a sentence-transformers CrossEncoder by folder or hub name, or a /rerank endpoint (vLLM, TEI, Cohere)."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx

from rag.boundary.extras import needs_extra
from rag.chunking import dense_text
from rag.documents import Hit
from rag.errors import RerankerUnavailable, first_line
from rag.ports import Reranker

_BATCH = 4
_log = logging.getLogger("citewell")

Pair = tuple[str, str]  # a question and a passage


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
        except ImportError as err:
            raise RerankerUnavailable(needs_extra(f"The reranker {model!r} needs", "models")) from err
        try:
            self._model = CrossEncoder(model)
        except Exception as err:  # the libraries raise OSError, ValueError, and several of the hub client's own
            raise RerankerUnavailable(
                f"The reranking model {model!r} cannot be loaded: {first_line(err)}\n"
                "Set rerank.model to a local folder or a hub name that this machine can reach, or rerank.url to an "
                "endpoint, or remove [rerank]."
            ) from err
        self._lock = threading.Lock()

    def rank(self, question: str, hits: Sequence[Hit], *, timeout_s: float) -> list[Hit]:
        """The same hits, best first; in the order given when the time runs out."""
        deadline = time.monotonic() + timeout_s
        pairs = [(question, dense_text(hit.chunk)) for hit in hits]
        if not self._lock.acquire(timeout=timeout_s):
            return list(hits)
        try:
            scores = scores_in_time(pairs, self._predict, deadline=deadline)
        finally:
            self._lock.release()
        if len(scores) < len(pairs):
            _log.warning(
                "reranking stopped after %d of %d passages: its %.1f s are used up", len(scores), len(pairs), timeout_s
            )
            return list(hits)
        return ordered(hits, scores)

    def _predict(self, pairs: Sequence[Pair]) -> list[float]:
        return [float(score) for score in self._model.predict(pairs, show_progress_bar=False)]


def scores_in_time(
    pairs: Sequence[Pair],
    predict: Callable[[Sequence[Pair]], list[float]],
    *,
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
) -> list[float]:
    """Scores of pairs, made a few at a time; fewer than pairs where the next few would not be done by the deadline."""
    scores: list[float] = []
    while len(scores) < len(pairs):
        started = clock()
        scores += predict(pairs[len(scores) : len(scores) + _BATCH])
        ended = clock()
        if ended + (ended - started) > deadline:
            break
    return scores


class EndpointReranker:
    """A /rerank endpoint. The request has the fields of Cohere's form (vLLM, Jina) and of TEI's."""

    def __init__(
        self, model: str, *, url: str, api_key: str = "", transport: httpx.BaseTransport | None = None
    ) -> None:
        self._url = url.rstrip("/") if url.rstrip("/").endswith("/rerank") else f"{url.rstrip('/')}/rerank"
        self._model = model
        # A pool, so that a slow drip of bytes cannot hold us.
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="citewell-rerank")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(headers=headers, transport=transport)

    def rank(self, question: str, hits: Sequence[Hit], *, timeout_s: float) -> list[Hit]:
        """The same hits, best first; in the order given when the endpoint is late, fails, or answers nonsense."""
        texts = [dense_text(hit.chunk) for hit in hits]
        body = {"model": self._model, "query": question, "documents": texts, "texts": texts, "top_n": len(texts)}
        try:
            answer = self._pool.submit(self._http.post, self._url, json=body, timeout=timeout_s).result(timeout_s)
            answer.raise_for_status()
            scores = scores_of(answer.json(), len(hits))
        except (TimeoutError, httpx.HTTPError, ValueError) as err:
            _log.warning("the reranker %s failed, the fused order is kept: %s: %s", self._url, type(err).__name__, err)
            return list(hits)
        return ordered(hits, scores)


def scores_of(answer: Any, count: int) -> list[float]:
    """The scores of passages, in the order that they were sent in, from an answer of either form.

    Raises ValueError for anything else.
    """
    try:
        rows = answer["results"] if isinstance(answer, dict) else answer
        scores = {int(row["index"]): float(row.get("relevance_score", row.get("score"))) for row in rows}
    except (LookupError, TypeError, AttributeError, ArithmeticError) as err:
        raise ValueError(f"it answered with no list of scores ({type(err).__name__}: {err})") from err
    if set(scores) != set(range(count)) or not all(map(math.isfinite, scores.values())):
        raise ValueError(f"it scored {len(scores)} of {count} passages, or not with numbers")
    return [scores[place] for place in range(count)]


def ordered(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    """Hits by their new scores; equal ones stay in the order given."""
    rescored = [
        replace(hit, score=score, scores={**hit.scores, "fused": hit.score, "rerank": score})
        for hit, score in zip(hits, scores, strict=True)
    ]
    return sorted(rescored, key=lambda hit: -hit.score)
