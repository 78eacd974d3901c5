"""OpenAI's chat completions over a knowledge base, so that any OpenAI client can ask it.

The last message is the question, earlier ones are the history. System messages are not passed on: the instructions are
Citewell's own (docs/openai.md). Citations come as `url_citation` annotations, and whole under `citewell`.
"""

import json
import re
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from rag.answer.answering import Event, Finished, Restarted, TextDelta
from rag.deadline import Deadline, until
from rag.errors import QuestionError
from rag.ports import Scope
from rag.prompt.profiles import PROFILES
from rag.types import Answer, Message
from service.asking.asker import Ask, sampling_of
from service.http.api.openai_forms import ChatBody
from service.http.openai_errors import ModelNotFound, error
from service.schemas import JsonSchemaBody, answer_out
from service.settings.sections import LlmSettings

_MOST_TOKENS = 8192
NAME = "citewell"
_LABEL = re.compile(r"\[((?:[a-z]\d){2,8})\]")


def models(profiles: Sequence[str]) -> dict[str, Any]:
    """The names under which the knowledge base is asked: one for each profile."""
    names = [NAME, *(f"{NAME}-{profile}" for profile in profiles)]
    return {"object": "list", "data": [_model(name) for name in names]}


def model(name: str, profiles: Sequence[str]) -> dict[str, Any]:
    """One of the models. Raises ModelNotFound."""
    profile = profile_named(name)
    if profile and profile not in profiles:
        raise ModelNotFound(f"There is no model {name!r} for this key.")
    return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": NAME}


def question_of(body: ChatBody, llm: LlmSettings, *, scope: Scope, profile: str, deadline: Deadline) -> Ask:
    """What a chat asks. Raises QuestionError where its last message is not a user's."""
    said = [
        Message(role=message.role, content=message.text)
        for message in body.messages
        if message.role == "user" or (message.role == "assistant" and message.text)
    ]
    if not said or said[-1].role != "user" or body.messages[-1].role not in ("user", "system", "developer"):
        raise QuestionError("The last message must be the user's question.")
    form = body.response_format
    tokens = body.max_completion_tokens or body.max_tokens
    sampling = sampling_of(
        llm,
        max_tokens=min(tokens, _MOST_TOKENS, PROFILES[profile or llm.profile] // 2) if tokens else None,
        temperature=body.temperature,
        top_p=body.top_p,
        json_schema=form.schema_ if isinstance(form, JsonSchemaBody) else None,
    )
    return Ask(
        question=said[-1].content,
        history=[] if body.citewell.conversation else said[:-1],
        conversation=body.citewell.conversation,
        scope=scope,
        profile=profile,
        sampling=replace(sampling, stop=body.stops, options=body.options),
        deadline=deadline,
    )


def profile_named(model: str) -> str:
    """The profile that a model's name asks for; empty for the configured one. Raises ModelNotFound."""
    profile = model.removeprefix(f"{NAME}-")
    if model == NAME:
        return ""
    if model == profile or profile not in PROFILES:
        names = ", ".join([NAME, *(f"{NAME}-{each}" for each in PROFILES)])
        raise ModelNotFound(f"There is no model {model!r}. Models: {names}.")
    return profile


def completion(answer: Answer, body: ChatBody) -> dict[str, Any]:
    """A whole answer as a chat completion."""
    message = {"role": "assistant", "content": answer.text, "refusal": None, **_extras(answer)}
    choice = {"index": 0, "message": message, "finish_reason": _reason(answer), "logprobs": None}
    return _envelope(body, "chat.completion") | {
        "choices": [choice],
        "usage": _usage(answer),
        "citewell": answer_out(answer).model_dump(),
    }


async def chunks(found: AsyncGenerator[Event, None], body: ChatBody, deadline: Deadline) -> AsyncGenerator[bytes, None]:
    """A streamed answer. Raises TimeoutError at the deadline; one that the engine cuts ends with an error."""
    envelope = _envelope(body, "chat.completion.chunk")
    with_usage = body.stream_options is not None and body.stream_options.include_usage

    def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        usage = {"usage": None} if with_usage else {}
        return data(envelope | {"choices": [choice]} | usage | more)

    yield chunk({"role": "assistant", "content": ""})
    async with aclosing(until(found, lambda: deadline.at)) as timely:
        async for event in timely:
            match event:
                case TextDelta():
                    yield chunk({"content": event.text})
                case Restarted():
                    yield data(error(f"The answer was cut off. {event.reason}", kind="server_error"))
                    return
                case Finished(answer=answer):
                    yield chunk(_extras(answer), _reason(answer), citewell=answer_out(answer).model_dump())
                    if with_usage:
                        yield data(envelope | {"choices": [], "usage": _usage(answer)})
                    yield b"data: [DONE]\n\n"


def _envelope(body: ChatBody, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": body.model}


def _extras(answer: Answer) -> dict[str, Any]:
    """A citation for each label in the text, where it stands."""
    by_label = {citation.label: citation for citation in reversed(answer.citations)}
    places = [match for match in _LABEL.finditer(answer.text) if match.group(1) in by_label]
    found = [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": match.start(),
                "end_index": match.end(),
                "title": by_label[match.group(1)].title,
                "url": by_label[match.group(1)].uri,
            },
        }
        for match in places
    ]
    return {"annotations": found}


def _reason(answer: Answer) -> str:
    return "length" if answer.cut else "stop"


def _usage(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def data(value: dict[str, Any]) -> bytes:
    """A server-sent event without a name, as OpenAI sends them."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
