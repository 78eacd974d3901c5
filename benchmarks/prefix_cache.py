"""How much of a stream of prompts vLLM's prefix cache holds, by the order of the passages in them.

    python -m benchmarks.prefix_cache                 questions about the sample record shop, in sessions
    DATA=FOLDER python -m benchmarks.prefix_cache     public sets: single questions, conversations, paraphrases

Prompts are made as the service makes them, with the chat profile. The cache is simulated block for block: a block of
16 tokens is found when all tokens up to its end are those of an earlier prompt, the least recently used block goes
first, and the last token of a prompt is never read from the cache. tests/vllm/test_prompts.py compares the simulation
with the `cached_tokens` of a real vLLM. TRACES=FOLDER writes the prompts down, for benchmarks/gpu.
"""

import gzip
import json
import os
import random
import re
import sqlite3
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common import QUICK, SAMPLE, finish, hits_of, over_database, percentile, sample
from rag.answer.answering import AnswerSettings, Asked, prompt_for, weighed
from rag.documents import Hit
from rag.language.tokens import qwen_encoding
from rag.prompt.ordering import Arrangement, Block, PrefixOrder
from rag.prompt.prompt import Prompt
from rag.question.follow_up import joined, passages_beside
from rag.question.question import understand
from rag.types import Message, Turn
from service.evaluation.cases import read_cases as read_beir
from service.evaluation.evaluate import corpus_binding
from service.knowledge_base import KnowledgeBase

REQUESTS = int(os.environ.get("REQUESTS", 300 if QUICK else 2000))  # of each trace, at most
BLOCK, CAPACITY = 16, 900_000


