"""Lines of the log: one for each record, and no secret in any."""

import json
import logging
from collections.abc import Iterator

import pytest

from rag.boundary.secrets import remember
from service.telemetry.logs import REQUEST_ID, JsonLines, TextLines, configure_logs

FORGED = "why?\n2026-11-30 10:00:00,000 INFO citewell: key 12 was revoked\r\x1b[2Jnext\u2028more"
NAMES = ("citewell", "uvicorn", "uvicorn.error")


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    trace = (type(error), error, None) if error is not None else None
    return logging.LogRecord("citewell", logging.INFO, "x.py", 1, message, arguments, trace)


def test_no_text_can_look_like_another_line_of_the_log() -> None:
    line = TextLines("%(asctime)s %(levelname)s %(name)s: %(message)s").format(record("question: %s", FORGED))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert r"\n2026-11-30" in line


def test_lines_of_a_traceback_are_indented() -> None:
    first, *others = TextLines("%(message)s").format(record("failed", error=ValueError(FORGED))).splitlines()
    assert first == "failed"
    assert others
    assert all(each.startswith("  ") for each in others)


def test_a_record_in_json_is_one_line_with_the_text_as_it_is() -> None:
    line = JsonLines("%(asctime)s %(message)s").format(record("question: %s", FORGED))
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == f"question: {FORGED}"


@pytest.mark.parametrize("lines", [TextLines("%(message)s"), JsonLines("%(message)s")], ids=["text", "json"])
def test_secrets_are_masked_in_the_log_and_in_its_tracebacks(lines: logging.Formatter) -> None:
    remember(["Lima-Papa-42"])
    told = lines.format(record("it said %s", "Lima-Papa-42", error=ValueError("with Lima-Papa-42")))
    assert "Lima" not in told
    assert "***" in told


@pytest.fixture
def loggers() -> Iterator[None]:
    """Our loggers are afterwards as they were before."""
    all_of_them = [logging.getLogger(name) for name in NAMES]
    before = [(each.handlers, each.propagate, each.level) for each in all_of_them]
    yield
    for each, (handlers, propagate, level) in zip(all_of_them, before, strict=True):
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


@pytest.mark.usefixtures("loggers")
def test_a_line_has_the_id_of_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text")
    token = REQUEST_ID.set("r-17")
    logging.getLogger("citewell").info("asked")
    REQUEST_ID.reset(token)
    logging.getLogger("citewell").info("alone")
    asked, alone = capsys.readouterr().err.splitlines()
    assert asked.endswith("INFO citewell: asked [r-17]")
    assert alone.endswith("INFO citewell: alone")


@pytest.mark.usefixtures("loggers")
def test_the_json_log_names_its_fields_and_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    token = REQUEST_ID.set("r-18")
    logging.getLogger("citewell").warning("slow")
    REQUEST_ID.reset(token)
    told = json.loads(capsys.readouterr().err)
    assert (told["level"], told["logger"], told["message"]) == ("WARNING", "citewell", "slow")
    assert told["request_id"] == "r-18"
    assert told["time"]


@pytest.mark.usefixtures("loggers")
def test_uvicorn_s_lines_come_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text")
    configure_logs("text")
    logging.getLogger("uvicorn.error").info("started")
    assert len(capsys.readouterr().err.splitlines()) == 1
