"""Messages for the language model, fitted to the token.

Layout for vLLM's prefix cache: fixed system text, the conversation so far as it was sent, then the passages in an order
that the cache knows (rag/prompt/ordering.py), then the relevance order and the question. Nothing volatile stands before
the question. A passage's block is the same text in every prompt.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rag.documents import Passage
from rag.errors import QuestionError
from rag.language.text import sentence_spans
from rag.language.tokens import block_text, neutralize
from rag.ports import TokenCounter
from rag.prompt.ordering import Arrangement, Block, PrefixOrder
from rag.prompt.templates import Templates, load_templates
from rag.types import Message, Turn

_AFTER_CONTENT_TOKENS = 5  # Qwen2.5: <|im_end|>\n<|im_start|>assistant\n
_CUT_MARK = " […]"
_FULL = 0.02  # of the budget: less room than this is not worth another cut passage
_HISTORY_MOST, _HISTORY_KEPT = 0.75, 0.25  # of the budget: more turns than the first are cut back to the second


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPlan:
    """How prompts are made: counted, worded, and ordered for one replica's cache.

    ordering: none leaves the passages in the order of their relevance. share: of the room that the passages of one
    turn may take; below 1 in a conversation that is kept, so that the next turns find room beside them.
    """

    counter: TokenCounter
    templates: Templates = load_templates()
    ordering: PrefixOrder | None = None
    replica: str = ""
    tenant: str = ""
    share: float = 1.0
    json_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Messages with their tokens. passages: those of this turn, best first; turns: the earlier turns that it holds."""

    messages: tuple[Message, ...]
    tokens: int
    passages: tuple[Passage, ...]
    turns: tuple[Turn, ...] = ()
    fixed_tokens: int = 0  # before the first passage
    arrangement: Arrangement | None = None


def build(
    question: str,
    passages: Sequence[Passage],
    plan: PromptPlan,
    *,
    budget_tokens: int,
    turns: Sequence[Turn] = (),
) -> Prompt:
    """A prompt of at most `budget_tokens` tokens.

    Passages are given best first. The worst are left out first; one that fits only in part keeps whole sentences and
    is marked as cut, and room that it leaves goes to the next ones. The oldest turns go when the conversation fills the
    budget, several at once, so that the cache of what stays is lost once and not at every turn. A passage that stands
    in a turn which stays is not placed again.
    Raises QuestionError when the question alone is over the budget.
    """
    ask, counter, system = _asked(question, plan), plan.counter, _system(plan)
    alone = least_tokens(question, plan)
    if alone > budget_tokens:
        raise QuestionError(
            f"The question has {counter.count_text(ask)} tokens, but the prompt may have {budget_tokens}. "
            "Shorten it, or choose a profile with a longer context."
        )
    kept = _kept(turns, counter, alone, budget_tokens)
    standing = {passage.label for turn in kept for passage in turn.passages}
    new = [passage for passage in passages if passage.label not in standing]
    relevant = [passage.label for passage in passages]
    placed = _fit(new, plan, int((budget_tokens - alone - _size(kept, counter)) * plan.share), budget_tokens)
    while True:
        prompt = _assemble(system, kept, placed, ask, plan, relevant)
        if prompt.tokens <= budget_tokens:
            return _arranged(prompt, system, ask, plan, relevant)
        if placed:
            placed = placed[:-1]
        else:
            kept = kept[1:]


def least_tokens(question: str, plan: PromptPlan) -> int:
    """Tokens of a prompt without any passage."""
    content = _content(plan, [], [], _asked(question, plan))
    return plan.counter.count([_system(plan), Message(role="user", content=content)])


def _system(plan: PromptPlan) -> Message:
    templates = plan.templates
    return Message(role="system", content=templates.json if plan.json_schema is not None else templates.system)


def _asked(question: str, plan: PromptPlan) -> str:
    asked = neutralize(" ".join(unicodedata.normalize("NFC", question).split()))
    if plan.json_schema:
        schema = json.dumps(plan.json_schema, ensure_ascii=False)
        asked += f"\n\nAnswer with JSON that fits this schema: {neutralize(schema)}"
    return asked


def _heading(passage: Passage) -> str:
    page = f" (page {passage.page})" if passage.page is not None else ""
    return neutralize(f"[{passage.label}] {' '.join((passage.context or passage.document.title).split())}{page}\n")


def _body(passage: Passage) -> str:
    return block_text(passage.text + (_CUT_MARK if passage.cut else ""))


def _tokens(passage: Passage, counter: TokenCounter) -> int:
    """Tokens of a passage in a prompt, its mention in the order of relevance included."""
    mention = counter.count_text(f" [{passage.label}]")
    if counter.additive and passage.tokens and not passage.cut:
        return counter.count_text(_heading(passage)) + passage.tokens + mention
    return counter.count_text(_heading(passage) + _body(passage)) + mention


