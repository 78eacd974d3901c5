"""Nonsense of all kinds over a running service: generated requests, raw bytes, and planted secrets that must not show.

    python -m tests.fuzz        (QUICK=1: a tenth of it)

schemathesis makes requests from the service's own OpenAPI, good ones and bad ones; raw bytes are whole requests that were
cut, doubled or flipped. Prints one JSON object as its last line.
"""

import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.support.command import Server, citewell, citewell_json
from tests.support.embedded import stop_engine
from tests.support.llm.stub_engine import StubEngine

QUICK = os.environ.get("QUICK") == "1"
RUNS = 1 if QUICK else 10  # processes, of 2,000 cases or more each: schemathesis becomes slow in a long run
EXAMPLES = 170  # of each operation
RAW = 500 if QUICK else 5_000
SECRETS = {
    "llm": "s3cret-llm-key-1",
    "qdrant": "s3cret-qdrant-2",
    "database": "s3cret-password-3",
    "embedder": "s3cret-embed-4",
}
CONFIG = """
[llm]
urls = ["{engine}"]
model = "stub:tokens=8"
api_key = "{llm}"
[qdrant]
api_key = "{qdrant}"
[embedder]
api_key = "{embedder}"
[server]
deadline = 20
[limits]
in_flight = 1000
[telemetry]
log_format = "json"
[sources.docs]
kind = "files"
paths = ["docs"]
[sources.shop]
kind = "sql"
url = "postgresql+psycopg://someone:{database}@127.0.0.1:1/shop"
"""
REQUEST = b"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer TOKEN\r\nContent-Type: application/json\r\nContent-Length: 59\r\n\r\n"
REQUEST += b'{"question": "When does the Edmonton store open today then"}'


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="citewell-fuzz-") as name, StubEngine() as engine:
        folder = Path(name)
        engine.behaviour = lambda body: "says:{}" if "response_format" in body else "stub:tokens=8"
        (folder / "docs").mkdir()
        (folder / "docs" / "stores.md").write_text(
            "# Stores\n\nThe Edmonton store opens at eleven on every day but Sunday.\n"
        )
        config = folder / "citewell.toml"
        config.write_text(CONFIG.format(engine=engine.url, **SECRETS))
        try:
            citewell("ingest", "docs", config=config)
            token = citewell_json("keys", "create", "fuzz", "--scope", "admin", config=config)["token"]
            with Server(config) as server:
                told = generated(server, token, folder)
                raw = raw_bytes(server, token)
                dumps = [
                    _get(server, path, token)
                    for path in ("/metrics", "/v1/config", "/v1/sources", "/openapi.json", "/v1/jobs")
                ]
                log = server.log()
        finally:
            stop_engine(folder / ".citewell" / "qdrant")
        planted = [*SECRETS.values(), token.split("_", 2)[2]]
        places = {"log": log, "dumps": "".join(dumps), "generated": told.pop("text"), "raw": raw.pop("text")}
        hits = Counter(place for place, text in places.items() for secret in planted if secret in text)
        tracebacks = log.count("Traceback")
        if tracebacks:
            print(log[log.index("Traceback") - 300 :][:5000], file=sys.stderr)
    print(
        json.dumps({"generated": told, "raw": raw, "secret_hits": dict(hits), "tracebacks": tracebacks, "quick": QUICK})
    )
    sys.exit(bool(told["num_wrong"] or raw["num_wrong"] or hits or tracebacks))


def generated(server: Server, token: str, folder: Path) -> dict[str, Any]:
    """Cases, server errors and errors that are no problem documents, of schemathesis' runs; and all that was answered."""
    statuses: Counter[str] = Counter()
    wrong: list[str] = []
    texts: list[str] = []
    for seed in range(RUNS):
        report = _run(server, token, folder / f"report-{seed}.ndjson", seed)
        for status, kind in _answers(report):
            statuses[f"{status // 100}xx"] += 1
            known = "problem+json" in kind or kind.startswith("application/json")  # OpenAI's shape on its routes
            if status >= 500 or (status >= 400 and not known):
                wrong.append(f"{status} {kind}")
        texts.append(_answered(report))
        print(seed, dict(statuses), file=sys.stderr)
    return {
        "cases": sum(statuses.values()),
        "statuses": dict(statuses),
        "wrong": wrong[:10],
        "num_wrong": len(wrong),
        "text": "".join(texts),
    }


