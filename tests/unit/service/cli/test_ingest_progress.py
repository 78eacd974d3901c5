"""What a run tells while it is under way."""

import os
import signal
import time

import pytest

from service.cli.ingest import _stop_on_signal
from service.cli.terminal import ingest_progress
from service.syncing.sync import Report


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_answered_at_once(capfd: pytest.CaptureFixture[str], number: signal.Signals) -> None:
    with _stop_on_signal("Finishing this batch; press again to stop now.") as stop:
        os.kill(os.getpid(), number)
        stop.wait()
        assert (stop.number, stop.event.is_set()) == (number, True)
    assert capfd.readouterr().err == "Finishing this batch; press again to stop now.\n"


def test_a_log_has_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    report = Report(source="shop", expected=8000)
    with ingest_progress() as progress:
        for second in range(25):
            now, report.fetched = 100.0 + second, 50 * second
            progress(report)
    assert capsys.readouterr().err.splitlines() == [
        "shop: 500 of about 8,000 read, 50/s, about 150 s left",
        "shop: 1,000 of about 8,000 read, 50/s, about 140 s left",
    ]
