"""Errors as OpenAI's clients know them, on the paths that are OpenAI's."""

from typing import Any

from rag.errors import QuestionError

_PATHS = tuple(
    f"/v1/{name}"
    for name in (
        "assistants audio batches chat completions embeddings files fine_tuning images models moderations responses "
        "threads uploads vector_stores"
    ).split()
)
NOT_HERE = "There is no {path} here. Of OpenAI's API, Citewell has POST /v1/chat/completions and GET /v1/models."


class ModelNotFound(QuestionError):
    """A model that is not served; OpenAI's clients know it as 404."""


def is_openai(path: str) -> bool:
    """Whether a path is OpenAI's, so that its callers know OpenAI's errors."""
    return path.startswith(_PATHS)


def error(message: str, *, kind: str, code: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
