"""Logs on stderr, as text or JSON, each line with the id of its request, and without what was asked."""

import contextvars
import logging
import re
import sys

from pythonjsonlogger.json import JsonFormatter

from rag.boundary.secrets import masked

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")


def configure_logs(form: str) -> None:
    """Send our log and uvicorn's to stderr. form: "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_with_request_id)
    if form == "json":
        names = {"levelname": "level", "name": "logger", "asctime": "time"}
        handler.setFormatter(JsonLines("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names))
    else:
        handler.setFormatter(TextLines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("citewell", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name != "uvicorn.error" else []
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(logging.INFO)


def _with_request_id(record: logging.LogRecord) -> bool:
    if request_id := REQUEST_ID.get():
        record.request_id = request_id
    return True


class JsonLines(JsonFormatter):
    """A record is one JSON object, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class TextLines(logging.Formatter):
    """A record is one line but for its traceback: no text from outside can look like another one. Without secrets."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        request_id = getattr(record, "request_id", "")
        line = _escaped(super().formatMessage(record))
        return f"{line} [{request_id}]" if request_id else line

    def format(self, record: logging.LogRecord) -> str:
        first, *others = masked(super().format(record)).split("\n")
        return "\n".join([first, *(f"  {_escaped(line)}" for line in others)])  # an exception's text may have its own


def _escaped(line: str) -> str:
    """A line without what a terminal or a reader of logs takes for the line's end, or for a command."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], line)
