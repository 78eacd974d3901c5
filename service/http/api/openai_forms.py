"""What OpenAI's clients send, as they send it.

A field is honoured, or taken where it asks for nothing, or taken and not used because it concerns OpenAI's own service;
what asks for something that there is not here is refused with a sentence. docs/openai.md lists them.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from service.schemas import FilterForm, JsonSchemaBody

_NOT_USED = frozenset(
    "audio cache_control chat_id chat_template_kwargs id include_reasoning metadata modalities parallel_tool_calls "
    "prediction prompt_cache_key prompt_cache_options prompt_cache_retention reasoning reasoning_effort "
    "safety_identifier service_tier session_id store thinking user verbosity".split()
)
_NO_LOGPROBS = "Citewell does not provide logprobs, because its text is not only the model's. Leave {name} out."
_NO_TOOLS = "Citewell does not call tools: it answers from its sources. Leave {name} out."
_NEUTRAL: Mapping[str, tuple[tuple[Any, ...], str]] = {  # what asks for nothing, and what is said to anything else
    "n": ((1,), "Citewell gives one answer; use n = 1."),
    "logprobs": ((False,), _NO_LOGPROBS.format(name="logprobs")),
    "top_logprobs": ((0,), _NO_LOGPROBS.format(name="top_logprobs")),
    "logit_bias": (({},), "Citewell does not support logit_bias. Leave it out."),
    "tools": (([],), _NO_TOOLS.format(name="tools")),
    "functions": (([],), _NO_TOOLS.format(name="functions")),
    "tool_choice": (("none", "auto"), _NO_TOOLS.format(name="tool_choice")),
    "function_call": (("none", "auto"), _NO_TOOLS.format(name="function_call")),
    "web_search_options": ((), "Citewell searches its own sources, not the web. Leave web_search_options out."),
}  # fmt: skip
_PARTS = "Citewell reads text. A part of the type {kind!r} cannot be read: ask in text, or add it to a source."


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(BaseModel):
    type: Literal["text", "input_text", "output_text", "refusal"]
    text: str = ""
    refusal: str = ""

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, part: Any) -> Any:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind not in ("text", "input_text", "output_text", "refusal"):
            raise ValueError(_PARTS.format(kind=kind[:40]))
        return part


class ChatMessage(BaseModel):
    """A message with whatever a client keeps beside it. Those of tools, and system ones, are not passed on."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[TextPart], Field(max_length=100)] | None = None

    @property
    def text(self) -> str:
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(part.text or part.refusal for part in self.content)

    @model_validator(mode="after")
    def _says_something(self) -> "ChatMessage":
        if self.role == "user" and self.content is None:
            raise ValueError("a user's message needs content")
        return self


class StreamOptions(BaseModel):
    include_usage: bool = False


class TextFormat(_Body):
    type: Literal["text"]


class Extension(_Body):
    """Citewell's own options; OpenAI's SDK sends them as `extra_body={"citewell": {…}}`."""

    sources: list[str] = Field([], max_length=100)
    filter: FilterForm = {}
    conversation: str = Field("", max_length=200)


Stop = Annotated[str, Field(min_length=1, max_length=200)]


class ChatBody(_Body):
    """Fields that OpenAI's clients send and that ask for nothing here are taken as well; see docs/openai.md."""

    model: str = Field(description="citewell, or citewell-document and so on for another profile")
    messages: list[ChatMessage] = Field(min_length=1, max_length=400)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, description="More than half of the profile's context counts as that")
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = Field(
        None, description="Texts that end an answer"
    )
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, gt=0, le=10, description="vLLM's")
    top_k: int | None = Field(None, ge=-1, le=1_000_000, description="vLLM's")
    min_p: float | None = Field(None, ge=0, le=1, description="vLLM's")
    response_format: TextFormat | JsonSchemaBody | None = None
    citewell: Extension = Extension()

    @model_validator(mode="before")
    @classmethod
    def _without_what_asks_for_nothing(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        kept = {}
        for name, value in body.items():
            neutral, refused = _NEUTRAL.get(name, ((), ""))
            if name in _NOT_USED or (name in _NEUTRAL and (value is None or value in neutral)):
                continue
            if name in _NEUTRAL:
                raise ValueError(refused)
            if name not in cls.model_fields:
                raise ValueError(f"The field {name[:40]!r} is not supported; docs/openai.md lists those that are.")
            kept[name] = value
        return kept

    @field_validator("citewell", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def options(self) -> dict[str, int | float]:
        """What the language model is asked beside the common; nothing that asks for nothing."""
        given: dict[str, tuple[int | float | None, int | float | None]] = {
            "seed": (self.seed, None),
            "frequency_penalty": (self.frequency_penalty, 0),
            "presence_penalty": (self.presence_penalty, 0),
            "repetition_penalty": (self.repetition_penalty, 1),
            "top_k": (self.top_k, -1),
            "min_p": (self.min_p, 0),
        }
        return {name: value for name, (value, neutral) in given.items() if value is not None and value != neutral}
