"""Canaries in every place of a secret, and a search for them in everything that leaves."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import httpx

from tests.support.command import Server
from tests.support.databases import sqlite_with
from tests.support.embedded import stop_engine

# Each with signs that a URL, JSON or a shell reads in its own way.
SECRETS = {
    "sql_variable": "Blue@Harbor-77/x", "sql_literal": "CANARYsqlLITERAL", "sql_query": "CANARYsqlQUERY",
    "sql_password": 'CANARY"pass\\word', "mysql_variable": "CANARY:my#sql?9", "state": "CANARYstateURL",
    "llm_user": "CANARYllmUSER", "llm_key": "CANARYllmKEY", "embedder_user": "CANARYembUSER",
    "embedder_key": "CANARYembKEY", "rerank_user": "CANARYrerUSER", "rerank_key": "CANARYrerKEY",
    "qdrant_user": "CANARYqdrUSER", "qdrant_key": "CANARYqdrKEY", "otlp_user": "CANARYotlpUSER",
    "redis": "CANARYredisPW", "env_file": "CANARYenvFILE", "private_key": "CANARYprivateKEY",
    "toml_backup": "CANARYtomlBACKUP", "engine_words": "CANARYengineWORDS",
}  # fmt: skip
QUESTION = "When does the Edmonton store open?"


def forms(secret: str) -> set[str]:
    """A secret as a text could have it."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {
        secret, quote(secret, safe=""), quote(secret), quote_plus(secret), unquote(secret), json.dumps(secret)[1:-1],
        repr(secret)[1:-1], encoded, secret.split("@")[-1],
    }  # fmt: skip


@dataclass
class Seen:
    """What left, by the way that it took, and the canaries that were found in it."""

    texts: int = 0
    found: list[str] = field(default_factory=list)

    def look(self, way: str, text: str, *, allowed: frozenset[str] = frozenset()) -> None:
        self.texts += 1
        for name, secret in SECRETS.items():
            if name not in allowed and any(form in text for form in forms(secret)):
                self.found.append(f"{name} in {way}")


class _Engine(BaseHTTPRequestHandler):
    """Fails with its own words, which nobody but an operator may see, and echoes what it was sent."""

    def do_POST(self) -> None:
        told = {"error": {"message": f"{SECRETS['engine_words']} {self.headers.get('Authorization')} {self.path}"}}
        body = json.dumps(told).encode()
        self.send_response(500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def failing_engine() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def prepare(folder: Path, engine: int) -> tuple[Path, dict[str, str]]:
    """A configuration with a canary in each secret's place; the files to read lie beside their secrets."""
    docs = folder / "docs"
    docs.mkdir(parents=True)
    (docs / "hours.md").write_text("# Stores\n\nThe Edmonton store opens at nine in the morning.\n")
    (docs / "app.env").write_text(f"SECRET_API_KEY={SECRETS['env_file']}\n")
    (docs / "deploy.md").write_text(f"-----BEGIN PRIVATE KEY-----\n{SECRETS['private_key']}\n")
    (docs / "citewell.old.toml").write_text(f'password = "{SECRETS["toml_backup"]}"\n')
    sqlite_with(
        folder / "shop.sqlite", "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO t VALUES (1, 'x')"
    )
    environ = {
        "REPORTS_PW": SECRETS["sql_variable"], "MYSQL_PW": SECRETS["mysql_variable"], "PLAIN_PW": SECRETS["sql_password"],
        "LLM_KEY": SECRETS["llm_key"],
    }  # fmt: skip
    sql = '[sources.{}]\nkind = "sql"\nurl = "{}"\n'
    toml = "".join([
        sql.format("reports", "postgresql://clerk:${REPORTS_PW}@127.0.0.1:5432/reports_pg"),
        sql.format("literal", f"postgresql://clerk:{SECRETS['sql_literal']}@127.0.0.1:1/none"),
        sql.format("parameter", f"postgresql://clerk@127.0.0.1:1/none?sslpassword={SECRETS['sql_query']}"),
        sql.format("maria", "mysql://clerk:${MYSQL_PW}@127.0.0.1:3306/none"),
        sql.format("apart", "postgresql://clerk@127.0.0.1:5432/none") + 'password = "${PLAIN_PW}"\n',
        sql.format("shop", "sqlite:///shop.sqlite"),
        '[sources.docs]\nkind = "files"\npaths = ["docs"]\n',
        f'[llm]\nurls = ["http://llm:{SECRETS["llm_user"]}@127.0.0.1:{engine}/v1"]\nmodel = "m"\napi_key = "${{LLM_KEY}}"\n',
        f'[telemetry]\notlp_url = "http://t:{SECRETS["otlp_user"]}@127.0.0.1:1"\n',
    ])  # fmt: skip
    (folder / "citewell.toml").write_text(toml)
    return folder / "citewell.toml", environ


# Settings under which a part does not work at all, so that its error is told.
BROKEN = {
    "embedder": '[embedder]\nmodel = "m"\nurl = "http://e:{embedder_user}@127.0.0.1:{port}/v1"\napi_key = "{embedder_key}"\n',
    "qdrant": '[qdrant]\nurl = "http://q:{qdrant_user}@127.0.0.1:1"\napi_key = "{qdrant_key}"\n',
    "state": '[state]\nurl = "postgresql://s:{state}@127.0.0.1:1/none"\n',
    "rerank": '[rerank]\nmodel = "m"\nurl = "http://r:{rerank_user}@127.0.0.1:{port}/v1"\napi_key = "{rerank_key}"\n',
    "limits": '[limits]\nrate = "1000/minute"\nstorage = "redis://:{redis}@127.0.0.1:1/0"\n',
}
DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'
QUICK = (("ingest",), ("ask", QUESTION, "--json"))
COMMANDS = (
    ("ingest",), ("ingest", "--json"), ("status",), ("status", "--json"), ("doctor",), ("doctor", "--json"), ("ask", QUESTION),
    ("ask", QUESTION, "--json"), ("verify",),
)  # fmt: skip


def run_commands(
    config: Path, environ: dict[str, str], seen: Seen, name: str, commands: Sequence[Sequence[str]]
) -> None:
    for command in commands:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "citewell"), *command],
            env=os.environ | environ | {"CITEWELL_CONFIG": str(config)}, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        # One who runs the command is an operator, who needs the engine's own words.
        seen.look(
            f"citewell {' '.join(command)} {name}".strip(),
            done.stdout + done.stderr,
            allowed=frozenset({"engine_words"}),
        )