def _run(server: Server, token: str, report: Path, seed: int) -> str:
    """One run's report."""
    # A job would read sources all through the run, and a watched one lasts as long as it.
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.url}/openapi.json"]
    command += [
        "--header",
        f"Authorization: Bearer {token}",
        "--exclude-path-regex",
        "/events$",
        "--continue-on-failure",
    ]
    command += ["--checks", "not_a_server_error", "--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES)]
    command += ["--report", "ndjson", "--report-ndjson-path", str(report), "--workers", "2", "--seed", str(seed)]
    command += ["--request-timeout", "30", "--no-color", "--generation-database", "none"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.fuzz.hooks"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if not report.exists():
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return report.read_text(errors="replace")


def _answers(report: str) -> list[tuple[int, str]]:
    found = []
    for line in report.splitlines():
        for response in _responses(json.loads(line)):
            kinds = {name.lower(): value for name, value in (response.get("headers") or {}).items()}
            kind = kinds.get("content-type", [""])
            found.append((response["status_code"], kind[0] if isinstance(kind, list) else kind))
    return found


def _responses(value: Any) -> list[dict[str, Any]]:
    """All objects with a status_code in a report's line."""
    if isinstance(value, list):
        return [found for each in value for found in _responses(each)]
    if not isinstance(value, dict):
        return []
    own = [value] if "status_code" in value and "headers" in value else []
    return own + [found for each in value.values() for found in _responses(each)]


def _answered(report: str) -> str:
    """The bodies of all answers: the report has the requests, with their key, as well."""
    import base64

    bodies = []
    for line in report.splitlines():
        for response in _responses(json.loads(line)):
            content = response.get("content") or response.get("body") or ""
            content = content.get("payload", "") if isinstance(content, dict) else content
            bodies.append(
                base64.b64decode(content).decode(errors="replace") if re.fullmatch(r"[\w+/=\n]*", content) else content
            )
    return "".join(bodies)


def raw_bytes(server: Server, token: str) -> dict[str, Any]:
    """Requests that were cut, doubled, flipped or filled with noise, as bytes on a connection."""
    rng = random.Random(7)
    port = int(server.url.rsplit(":", 1)[1])
    statuses: Counter[str] = Counter()
    wrong, texts = [], []
    for number in range(RAW):
        sent = _spoilt(REQUEST.replace(b"TOKEN", token.encode()), rng)
        answer = _exchange(port, sent)
        texts.append(answer.decode(errors="replace"))
        status = answer[9:12].decode(errors="replace") if answer.startswith(b"HTTP/1.1 ") else "closed"
        statuses[status] += 1
        problem = b"application/problem+json" in answer.lower() or status.startswith(("2", "3")) or status == "closed"
        if status.startswith("5") or not problem:
            wrong.append(f"{number}: {sent!r} -> {answer[:200]!r}")
    return {
        "requests": RAW,
        "statuses": dict(statuses),
        "wrong": wrong[:5],
        "num_wrong": len(wrong),
        "text": "".join(texts),
    }


def _spoilt(request: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(request)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(spoilt)) if spoilt else 0
        match rng.randrange(5):
            case 0:
                spoilt[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del spoilt[place : place + rng.randint(1, 20)]
            case 2:
                spoilt[place:place] = spoilt[place : place + rng.randint(1, 60)]
            case 3:
                spoilt[place:place] = rng.randbytes(rng.randint(1, 30))
            case _:
                spoilt[place:place] = rng.choice(
                    [
                        b"\r\n",
                        b"\0",
                        b"\r\n\r\n",
                        b"Content-Length: 5\r\n",
                        b"Transfer-Encoding: chunked\r\n",
                        b"%ff",
                        b"../",
                    ]
                )
    return bytes(spoilt)


def _exchange(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=0.3) as connection:
        answer = b""
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except OSError:
            pass
        return answer


def _get(server: Server, path: str, token: str) -> str:
    return httpx.get(f"{server.url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=60).text


if __name__ == "__main__":
    main()
