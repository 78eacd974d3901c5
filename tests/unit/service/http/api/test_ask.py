"""/v1/ask and /v1/retrieve: what is asked, within which bounds, and how the answer comes."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from rag.errors import GeneratorUnavailable
from rag.fakes import ScriptedGenerator
from rag.ports import Identity
from rag.types import Delta, Message, Route, Sampling
from service.http.access.admission import Admission
from tests.unit.service.conftest import STORES, services_of, settings_of
from tests.unit.service.http.conftest import Client, Serve, events_of

QUESTION = "When does the Edmonton store open?"
SAID = "It opens at eleven."
TWO = {
    "docs": {"kind": "files", "paths": ["docs"]},
    "shop": {"kind": "files", "paths": ["shop"]},
    "theirs": {"kind": "files", "paths": ["x"], "tenant": "umbrella"},
}


def asked(client: Client, *, key: str = "", path: str = "/v1/ask", **body: Any) -> Any:
    return client("POST", path, key=key, json={"question": QUESTION, **body})


def test_a_question_is_answered_with_what_it_stands_on(client: Client) -> None:
    answer = asked(client).json()
    assert answer["text"].startswith(STORES[0])
    assert [citation["quote"] for citation in answer["citations"]] == [STORES[0]]


def test_an_answer_can_be_streamed_as_events(serve: Serve) -> None:
    client = serve(services_of(generator=ScriptedGenerator("It opens ", "at eleven.")))
    response = asked(client, stream=True)
    events = events_of(response.text)
    assert list(dict.fromkeys(name for name, _ in events)) == ["passages", "delta", "citations", "usage", "done"]
    assert events[-1][1]["text"].startswith(SAID)
    assert response.headers["cache-control"] == "no-store"


def test_a_stream_whose_model_fails_says_that_its_text_is_void(serve: Serve) -> None:
    failing = ScriptedGenerator("It opens at eleven. And ", GeneratorUnavailable("http://10.0.0.7", public="away"))
    key_client = serve(services_of(generator=failing))
    key = key_client.key()
    events = events_of(asked(key_client, key=key, stream=True).text)
    assert events[-1][0] == "error"
    assert events[-1][1]["status"] == 503
    assert "away" in events[-1][1]["detail"]
    assert "10.0.0.7" not in str(events)


def test_what_is_wrong_after_a_stream_has_begun_is_its_last_event(serve: Serve) -> None:
    services = services_of(generator=ScriptedGenerator(SAID, window_tokens=9000))
    events = events_of(asked(serve(services), stream=True, profile="book").text)
    assert [(name, data["status"]) for name, data in events] == [("error", 422)]


def test_a_bug_in_a_stream_is_told_without_its_words(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    services = services_of(generator=ScriptedGenerator(ZeroDivisionError("/secret")))
    events = events_of(asked(serve(services), stream=True).text)
    assert (events[-1][0], events[-1][1]["status"]) == ("error", 500)
    assert "secret" not in str(events)
    assert "an answer's stream failed" in caplog.text


class Silent(ScriptedGenerator):
    """closed: whether its stream was ended."""

    closed = False
    begun: asyncio.Event

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, route: Route
    ) -> AsyncGenerator[Delta, None]:
        self.begun.set()
        try:
            await asyncio.Event().wait()
            yield Delta()
        finally:
            self.closed = True


@pytest.mark.parametrize("stream", ["false", "true"])
def test_an_answer_whose_client_goes_is_given_up(serve: Serve, stream: str) -> None:
    generator = Silent()
    client = serve(services_of(generator=generator))
    body = f'{{"question": "{QUESTION}", "stream": {stream}}}'.encode()
    headers = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
    scope = {
        "type": "http", "method": "POST", "path": "/v1/ask", "query_string": b"", "http_version": "1.1",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip

    async def main() -> None:
        generator.begun = asyncio.Event()
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await generator.begun.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message.get("status", 200))

        await client.app(scope, receive, send)

    sent: list[int] = []
    asyncio.run(main())
    assert generator.closed
    assert set(sent) <= {200}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"question": 200 * "ä"}, 413),
        ({"history": [{"role": "user", "content": 60 * "ä"}]}, 413),
        ({"filter": {"tags": 200 * "x"}}, 413),
        ({"question": " "}, 422),
        ({"unknown": 1}, 422),
        ({"profile": "huge"}, 422),
        ({"filter": {"nonsense": 1}}, 422),
        ({"sources": ["blog"]}, 422),
        ({"max_tokens": 1}, 422),
    ],
)
def test_what_is_too_long_or_wrong_is_refused(serve: Serve, body: dict[str, Any], status: int) -> None:
    limits = {"question_bytes": 300, "history_bytes": 100, "filter_bytes": 100}
    client = serve(services_of(settings_of(limits=limits)))
    for stream in (False, True):
        response = asked(client, stream=stream, **body)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"


def test_sizes_are_bytes_and_exactly_so_many_are_taken(serve: Serve) -> None:
    limits = {"question_bytes": 100, "history_bytes": 10}
    client = serve(services_of(settings_of(limits=limits)))
    history = [{"role": "user", "content": 5 * "ä"}]
    assert asked(client, question=50 * "ä", history=history).status_code == 200
    assert asked(client, question=50 * "ä" + "x").status_code == 413
    assert asked(client, history=[*history, {"role": "assistant", "content": "x"}]).status_code == 413


def test_what_is_asked_for_reaches_the_model(serve: Serve) -> None:
    generator = ScriptedGenerator('{"opens": "eleven"}')
    schema = {"type": "object"}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    answer = asked(
        serve(services_of(generator=generator)), max_tokens=50, temperature=0.3, top_p=0.4, response_format=form
    ).json()
    assert answer["value"] == {"opens": "eleven"}
    assert generator.asked[0].sampling == Sampling(max_tokens=50, temperature=0.3, top_p=0.4, json_schema=schema)


def test_a_full_engine_refuses_a_question_before_it_is_searched_for(serve: Serve) -> None:
    services = services_of(generator=ScriptedGenerator(SAID))
    client = serve(services)
    client.parts.admission = Admission([], most_waiting=0, metrics=client.parts.metrics)
    for stream in (False, True):
        response = asked(client, stream=stream)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert not services.collection._bound.is_made


def test_how_long_answers_take_is_noted_for_the_queue_but_not_of_quotes(serve: Serve) -> None:
    for generator, noted in ((ScriptedGenerator(SAID), True), (None, False)):
        client = serve(services_of(generator=generator))
        asked(client)
        assert (client.parts.admission._answer_s > 0) is noted


def test_a_degraded_answer_is_logged_with_its_reason_and_told_without(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(services_of(generator=ScriptedGenerator(GeneratorUnavailable("http://10.0.0.7 refused"))))
    answer = asked(client, key=client.key()).json()
    assert answer["degraded"]
    assert "10.0.0.7" not in str(answer)
    assert "http://10.0.0.7 refused" in caplog.text


@pytest.mark.parametrize("logged", [False, True])
def test_questions_are_logged_where_that_is_configured(
    serve: Serve, caplog: pytest.LogCaptureFixture, logged: bool
) -> None:
    caplog.set_level("INFO")
    asked(serve(services_of(settings_of(telemetry={"log_questions": logged}))))
    assert (QUESTION in caplog.text) is logged


def found(client: Client, key: str, **body: Any) -> tuple[int, list[str]]:
    response = asked(client, key=key, path="/v1/retrieve", **body)
    return response.status_code, [hit["source"] for hit in response.json().get("hits", [])]


def test_a_key_for_some_sources_finds_nothing_in_others(serve: Serve) -> None:
    client = serve(services_of(settings_of(sources=TWO)))
    assert found(client, client.key(sources=("docs",))) == (200, ["docs", "docs"])
    assert found(client, client.key(sources=("shop",))) == (200, [])
    assert found(client, client.key(sources=("shop",)), sources=["docs"])[0] == 422
    assert found(client, client.key(sources=("theirs",))) == (200, [])


def test_a_source_of_another_tenant_is_told_as_one_that_is_not_there(serve: Serve) -> None:
    client = serve(services_of(settings_of(sources=TWO)))
    response = asked(client, key=client.key(), path="/v1/retrieve", sources=["theirs"])
    assert (response.status_code, "docs, shop" in response.json()["detail"]) == (422, True)


def test_so_many_hits_are_given_and_their_place_is_for_operators(client: Client) -> None:
    for key, uri in ((client.key("admin"), "file:///0.md"), (client.key("ask"), "citewell:docs/0.md")):
        hits = asked(client, key=key, path="/v1/retrieve", k=1).json()["hits"]
        assert [hit["uri"] for hit in hits] == [uri]


def test_a_key_has_its_profiles_and_the_first_of_them_by_default(serve: Serve) -> None:
    generator = ScriptedGenerator(SAID)
    client = serve(services_of(generator=generator))
    key = client.key(profiles=("document", "log"))
    assert asked(client, key=key, profile="log").status_code == 200
    assert asked(client, key=key, profile="chat").status_code == 403
    assert asked(client, key=key).status_code == 200
    assert asked(client, key=client.key(profiles=("chat",))).status_code == 200


def test_a_conversation_is_kept_and_forgotten_for_its_own_key_only(client: Client) -> None:
    mine, other = client.key(), client.key()
    for question in (QUESTION, "What does the Calgary store sell?"):
        asked(client, key=mine, question=question, conversation="c")
    owner = client.services.keys().find(mine)
    assert owner is not None

    def kept() -> int:
        return len(client.services.conversations().turns("c", Identity(subject=owner.id)))

    assert client("DELETE", "/v1/conversations/c", key=other).status_code == 204
    assert kept() == 2
    client("DELETE", "/v1/conversations/c?last=1", key=mine)
    assert kept() == 1
    client("DELETE", "/v1/conversations/c", key=mine)
    assert kept() == 0
