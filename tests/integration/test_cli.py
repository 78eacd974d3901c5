"""The installed command, in processes of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import SAMPLE, citewell, citewell_here, citewell_json
from tests.support.databases import sqlite_with
from tests.support.embedded import stop_engine
from tests.support.llm.stub_engine import StubEngine


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "citewell.toml"
    assert citewell("init", config=path).returncode == 0
    yield path
    stop_engine(tmp_path / ".citewell" / "qdrant")


def test_from_nothing_to_a_cited_answer(config: Path, tmp_path: Path) -> None:
    sqlite_with(
        tmp_path / "shop.sqlite",
        "CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT)",
        "INSERT INTO album VALUES (4, 'Let There Be Rock')",
    )
    added = citewell("add", str(tmp_path / "shop.sqlite"), config=config)
    assert "Added source 'shop'" in added.stdout
    assert "1 read, 1 added" in citewell("ingest", config=config).stdout
    answer = json.loads(citewell("ask", "What is album 4?", "--json", config=config).stdout)
    assert answer["citations"][0]["primary_key"] == {"id": 4}
    hits = json.loads(citewell("retrieve", "rock", "-k", "1", "--json", config=config).stdout)["hits"]
    assert [hit["document_id"] for hit in hits] == ["album/4"]
    found = json.loads(citewell("status", "--json", config=config).stdout)
    assert (found["points"], found["sources"][0]["documents"]) == (1, 1)
    assert json.loads(citewell("doctor", "--json", config=config).stdout)["ok"]
    printed = citewell("ask", "What is album 4?", config=config).stdout
    assert "Let There Be Rock" in printed
    assert "Album 4" in printed


def test_quarantined_files_give_exit_code_3(config: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "bad.json").write_text("{")
    (tmp_path / "docs" / "good.md").write_text("Parking is free.")
    citewell_here("add", str(tmp_path / "docs"), config=config)
    done = citewell_here("ingest", "--json", config=config)
    assert done.returncode == 3
    report = json.loads(done.stdout)["sources"][0]
    assert report["unreadable"][0]["document_id"] == "docs/bad.json"
    assert report["added"] == 1
    assert "docs/bad.json" in citewell_here("status", config=config).stdout


def test_a_source_that_fails_does_not_keep_the_others_from_being_read(config: Path, tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("Parking is free.")
    config.write_text(
        '[sources.a]\nkind = "files"\npaths = ["none/*"]\n[sources.b]\nkind = "files"\npaths = ["good.md"]\n'
    )
    done = citewell_here("ingest", "--json", config=config)
    first, second = json.loads(done.stdout)["sources"]
    assert done.returncode == 1
    assert "no file matches" in first["error"]
    assert second["added"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ask", ""], 2, "The question is empty"),
        (["ask", "x" * 100_000], 2, "8000 are allowed"),
        (["ask", "x", "--profile", "huge"], 2, "Profiles: chat, document, log, book"),
        (["ingest", "nope"], 2, "There is no source 'nope'"),
        (["ingest"], 2, "No source is configured"),
        (["add", "postgresql://u:hunter2@127.0.0.1:1/x"], 1, "Check that the server runs"),
        (["add", "oracle://u:hunter2@h/x"], 1, "pip install oracledb"),
        (["add", "no/such/folder/*"], 1, "no file matches"),
        (["init"], 2, "exists already"),
        (["retrieve", "x", "-k", "0"], 2, "greater than or equal to 1"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_mistakes_end_with_a_code_and_a_message_and_no_traceback(
    config: Path, arguments: list[str], code: int, message: str
) -> None:
    done = citewell_here(*arguments, config=config)
    assert done.returncode == code
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_an_error_with_json_is_one_document_on_stdout(config: Path) -> None:
    done = citewell_here("ask", "", "--json", config=config)
    assert json.loads(done.stdout)["error"]["type"] == "QuestionError"


def test_a_missing_configuration_says_how_to_make_one(tmp_path: Path) -> None:
    done = citewell_here("ask", "x", config=tmp_path / "none.toml")
    assert (done.returncode, "citewell init" in done.stderr) == (2, True)


def test_doctor_names_what_is_broken_and_goes_on(config: Path) -> None:
    config.write_text(
        '[llm]\nurls = ["http://127.0.0.1:1/v1"]\n[sources.shop]\nkind = "sql"\nurl = "sqlite:///none.sqlite"\n'
    )
    done = citewell_here("doctor", "--json", config=config)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert {name for name, check in checks.items() if not check["ok"]} == {"source shop", "language model"}
    assert "There is no SQLite database" in checks["source shop"]["detail"]


def test_doctor_tells_a_short_context_another_tokenizer_and_the_troubles_of_a_log(config: Path, tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    log.write_text("INFO starting\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n")
    with StubEngine() as engine:
        engine.window_tokens = 4096
        config.write_text(f'[llm]\nurls = ["{engine.url}"]\nmodel = "says:served"\n')
        done = citewell_here("doctor", "--engine-log", str(log), "--json", config=config)
    details = {check["name"]: check["detail"] for check in json.loads(done.stdout)["checks"] if not check["ok"]}
    assert set(details) == {"context window", "token counts", "engine's log"}
    assert "citewell engine --profile chat" in details["context window"]
    assert "llm.tokenizer" in details["token counts"]
    assert "--memory-share" in details["engine's log"]


def test_engine_prints_a_command_or_says_why_it_does_not_fit(config: Path) -> None:
    printed = citewell_here("engine", "--gpus", "1", "--gpu-memory", "80", "--profile", "book", config=config)
    assert printed.stdout.startswith("VLLM_NO_USAGE_STATS=1")
    assert "vllm serve Qwen/Qwen2.5-7B-Instruct" in printed.stdout
    assert "YaRN" in printed.stderr
    found = citewell_json("engine", "--gpus", "2", "--gpu-memory", "80", config=config)
    assert len(found["engines"]) == 2
    small = citewell_here("engine", "--gpus", "1", "--gpu-memory", "12", config=config)
    assert (small.returncode, "GiB of weights" in small.stderr) == (2, True)


def test_engine_runs_vllm_and_ends_with_it(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "vllm"
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\necho "$@" >> "$(dirname "$0")/asked"\ntest "$CUDA_VISIBLE_DEVICES" = 1 && exit 3\nexec sleep 60\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    done = citewell("engine", "--gpus", "2", "--gpu-memory", "80", "--run", config=config)
    assert done.returncode == 3
    asked = (fake.parent / "asked").read_text().splitlines()
    assert all(line.startswith("serve Qwen/Qwen2.5-7B-Instruct ") for line in asked)


def test_the_configuration_is_private_and_keeps_what_stood_in_it(config: Path) -> None:
    citewell_here("add", str(SAMPLE / "chinook.sqlite"), "--name", "shop", "--table", "Album", config=config)
    text = config.read_text()
    assert text.startswith("# Citewell's configuration.")
    assert 'tables = ["Album"]' in text
    assert oct(config.stat().st_mode & 0o777) == "0o600"
    again = citewell_here("add", str(SAMPLE / "chinook.sqlite"), "--name", "shop", config=config)
    assert (again.returncode, "already" in again.stderr) == (2, True)


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, service.cli; heavy = {'torch', 'transformers', 'llama_index', 'qdrant_client', 'sqlalchemy', 'fastapi', 'numpy'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr


def test_shell_completion_is_offered() -> None:
    command = str(Path(sys.executable).parent / "citewell")
    environment = os.environ | {"_CITEWELL_COMPLETE": "source_bash"}
    done = subprocess.run([command], capture_output=True, text=True, env=environment, check=False)
    assert "_CITEWELL_COMPLETE=complete_bash" in done.stdout