@dataclass
class Cache:
    """vLLM's prefix cache: blocks by the hash of all tokens up to their end."""

    block: int = BLOCK
    capacity_tokens: int = CAPACITY
    blocks: "OrderedDict[int, None]" = field(default_factory=OrderedDict)

    def ask(self, tokens: Sequence[int]) -> int:
        """Tokens of a prompt that are cached; then all its full blocks are."""
        chain, key = [], 0
        for start in range(0, len(tokens) - self.block + 1, self.block):
            key = hash((key, tuple(tokens[start : start + self.block])))
            chain.append(key)
        readable = chain[: (len(tokens) - 1) // self.block]
        found = next((i for i, key in enumerate(readable) if key not in self.blocks), len(readable))
        for key in reversed(chain):  # the end of a prompt goes before its beginning
            self.blocks[key] = None
            self.blocks.move_to_end(key)
        while len(self.blocks) * self.block > self.capacity_tokens:
            self.blocks.popitem(last=False)
        return found * self.block


class ById(PrefixOrder):
    """A canonical order: by label."""

    labels: Sequence[str] = ()

    def arrange(self, replica: str, namespace: str, blocks: Sequence[Block]) -> Arrangement:
        order = sorted(range(len(blocks)), key=lambda i: blocks[i].key)
        return Arrangement(order=tuple(order), predicted_tokens=0)

    def answered(self, arrangement: Arrangement, *, cached_tokens: int, fixed_tokens: int) -> None:
        pass


class ByPopularity(ById):
    """The passages that were asked for most stand first."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def arrange(self, replica: str, namespace: str, blocks: Sequence[Block]) -> Arrangement:
        order = sorted(range(len(blocks)), key=lambda i: (-self.asked[blocks[i].key], blocks[i].key))
        self.asked.update(block.key for block in blocks)
        return Arrangement(order=tuple(order), predicted_tokens=0)


ORDERS: Mapping[str, Callable[[], PrefixOrder | None]] = {
    "retrieval": lambda: None,
    "id": ById,
    "popularity": ByPopularity,
    "ours": PrefixOrder,
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A question with its hits. conversation: the one that it is a turn of; answer: what was answered to it."""

    question: str
    hits: Sequence[Hit]
    conversation: str = ""
    answer: str = ""


def tokens_of(messages: Sequence[Message]) -> list[int]:
    text = "".join(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages) + "<|im_start|>assistant\n"
    return qwen_encoding().encode(text, allowed_special="all")


def prompts(
    kb: KnowledgeBase, trace: Sequence[Request], ordering: PrefixOrder | None, *, kept: bool
) -> Iterator[Prompt]:
    """The prompts of a trace. kept: earlier turns stand as they were sent."""
    talks: dict[str, list[Turn]] = {}
    for request in trace:
        turns = talks.get(request.conversation, []) if kept else []
        question = understand(request.question)
        asked = Asked(
            question=question,
            text=request.question,
            passages=passages_beside(turns, request.hits),
            turns=turns,
            conversation=request.conversation if kept else "",
            scale=kb.services.collection.current().scale(question.language),
        )
        settings = AnswerSettings(counter=kb.services.counter(), ordering=ordering)
        shown, _ = weighed(asked, settings.threshold)
        prompt = prompt_for(asked, shown, settings, "replica")
        yield prompt
        if kept:
            sent = prompt.messages[-1].content
            turn = Turn(question=request.question, asked=sent, answer=request.answer, passages=prompt.passages)
            talks[request.conversation] = [*prompt.turns, turn]


def replay(
    kb: KnowledgeBase, trace: Sequence[Request], order: str, *, kept: bool = False, name: str
) -> dict[str, float]:
    """Share of prompt tokens that the cache holds, and the time of ordering, for one order of the passages."""
    ordering, cache = ORDERS[order](), Cache()
    timed = _Timed(ordering) if ordering is not None else None
    asked = cached = 0
    sent = []
    for prompt in prompts(kb, trace, timed, kept=kept):
        tokens = tokens_of(prompt.messages)
        if len(tokens) != prompt.tokens:
            raise SystemExit(f"A prompt was counted as {prompt.tokens} tokens and has {len(tokens)}.")
        hit = cache.ask(tokens)
        if ordering is not None and prompt.arrangement is not None:
            ordering.answered(prompt.arrangement, cached_tokens=hit, fixed_tokens=prompt.fixed_tokens)
        asked, cached = asked + len(tokens), cached + hit
        sent.append(prompt)
    if "TRACES" in os.environ:
        write(Path(os.environ["TRACES"]) / f"{name}-{order}{'-kept' if kept else ''}.jsonl", sent)
    figures = {"hit_ratio": round(cached / asked, 4), "tokens": round(asked / len(trace))}
    if timed is not None and timed.times:
        figures["order_ms_p99"] = round(1000 * percentile(timed.times, 0.99), 3)
    return figures


def write(path: Path, sent: Sequence[Prompt]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    chats = [[{"role": m.role, "content": m.content} for m in prompt.messages] for prompt in sent]
    path.write_text("".join(json.dumps(chat, ensure_ascii=False) + "\n" for chat in chats), encoding="utf-8")


class _Timed(PrefixOrder):
    """An ordering with the time that each of its calls takes."""

    def __init__(self, ordering: PrefixOrder) -> None:
        super().__init__()
        self._ordering = ordering
        self.times: list[float] = []

    def arrange(self, replica: str, namespace: str, blocks: Sequence[Block]) -> Arrangement:
        started = time.perf_counter()
        found = self._ordering.arrange(replica, namespace, blocks)
        self.times.append(time.perf_counter() - started)
        return found


def sessions(kb: KnowledgeBase) -> list[Request]:
    """Questions about the shop's artists and albums, in sessions of a few about one artist; none is asked twice.

    A question that is asked again finds its whole prompt in any order, and would hide what the order does.
    """
    rng = random.Random(0)
    with sqlite3.connect(SAMPLE / "chinook.sqlite") as shop:
        rows = shop.execute(
            "SELECT a.Name, b.Title FROM Artist a JOIN Album b USING (ArtistId) ORDER BY 1, 2"
        ).fetchall()
    forms = (
        "Which albums did {artist} release?",
        "What is there by {artist}?",
        "Which tracks are on {album}?",
        "Who recorded {album}?",
        "Is {album} by {artist}?",
        "{artist} 有哪些专辑？",
    )
    by_artist: dict[str, list[str]] = {}
    for artist, album in rows:
        known = by_artist.setdefault(artist, [])
        known += [text for form in forms if (text := form.format(artist=artist, album=album)) not in known]
    waiting = [rng.sample(texts, len(texts)) for texts in by_artist.values()]
    found: list[Request] = []
    while waiting and len(found) < REQUESTS:
        session = rng.choices(waiting, [len(texts) for texts in waiting])[0]
        for _ in range(min(rng.randint(1, 4), len(session))):
            text = session.pop()
            found.append(Request(question=text, hits=kb.retrieve(text, k=40)))
        waiting = [texts for texts in waiting if texts]
    return found[:REQUESTS]


def of_folder(kb: KnowledgeBase, folder: Path) -> list[Request]:
    """The questions of a BEIR folder: conversations as they stand, single questions shuffled."""
    cases, corpus = read_beir(folder)
    rows = {
        row["id"]: row for row in map(json.loads, (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines())
    }
    talks = any(row.get("history") for row in rows.values())
    wanted = list(cases)
    if not talks:
        random.Random(0).shuffle(wanted)
    assert corpus is not None
    found = []
    with corpus_binding(kb.services, corpus) as binding:
        for case in wanted[:REQUESTS]:
            row = rows[case.id]
            before = [t["text"] for t in row.get("history", ()) if t["role"] == "user"]
            turns = [Turn(question=text, asked=text, answer="") for text in before[-1:]]
            hits = hits_of(kb, joined(row["text"], turns), limit=40, binding=binding)
            talk = case.id.rpartition("#")[0] or case.id.rpartition("<::>")[0]
            answer = str((row.get("answers") or [""])[0])
            found.append(Request(question=row["text"], hits=hits, conversation=talk, answer=answer))
    return found


def paraphrases(file: Path, database: Path) -> list[Request]:
    """Groups of questions that mean the same, shuffled, over the rows of a database."""
    groups = [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().splitlines()]
    texts = [text for group in groups for text in group["texts"]]
    random.Random(0).shuffle(texts)
    with over_database(database) as kb:
        return [Request(question=text, hits=kb.retrieve(text, k=40)) for text in texts[:REQUESTS]]


def traces(kb: KnowledgeBase) -> Iterator[tuple[str, list[Request]]]:
    if "DATA" not in os.environ:
        yield "record shop, sessions", sessions(kb)
        return
    data = Path(os.environ["DATA"])
    names = ["multi_turn/mtrag_human_subset", "multi_turn/kdconv_travel"]
    for name in names + ([] if QUICK else ["en/squad2_devhalf", "zh/cmrc2018_dev"]):
        yield name, of_folder(kb, data / name)
    stream = data / "streams" / "paraphrase_geography.jsonl.gz"
    yield "paraphrases of geography", paraphrases(stream, data / "sql" / "geography" / "geography.sqlite")


def main() -> None:
    best: dict[str, Any] = {}
    with sample() as kb:
        if "DATA" in os.environ:
            kb.services.collection.current().index.prepare()
        else:
            kb.ingest()
        for name, trace in traces(kb):
            file = re.sub(r"\W+", "-", name)
            found = {order: replay(kb, trace, order, name=file) for order in ORDERS}
            if any(request.conversation for request in trace):
                found["ours, conversations kept"] = replay(kb, trace, "ours", kept=True, name=file)
            best[name] = found
            print(json.dumps({"trace": name, "requests": len(trace), **found}), flush=True)
    mean = {
        order: sum(found[order]["hit_ratio"] for found in best.values()) / len(best) for order in ("ours", "retrieval")
    }
    finish(
        hit_ratio=round(mean["ours"], 4),
        hit_ratio_retrieval_order=round(mean["retrieval"], 4),
        order_ms_p99=max(found["ours"]["order_ms_p99"] for found in best.values()),
        traces=best,
    )


if __name__ == "__main__":
    main()
