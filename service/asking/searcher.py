"""Searching the current collection for what a question needs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from rag.documents import Hit
from rag.errors import IndexUnavailable, QuestionError
from rag.lazy import Lazy
from rag.ports import Scope
from rag.question.evidence import admissible, evidence
from rag.question.question import Question, understand
from rag.retrieval.breaker import Breaker
from rag.retrieval.retrieval import Reranking, Retriever, to_passages
from service.collection import Binding, Collection
from service.settings.sections import RetrievalSettings
from service.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Chunks for a question, best first, and what they were found with."""

    hits: Sequence[Hit]
    binding: Binding


class Searcher:
    """Finds chunks for questions; safe to share between threads."""

    def __init__(
        self,
        collection: Collection,
        settings: RetrievalSettings,
        *,
        synonyms: Mapping[str, Sequence[str]],
        reranking: Lazy[Reranking | None],
        threads: Threads,
    ) -> None:
        self._collection, self._settings, self._synonyms = collection, settings, synonyms
        self._reranking, self._threads = reranking, threads
        self._breaker = Breaker()

    async def in_thread(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Run what embeds and searches in one of a few threads, so that a slow index takes no others."""
        return await self._threads.run(function, *arguments, **options)

    def clean(self, question: str) -> str:
        """A question fit to be processed. Raises QuestionError when it is empty or too long."""
        question = question.encode("utf-8", "ignore").decode().replace("\0", "").strip()
        longest = self._settings.max_question_chars
        if not question:
            raise QuestionError("The question is empty.")
        if len(question) > longest:
            raise QuestionError(
                f"The question has {len(question)} characters; {longest} are allowed (retrieval.max_question_chars)."
            )
        return question

    def understand(self, question: str) -> Question:
        """A clean question, with its language, its terms and the configured synonyms."""
        return understand(question, self._synonyms)

    def retrieve(self, question: str, *, k: int, scope: Scope) -> list[Hit]:
        """The k best chunks for a question. Raises QuestionError for an empty or over-long one."""
        limit = max(k, self._settings.limit)
        return list(self.search(self.understand(self.clean(question)), limit=limit, scope=scope).hits[:k])

    def search(self, question: Question, *, limit: int, scope: Scope) -> Found:
        """Chunks of the current collection. Raises IndexUnavailable at once where it failed several times in a row."""
        if not self._breaker.allow():
            raise IndexUnavailable(
                f"Qdrant failed {self._breaker.failures} times in a row, and will be tried again soon."
            )
        try:
            found = self._collection.use(lambda binding: self.search_in(binding, question, limit=limit, scope=scope))
        except IndexUnavailable:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return found

    def search_in(self, binding: Binding, question: Question, *, limit: int, scope: Scope) -> Found:
        """Chunks of any collection."""
        retriever = Retriever(
            embedder=binding.embedder,
            sparse=binding.sparse,
            index=binding.index,
            reranking=self._reranking(),
            per_document=self._settings.per_document * max(1, limit // self._settings.limit),
        )
        hits = retriever.hits(question.text, scope=scope, limit=limit, expansion=question.expansion)
        return Found(hits=hits, binding=binding)

    def visible(self, chunk_ids: Sequence[str], scope: Scope) -> set[str]:
        """Those of some chunks that are still there, and in a scope."""
        return self._collection.use(lambda binding: binding.index.visible(chunk_ids, scope))


def most_evidence(question: Question, found: Found) -> float:
    """The most evidence that one of the passages has; a question below the threshold is refused."""
    scale = found.binding.scale(question.language)
    fit = admissible(question, to_passages(found.hits))
    return max((evidence(question, passage, scale=scale) for passage in fit), default=0.0)
