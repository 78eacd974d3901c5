"""What an engine may send: forms that are odd and right, forms that are wrong, and floods."""

import gzip
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tests.support.llm.chat_stream import USAGE, chunk, event
from tests.support.llm.raw_engine import HEAD, Answer, whole

TEXT = "The Edmonton store opens at eleven. Parking is free."
DONE = b"data: [DONE]\n\n"
Ending = Literal["whole", "degraded", "either"]
_PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """ends: how the answer to it has to end; `either` where both are right, and nothing else."""

    name: str
    answer: Answer
    ends: Ending = "either"


def _odd_but_right() -> Iterator[tuple[str, Answer]]:
    """Forms that the standard allows or servers really send."""
    halves = [chunk(TEXT[:20]), chunk(TEXT[20:]), chunk("", finish="stop")]
    lines = [json.dumps(each).encode() for each in halves]
    usage = {"choices": [], "usage": USAGE}
    yield "no space after data:", [HEAD, *(b"data:" + line + b"\n\n" for line in lines), DONE]
    yield "CRLF", [HEAD, *(b"data: " + line + b"\r\n\r\n" for line in lines), DONE]
    yield "CR", [HEAD, *(b"data: " + line + b"\r\r" for line in lines), b"data: [DONE]\r\r"]
    yield (
        "CRLF in two pieces",
        [HEAD, *itertools.chain(*((b"data: " + line + b"\r", b"\n\r", b"\n") for line in lines))],
    )
    yield "one byte at a time", [HEAD, *(bytes([b]) for line in lines for b in b"data: " + line + b"\n\n")]
    yield (
        "comments",
        [HEAD, b": ping\n\n", *itertools.chain(*((b"data: " + line + b"\n\n", b":\n\n") for line in lines))],
    )
    yield "event, id and retry", [HEAD, *(b"event: chunk\nid: 1\nretry: 10\ndata: " + line + b"\n\n" for line in lines)]
    yield "byte order mark", [HEAD, b"\xef\xbb\xbf", *map(event, halves)]
    pretty = [json.dumps(each, indent=1).replace("\n", "\ndata: ").encode() for each in halves]
    yield "data in several lines", [HEAD, *(b"data: " + each + b"\n\n" for each in pretty), DONE]
    yield "single line feeds between events", [HEAD, *(b"data: " + line + b"\n" for line in lines), b"data: [DONE]\n"]
    yield (
        "no empty line at the end",
        [HEAD, *(b"data: " + line + b"\n\n" for line in lines[:-1]), b"data: " + lines[-1]],
    )
    yield "no [DONE]", [HEAD, *map(event, halves)]
    yield "text after [DONE]", [HEAD, *map(event, halves), DONE, b"bye"]
    for name, last in {
        "last chunk without delta": {"choices": [{"index": 0, "finish_reason": "stop"}]},
        "delta null": {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]},
        "error null": {"error": None, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        "index missing": {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        "another choice beside": {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}, {"index": 1, "delta": {"content": "x"}}]},
        "null choice beside": {"choices": [None, {"index": 0, "delta": {}, "finish_reason": "stop"}]},
        "tool_calls null": {"choices": [{"index": 0, "delta": {"tool_calls": None, "refusal": None}, "finish_reason": "stop"}]},
        "STOP": {"choices": [{"index": 0, "delta": {}, "finish_reason": "STOP"}]},
        "eos_token": {"choices": [{"index": 0, "delta": {}, "finish_reason": "eos_token"}]},
        "length": {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
        "usage null": {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None},
    }.items():  # fmt: skip
        yield name, [HEAD, *map(event, halves[:2]), event(last), DONE]
    parts = [{"type": "text", "text": TEXT}]
    yield "content in parts", [HEAD, event(chunk(parts)), event(chunk("", finish="stop"))]
    yield "finish_reason empty", [HEAD, event(chunk(TEXT, finish="")), event(chunk("", finish="stop"))]
    yield (
        "message in place of delta",
        [HEAD, event({"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}]})],
    )
    choice = {"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}
    yield "not streamed", [_PLAIN, json.dumps({"choices": [choice], "usage": USAGE}).encode()]
    yield "U+2028, U+2029, U+0085 in the text", whole_raw(TEXT.replace(". ", ".\u2028\u2029\u0085"))
    yield (
        "a character in two halves",
        [HEAD, event(chunk(TEXT + " \ud83d")), event(chunk("\ude00")), event(chunk("", finish="stop"))],
    )
    yield "half a character", [HEAD, event(chunk(TEXT + " \ud83d")), event(chunk("", finish="stop"))]
    yield "NUL in the text", [HEAD, event(chunk(TEXT + "\0")), event(chunk("", finish="stop"))]
    for opener, closer in {
        "<think>": "</think>",
        "<thinking>": "</thinking>",
        "[THINK]": "[/THINK]",
        "◁think▷": "◁/think▷",
    }.items():
        thought = f"{opener}The store may open at nine.{closer}\n\n{TEXT}"
        yield f"reasoning in {opener}", whole(thought)
        yield (
            f"reasoning in {opener}, a sign at a time",
            [HEAD, *(event(chunk(sign)) for sign in thought), event(chunk("", finish="stop"))],
        )
    for name in ("reasoning_content", "reasoning"):
        choice = {"index": 0, "delta": {name: "The store may open at nine.", "content": None}}
        yield f"reasoning in {name}", [HEAD, event({"choices": [choice]}), *map(event, halves)]
    counts: tuple[object, ...] = (None, "abc", 1.5, -3, 2**70, [], {}, True)
    for value in counts:
        odd = {
            "prompt_tokens": value, "completion_tokens": value, "prompt_tokens_details": {"cached_tokens": value},
        }  # fmt: skip
        yield f"usage of {value!r}", [HEAD, *map(event, halves), event(usage | {"usage": odd})]
    for value in ("abc", 7, [1], {"prompt_tokens_details": "x"}):
        yield f"usage {value!r}", [HEAD, *map(event, halves), event(usage | {"usage": value})]
    yield "a thousand empty chunks", [HEAD, *(event(chunk("")) for _ in range(1000)), *map(event, halves)]


def whole_raw(text: str) -> Answer:
    """With the signs as they are, not escaped."""
    body = json.dumps(chunk(text), ensure_ascii=False).encode()
    return [HEAD, b"data: " + body + b"\n\n", event(chunk("", finish="stop")), DONE]


def _wrong() -> Iterator[tuple[str, Answer]]:
    """What no answer can be made of."""
    begun = [HEAD, event(chunk(TEXT[:20]))]
    yield "cut", begun
    yield "cut in an event", [*begun, b'data: {"choices": [{"in']
    yield "nothing", [b""]
    yield "no HTTP", [b"SSH-2.0-OpenSSH_9.2\r\n"]
    yield "empty stream", [HEAD]
    yield "only [DONE]", [HEAD, DONE]
    yield "HTML", [b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>Sign in</html>"]
    yield "reasoning that never ends", whole("<think>The store may open at nine, or at ten.")
    yield "reasoning before a mark alone", whole(f"The store may open at nine.\n</think>\n\n{TEXT}")
    yield (
        "reasoning alone",
        [HEAD, event({"choices": [{"delta": {"reasoning_content": "Hm."}, "finish_reason": "stop"}]})],
    )
    yield "blanks", whole(" \n\t ")
    for reason in ("content_filter", "abort", "error", "cancelled", "no such reason", 7, ["stop"], {"a": 1}, True):
        yield f"finish_reason {reason!r}", [*begun, event(chunk("", finish=reason)), DONE]
    errors: tuple[object, ...] = (
        "out of memory",
        {"message": "oom", "code": 500},
        {"message": None},
        {},
        [],
        7,
        {"message": {"a": [1]}},
    )
    for error in errors:
        yield f"error {error!r}", [*begun, event({"error": error}), DONE]
        yield f"error {error!r} first", [HEAD, event({"error": error}), DONE]
    yield "event: error", [*begun, b'event: error\ndata: {"message": "oom"}\n\n']
    for status in (204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 408, 413, 422, 500, 501, 502, 504):
        for said in (b"", b'{"error": {"message": "no"}}', b'{"detail": "Not Found"}', b"\xff\xfe", b"[" * 5000):
            head = f"HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: {0 if status == 204 else len(said)}\r\nconnection: close\r\n\r\n"
            yield f"status {status} {said[:12]!r}", [head.encode(), b"" if status == 204 else said]
    packed = gzip.compress(b"".join(whole(TEXT)[1:]))
    zipped = HEAD.replace(b"connection", b"content-encoding: gzip\r\nconnection")
    yield "packed, though not asked for", [zipped, packed]
    yield "a bomb", [zipped, gzip.compress(b"data: " + b" " * 50_000_000)]
    yield "a line of 60 MB", [HEAD, b"data: ", *([b"x" * 1_000_000] * 60)]
    yield "an event of many lines", [HEAD, *([b"data: " + b"x" * 1000 + b"\n"] * 2000)]
    yield "comments of 100 MB", [HEAD, *([b": " + b"x" * 1_000_000 + b"\n"] * 100)]
    yield "a head of 1 MB", [b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 1_000_000 + b"\r\n\r\n"]
    yield "two thousand levels", [*begun, b"data: " + b"[" * 2000 + b"]" * 2000 + b"\n\n", DONE]
    yield (
        "two thousand levels of objects",
        [*begun, b"data: " + b'{"choices":' * 2000 + b"1" + b"}" * 2000 + b"\n\n", DONE],
    )


def _floods() -> Iterator[tuple[str, Answer]]:
    yield "more text than max_tokens allows", [HEAD, *(event(chunk("The store opens. " * 60)) for _ in range(400))]
    yield "a run of dots", [HEAD, event(chunk("." * 20_000)), event(chunk("", finish="stop"))]
    yield "a run of blanks", [HEAD, event(chunk(" " * 20_000)), event(chunk("x", finish="stop"))]
    yield "blanks one by one", [HEAD, *(event(chunk(" ")) for _ in range(2000)), event(chunk("x", finish="stop"))]
    yield "brackets", [HEAD, event(chunk("[" * 10_000)), event(chunk("]" * 10_000, finish="stop"))]
    yield (
        "marks of reasoning",
        [HEAD, *(event(chunk("\n<think>a</think>")) for _ in range(500)), event(chunk(TEXT, finish="stop"))],
    )


_VALUES: tuple[Any, ...] = (
    None,
    0,
    -1,
    1.5,
    True,
    "",
    "x",
    "\ud800",
    [],
    [None],
    [[]],
    {},
    {"a": None},
    "x" * 100_000,
    10**400,
)


def mutated(rng: random.Random) -> Stream:
    """A right answer of which one place in one chunk holds something else, or is away."""
    parts: list[Any] = [
        chunk(""),
        chunk(TEXT[:20]),
        chunk(TEXT[20:]),
        chunk("", finish="stop"),
        {"choices": [], "usage": dict(USAGE)},
    ]
    part = rng.choice(parts)
    place, key = rng.choice(list(_places(part)))
    value = rng.choice([*_VALUES, ...])
    if value is ...:
        del place[key]
    else:
        place[key] = value
    shown = "away" if value is ... else repr(value)[:20]
    return Stream(name=f"{key} {shown}", answer=[HEAD, *map(event, parts), DONE])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


def streams(number: int) -> list[Stream]:
    """All of them by name, and so many mutated ones."""
    found = [Stream(name=name, answer=answer, ends="whole") for name, answer in _odd_but_right()]
    found += [Stream(name=name, answer=answer, ends="degraded") for name, answer in _wrong()]
    found += [Stream(name=name, answer=answer) for name, answer in _floods()]
    rng = random.Random(18)
    return found + [mutated(rng) for _ in range(number)]


def ending(status: int, text: str, *, streamed: bool) -> str:
    """How an answer of /v1/ask or of the chat completions ended: whole, degraded, or what is wrong with it."""
    if status != 200:
        return f"status {status}"
    if not streamed:
        answer = json.loads(text)
        answer = answer.get("citewell", answer)
        return "empty" if not answer["text"].strip() else "degraded" if answer["degraded"] else "whole"
    events = [part for part in text.split("\n\n") if part and part != "data: [DONE]"]
    last = json.loads(events[-1].partition("data: ")[2])
    if "error" in last or last.get("status") == 503:  # what had been streamed is void
        return "degraded"
    answer = last.get("citewell", last)
    return "degraded" if answer.get("degraded") else "whole" if answer.get("text") else f"ended in {events[-1][:80]}"
