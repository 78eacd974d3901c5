"""The command itself: what it refuses before any work, and keys."""

import json
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rag.boundary.secrets import remember
from service.cli import main
from tests.support.command import citewell_here, citewell_json


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "citewell.toml"
    path.write_text('[sources.docs]\nkind = "files"\npaths = ["docs"]\n[identity]\ntenant = "acme"\n')
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("ingest", "--watch", "--full"), ("ingest", "--watch", "--dry-run"), ("ingest", "--watch", "--json"),
        ("ingest", "blog"), ("ask", "Who?", "--filter", "{"), ("ask", "Who?", "--source", "blog"), ("retrieve", "Who?", "-k", "0"),
        ("keys", "create", "a", "--scope", "root"), ("keys", "create", "a", "--source", "blog"),
        ("keys", "create", "a", "--profile", "huge"), ("keys", "create", "a", "--rate", "often"),
        ("keys", "create", "a", "--expires", "soon"), ("keys", "create", "a\nb"), ("keys", "revoke", "nobody"),
        ("keys", "rotate", "nobody"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_as_usage(config: Path, arguments: tuple[str, ...]) -> None:
    assert citewell_here(*arguments, config=config).returncode == 2


def test_without_a_configuration_every_command_says_so(tmp_path: Path) -> None:
    for arguments in (("status",), ("keys", "list"), ("ingest",), ("serve",)):
        done = citewell_here(*arguments, config=tmp_path / "missing.toml")
        assert (done.returncode, "citewell init" in done.stderr) == (2, True)


def test_a_configuration_to_start_from_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "citewell.toml"
    assert citewell_here("init", config=path).returncode == 0
    before = path.read_text()
    assert citewell_here("init", config=path).returncode == 2
    assert path.read_text() == before


def test_a_key_is_made_with_its_rights_listed_rotated_and_revoked(config: Path) -> None:
    made = citewell_json(
        "keys", "create", "shop", "--scope", "ingest", "--source", "docs", "--group", "hr", "--profile", "log", "--rate", "5/second",
        "--concurrent", "3", "--expires", "1d", config=config,
    )  # fmt: skip
    assert made["token"].startswith(f"cwk_{made['id']}_")
    rights = {"scopes": ["ingest"], "tenant": "acme", "groups": ["hr"], "sources": ["docs"], "profiles": ["log"]}
    assert made["rights"] == rights | {"rate": "5/second", "concurrent": 3}
    assert made["expires_at"] - made["created_at"] == pytest.approx(86400)
    rotated = citewell_json("keys", "rotate", made["id"], config=config)
    assert rotated["token"] not in (made["token"], "")
    assert citewell_json("keys", "revoke", made["id"], config=config)["revoked"]
    [listed] = citewell_json("keys", "list", config=config)["keys"]
    assert (listed["id"], listed["valid"]) == (made["id"], False)
    assert made["token"] not in json.dumps(listed)


def test_without_json_only_the_token_is_printed(config: Path) -> None:
    assert citewell_here("keys", "create", "shop", config=config).stdout.strip().startswith("cwk_")
    assert "shop" in citewell_here("keys", "list", config=config).stdout


def test_an_error_that_nobody_expected_is_told_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    remember(["hunter2"])
    err = ValueError("postgresql://u:hunter2@h")
    main._tell_masked(type(err), err, None)
    told = capsys.readouterr().err
    assert "ValueError" in told
    assert "hunter2" not in told


def test_the_entry_point_has_signals_errors_and_children_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    before, hook = signal.getsignal(signal.SIGTERM), sys.excepthook
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setattr(main, "app", lambda: ran.append("ran"))
    environ = dict[str, str]()
    monkeypatch.setattr(main, "os", SimpleNamespace(environ=environ))
    try:
        main.main()
        assert ran == ["ran"]
        assert environ["PYTHONSAFEPATH"] == "1"
        assert sys.excepthook is main._tell_masked
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        with pytest.raises(KeyboardInterrupt):
            handler(signal.SIGTERM, None)
    finally:
        signal.signal(signal.SIGTERM, before)
        sys.excepthook = hook