def _fit(passages: Sequence[Passage], plan: PromptPlan, room: int, budget_tokens: int) -> list[Passage]:
    """Passages that fit into a room, best first, the cut ones included."""
    placed: list[Passage] = []
    room -= plan.counter.count_text(_content(plan, [], ["", ""], "")) - plan.counter.count_text(
        _content(plan, [], [], "")
    )
    for passage in passages:
        size = _tokens(passage, plan.counter)
        if size > room:
            head = _head_that_fits(passage, plan.counter, room)
            if head is None:
                continue
            passage, size = head
        placed.append(passage)
        room -= size
        if room < _FULL * budget_tokens:
            break
    return placed


def _head_that_fits(passage: Passage, counter: TokenCounter, room: int) -> tuple[Passage, int] | None:
    """The longest head of whole sentences (of a row: of whole fields) with its tokens."""
    ends = [end for _, end in sentence_spans(passage.text)][:-1]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high + 1) // 2
        if _tokens(_head(passage, ends[middle - 1]), counter) <= room:
            low = middle
        else:
            high = middle - 1
    if low == 0:
        return None
    head = _head(passage, ends[low - 1])
    return head, _tokens(head, counter)


def _head(passage: Passage, end: int) -> Passage:
    return replace(passage, text=passage.text[:end], end=passage.start + end, cut=True, tokens=0)


def _size(turns: Sequence[Turn], counter: TokenCounter) -> int:
    return sum(counter.count_text(f"user\n{t.asked}") + counter.count_text(f"assistant\n{t.answer}") + 6 for t in turns)


def _kept(turns: Sequence[Turn], counter: TokenCounter, alone: int, budget_tokens: int) -> list[Turn]:
    """The turns that stay: all, or when they fill the budget the newest ones."""
    kept = list(turns)
    if alone + _size(kept, counter) > _HISTORY_MOST * budget_tokens:
        while kept and alone + _size(kept, counter) > max(_HISTORY_KEPT * budget_tokens, alone):
            kept = kept[1:]
    return kept


def _content(plan: PromptPlan, blocks: Sequence[str], order: Sequence[str], question: str) -> str:
    """A user message. The line with the order of relevance is left out where there is nothing to order."""
    before, _, after = plan.templates.user.partition("{passages}")
    if len(order) < 2:
        after = "\n".join(line for line in after.split("\n") if "{order}" not in line)
    tail = re.sub(r"\n{3,}", "\n\n", after).lstrip("\n")
    slots = {"order": " ".join(f"[{label}]" for label in order), "question": question}
    return before + "".join(blocks) + re.sub(r"\{(order|question)\}", lambda match: slots[match.group(1)], tail)


def _assemble(
    system: Message,
    turns: Sequence[Turn],
    placed: Sequence[Passage],
    ask: str,
    plan: PromptPlan,
    relevant: Sequence[str],
) -> Prompt:
    history = [
        m for t in turns for m in (Message(role="user", content=t.asked), Message(role="assistant", content=t.answer))
    ]
    labels = {passage.label for passage in placed} | {p.label for turn in turns for p in turn.passages}
    order = [label for label in relevant if label in labels]
    blocks = [_heading(passage) + _body(passage) for passage in placed]
    messages = (system, *history, Message(role="user", content=_content(plan, blocks, order, ask)))
    counter = plan.counter
    if counter.additive:
        bare = Message(role="user", content=_content(plan, [], order, ask))
        tokens = counter.count([system, *history, bare]) + sum(counter.count_text(block) for block in blocks)
    else:
        tokens = counter.count(messages)
    return Prompt(messages=messages, tokens=tokens, passages=tuple(placed), turns=tuple(turns))


def _arranged(prompt: Prompt, system: Message, ask: str, plan: PromptPlan, relevant: Sequence[str]) -> Prompt:
    """The prompt with its passages in the order of the cache; those that were cut last. Tokens stay the same."""
    if plan.ordering is None or prompt.turns or not prompt.passages:
        return prompt
    whole = [passage for passage in prompt.passages if not passage.cut]
    form = "text" if plan.json_schema is None else "json"
    namespace = f"{plan.tenant}\0{plan.templates.version}\0{form}"
    blocks = [_block(passage, plan.counter) for passage in whole]
    arrangement = plan.ordering.arrange(plan.replica, namespace, blocks)
    ordered = [whole[i] for i in arrangement.order] + [passage for passage in prompt.passages if passage.cut]
    before = Message(role="user", content=plan.templates.user.partition("{passages}")[0])
    return replace(
        _assemble(system, (), ordered, ask, plan, relevant),
        passages=prompt.passages,
        fixed_tokens=plan.counter.count([system, before]) - _AFTER_CONTENT_TOKENS,
        arrangement=arrangement,
    )


def _block(passage: Passage, counter: TokenCounter) -> Block:
    text = _heading(passage) + _body(passage)
    return Block(key=hashlib.sha256(text.encode()).hexdigest()[:24], tokens=counter.count_text(text))