def attack(folder: Path, *, quick: bool) -> Seen:
    """Run every command and every route over the configurations with canaries; quick: fewer commands."""
    seen = Seen()
    commands = QUICK if quick else COMMANDS
    with failing_engine() as port:
        config, environ = prepare(folder / "whole", port)
        run_commands(config, environ, seen, "", COMMANDS)
        os.environ.update(environ)
        try:
            _ask_service(config, seen)
        finally:
            for name in environ:
                del os.environ[name]
        stop_engine(config.parent / ".citewell" / "qdrant")
        for part, toml in BROKEN.items():
            broken = folder / part
            (broken / "docs").mkdir(parents=True)
            (broken / "docs" / "hours.md").write_text("The Edmonton store opens at nine in the morning.")
            text = toml.format(port=port, **{n: s for n, s in SECRETS.items() if n in toml})
            (broken / "citewell.toml").write_text(DOCS + text)
            run_commands(broken / "citewell.toml", {}, seen, part, commands)
            stop_engine(broken / ".citewell" / "qdrant")
    return seen


def _ask_service(config: Path, seen: Seen) -> None:
    from tests.support.command import citewell_here

    tokens = {
        scopes: json.loads(citewell_here("keys", "create", "k", *(f"--scope={s}" for s in scopes.split("+")), "--json", config=config).stdout)
        for scopes in ("ask", "ask+ingest", "admin")
    }  # fmt: skip
    with Server(config) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        for scopes, made in tokens.items():
            headers = {"Authorization": f"Bearer {made['token']}"}
            allowed = frozenset({"engine_words"}) if scopes == "admin" else frozenset()
            for stream in (False, True):
                body = {"question": QUESTION, "stream": stream}
                seen.look(f"ask ({scopes})", client.post("/v1/ask", json=body, headers=headers).text, allowed=allowed)
                chat = {"model": "citewell", "messages": [{"role": "user", "content": QUESTION}], "stream": stream}
                answer = client.post("/v1/chat/completions", json=chat, headers=headers).text
                seen.look(f"chat ({scopes})", answer, allowed=allowed)
            found = client.post("/v1/retrieve", json={"question": "secret api key password", "k": 50}, headers=headers)
            seen.look(f"retrieve ({scopes})", found.text)
            job = client.post("/v1/jobs", json={"sources": ["reports", "literal", "docs"]}, headers=headers)
            paths = [
                "/v1/sources",
                "/v1/config",
                "/v1/quarantine",
                "/v1/health",
                "/metrics",
                "/v1/me",
                "/v1/models",
                "/readyz",
            ]
            paths += [f"/v1/sources/{name}" for name in ("reports", "literal", "parameter", "maria", "apart", "docs")]
            if job.status_code == 202:
                url = f"/v1/jobs/{job.json()['id']}"
                with client.stream("GET", f"{url}/events", headers=headers) as events:
                    seen.look(f"events ({scopes})", "".join(events.iter_text()), allowed=allowed)
                paths += [url, "/v1/jobs"]
            for path in paths:
                seen.look(f"{path} ({scopes})", client.get(path, headers=headers).text, allowed=allowed)
        seen.look("the log", server.log(), allowed=frozenset({"engine_words"}))
