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
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rag.answering import Event, Finished, Restarted, TextDelta
from rag.deadline import Deadline, until
from rag.errors import QuestionError
from rag.ports import Scope
from rag.profiles import PROFILES
from rag.types import Answer, Message
from service.asking import Ask, sampling_of
from service.schemas import FilterForm, JsonSchemaBody, answer_out
from service.settings import LlmSettings

PATHS = ("/v1/chat/completions", "/v1/models")
NAME = "citewell"
_LABEL = re.compile(r"\[((?:[a-z]\d){2,8})\]")


class ModelNotFound(QuestionError):
    """A model that is not served; OpenAI's clients know it as 404."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(_Body):
    type: Literal["text"]
    text: str


class ChatMessage(_Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(max_length=100)]
    name: str | None = None
    refusal: str | None = None
    annotations: list[dict[str, Any]] | None = Field(None, description="As an answer of ours carries them; not used")

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(_Body):
    include_usage: bool = False


class TextFormat(_Body):
    type: Literal["text"]


class Extension(_Body):
    """Citewell's own options; OpenAI's SDK sends them as `extra_body={"citewell": {…}}`."""

    sources: list[str] = Field([], max_length=100)
    filter: FilterForm = {}
    conversation: str = Field("", max_length=200)


class ChatBody(_Body):
    model: str = Field(description="citewell, or citewell-document and so on for another profile")
    messages: list[ChatMessage] = Field(min_length=1, max_length=400)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=8192)
    max_completion_tokens: int | None = Field(None, ge=1, le=8192)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    response_format: TextFormat | JsonSchemaBody | None = None
    n: Literal[1] | None = None
    user: str | None = Field(None, description="Accepted, not used")
    metadata: dict[str, str] | None = Field(None, description="Accepted, not used")
    citewell: Extension = Extension()


def models(profiles: Sequence[str]) -> dict[str, Any]:
    """The names under which the knowledge base is asked: one for each profile."""
    names = [NAME, *(f"{NAME}-{profile}" for profile in profiles)]
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": NAME} for name in names],
    }


def question_of(body: ChatBody, llm: LlmSettings, *, scope: Scope, profile: str, deadline: Deadline) -> Ask:
    """What a chat asks. Raises QuestionError where its last message is not a user's."""
    said = [
        Message(role=message.role, content=message.text)
        for message in body.messages
        if message.role == "user" or message.role == "assistant"
    ]
    if not said or said[-1].role != "user":
        raise QuestionError("The last message must be the user's question.")
    form = body.response_format
    return Ask(
        question=said[-1].content,
        history=[] if body.citewell.conversation else said[:-1],
        conversation=body.citewell.conversation,
        scope=scope,
        profile=profile,
        sampling=sampling_of(
            llm,
            max_tokens=body.max_completion_tokens or body.max_tokens,
            temperature=body.temperature,
            top_p=body.top_p,
            json_schema=form.schema_ if isinstance(form, JsonSchemaBody) else None,
        ),
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


def error(message: str, *, kind: str, code: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


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
