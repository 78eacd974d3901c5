"""What a person sees while a command loads."""

import os
import pty
import sys

import pytest

from service.cli.command import waiting


def test_nothing_is_shown_where_nobody_looks_on(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("Looking …"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_spinner_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        with waiting("Looking …"):
            shown = os.read(reader, 1000)
            while "Looking …".encode() not in shown:
                shown += os.read(reader, 1000)
    os.close(reader)
