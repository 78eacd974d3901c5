"""Follow-up questions: made to stand alone before they are searched for."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from rag.documents import Hit, Passage
from rag.errors import GeneratorUnavailable
from rag.language.languages import alternatives
from rag.language.terms import content_weights, coverage, term_set
from rag.language.tokens import neutralize
from rag.ports import Generator
from rag.prompt.templates import Templates
from rag.retrieval.retrieval import to_passages
from rag.types import Message, Route, Sampling, Turn

_LONGEST_TURN_CHARS = 600  # of an answer in the rewriting prompt: its beginning says what it is about
_TURNS = 4
_TOKENS = 96
_LONGEST_S = 8.0
_KEPT = 2048
_FEW_WORDS = 3
_SHARED = 0.5


def refers_back(question: str) -> bool:
    """Whether a question leans on what was said before: it points at something, or has hardly a word of its own."""
    return bool(_refers_back().search(question.strip())) or len(content_weights(question)) < _FEW_WORDS


@lru_cache(maxsize=1)
def _refers_back() -> re.Pattern[str]:
    return re.compile(alternatives("refers_back"), re.I)


def joined(question: str, turns: Sequence[Turn]) -> str:
    """A follow-up behind the question that it follows; a question that stands alone as it is."""
    if not turns or not refers_back(question):
        return question
    return f"{turns[-1].question.strip()} {question.strip()}"


def turns_of(history: Sequence[Message]) -> list[Turn]:
    """The turns of a caller's own history. It is sent on as text, so control tokens in it lose their power."""
    turns: list[Turn] = []
    for message in history:
        content = neutralize(message.content)
        if message.role == "user":
            turns.append(Turn(question=message.content, asked=content, answer=""))
        elif message.role == "assistant" and turns:
            last = turns.pop()
            turns.append(replace(last, answer=f"{last.answer}\n{content}".strip()))
    return turns


def passages_beside(turns: Sequence[Turn], hits: Sequence[Hit]) -> list[Passage]:
    """Passages for a follow-up, best first: one that stands in an earlier turn keeps its label and its place there."""
    earlier = [passage for turn in turns for passage in turn.passages]
    if not earlier:
        return to_passages(hits)
    rank = {hit.chunk.id: place for place, hit in enumerate(hits)}
    found = []
    for passage in earlier:
        if places := [rank[chunk_id] for chunk_id in passage.chunk_ids if chunk_id in rank]:
            best = hits[min(places)]
            found.append(replace(passage, score=best.score, scores=best.scores))
    standing = {chunk_id for passage in earlier for chunk_id in passage.chunk_ids}
    new = to_passages([hit for hit in hits if hit.chunk.id not in standing], taken={p.label for p in earlier})
    return sorted([*found, *new], key=lambda passage: min(rank[i] for i in passage.chunk_ids if i in rank))


class Rewriter:
    """Writes follow-up questions again with the language model. The same follow-up is written once."""

    def __init__(self, generator: Generator, templates: Templates) -> None:
        self._generator = generator
        self._templates = templates
        self._known: OrderedDict[tuple[str, ...], str] = OrderedDict()

    async def rewrite(self, question: str, turns: Sequence[Turn], route: Route) -> str:
        """The question so that it stands alone; joined to the one before where the model does not answer."""
        key = (question, route.cache_salt, *(text for turn in turns[-_TURNS:] for text in (turn.question, turn.answer)))
        if key not in self._known:
            try:
                async with asyncio.timeout(_LONGEST_S):
                    written = await self._ask(question, turns, route)
            except (GeneratorUnavailable, TimeoutError):
                return joined(question, turns)
            self._known[key] = written if _is_rewriting(written, question, turns) else joined(question, turns)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[key]

    async def _ask(self, question: str, turns: Sequence[Turn], route: Route) -> str:
        said = "\n".join(
            f"User: {neutralize(turn.question)}\nAssistant: {neutralize(turn.answer[:_LONGEST_TURN_CHARS])}"
            for turn in turns[-_TURNS:]
        )
        slots = {"history": said, "question": neutralize(question)}
        text = re.sub(r"\{(history|question)\}", lambda match: slots[match.group(1)], self._templates.standalone)
        written = ""
        async for delta in self._generator.stream(
            [Message(role="user", content=text)], Sampling(max_tokens=_TOKENS), route
        ):
            written += delta.text
        return written.strip()


def _is_rewriting(written: str, question: str, turns: Sequence[Turn]) -> bool:
    """Whether what the model wrote is the question again: one line, with most of its words, and hardly others."""
    if not written or "\n" in written or len(written) > 4 * len(question) + 200:
        return False
    said = term_set(" ".join([question, *(f"{turn.question} {turn.answer}" for turn in turns)]))
    own, kept = content_weights(written), content_weights(question)
    return coverage(own, said) >= _SHARED and (not kept or coverage(kept, term_set(written)) >= _SHARED)
