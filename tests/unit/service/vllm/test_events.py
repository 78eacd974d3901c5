"""Server-sent events, from bytes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.vllm.events import ServerSentEvent, TooLong, server_sent_events


def events(sent: bytes, *, size: int = 1 << 20, most: int = 1000) -> list[ServerSentEvent]:
    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(sent), size):
            yield sent[start : start + size]

    async def read() -> list[ServerSentEvent]:
        return [event async for event in server_sent_events(parts(), most_bytes=most)]

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("sent", "data"),
    [
        (b"data: a\n\ndata:b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [b"a", b"b", b"c"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": comment\nid: 1\nretry: 2\ndata\n\ndata:  a\n\n", [b"", b" a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        ("data: a\u2028b\u0085\x0b\x0c\x1c\n\n".encode(), ["a\u2028b\u0085\x0b\x0c\x1c".encode()]),
        (b"data: a", [b"a"]),
        (b"event: x\n\ndata: a\n\n", [b"a"]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_are_read_as_the_standard_says(sent: bytes, data: list[bytes], size: int) -> None:
    assert [event.data for event in events(sent, size=size)] == data


@given(st.lists(st.binary(max_size=30).filter(lambda b: not set(b) & set(b"\r\n")), max_size=5), st.integers(1, 9))
def test_events_are_the_same_in_any_pieces(data: list[bytes], size: int) -> None:
    sent = b"".join(b"data: " + each + b"\r\n\r\n" for each in data)
    assert [event.data for event in events(sent, size=size)] == data


@pytest.mark.parametrize("sent", [b"data: " + b"x" * 2000, b": " + b"x" * 2000, b"data: xxxxxxxxx\n" * 200])
def test_what_is_too_long_is_not_read(sent: bytes) -> None:
    with pytest.raises(TooLong):
        events(sent, size=100)


def test_an_event_has_its_name() -> None:
    assert events(b"event: error\ndata: a\n\ndata: b\n\n") == [(b"error", b"a"), (b"", b"b")]


def test_a_line_of_the_longest_length_is_read() -> None:
    assert events(b"data: " + b"x" * 900, size=100) == [(b"", b"x" * 900)]
