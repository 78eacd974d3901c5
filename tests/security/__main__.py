"""python -m tests.security    (QUICK=1: fewer of each kind)

Attacks on what must not leak, by kind: how many were made, and how many got through. Fails when one did.
"""

import itertools
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings

from connectors.sql.visibility import RightsUnknown, RowVisibility
from rag.ports import NOBODY
from service.http.app import create_app
from service.knowledge_base import KnowledgeBase, connect
from service.store.keys import Rights
from tests.security import callers, redirects, tokens, trap
from tests.security import leaks as leaking
from tests.security.labels import answers, leaks, write
from tests.security.streams import TEXT, ending, streams
from tests.support.embedded import stop_engine
from tests.support.llm.raw_engine import RawEngine, always, whole
from tests.support.rights import ALL, FORMS

QUICK = os.environ.get("QUICK") == "1"
TENANTS = {"acme": "Zanzibar", "beta": "Reykjavik", "gamma": "Montevideo"}
QUESTION = "Where is the depot of the company?"
Kind = dict[str, Any]


def labels(number: int) -> Kind:
    """Forms of labels that hypothesis makes, whole and streamed in pieces."""
    found: list[str] = []
    made = 0

    @settings(max_examples=number, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(answers())
    def attack(answer: tuple[str, list[int]]) -> None:
        nonlocal made
        made += 1
        text, cuts = answer
        whole = write(text, [])
        found.extend(leaks(whole))
        if write(text, cuts) != whole:
            found.append(f"another text in pieces: {text!r}")

    attack()
    return {"attacks": made, "through": len(found), "examples": found[:5]}


def secrets() -> Kind:
    """Twenty canaries, each in a secret's place, in all that commands and routes give."""
    with tempfile.TemporaryDirectory(prefix="citewell-leaks-") as folder:
        seen = leaking.attack(Path(folder), quick=QUICK)
    return {"attacks": seen.texts * len(leaking.SECRETS), "through": len(seen.found), "examples": seen.found[:5]}


@contextmanager
def tenants() -> Iterator[KnowledgeBase]:
    """A knowledge base of three tenants: one source that they share, and one of each."""
    with tempfile.TemporaryDirectory(prefix="citewell-rights-") as name:
        folder = Path(name)
        toml = '[sources.shared]\nkind = "files"\npaths = ["shared"]\n'
        toml += "".join(f'[[sources.shared.rules]]\npath = "shared/{t}.md"\ntenant = "{t}"\n' for t in TENANTS)
        for tenant, place in TENANTS.items():
            for where in (f"shared/{tenant}.md", f"{tenant}/plan.md"):
                (folder / where).parent.mkdir(exist_ok=True)
                (folder / where).write_text(f"# Depot\n\nThe depot of the company is in {place}.\n")
            (folder / tenant / f"{place}.pdf").write_bytes(b"%PDF-1.4 broken")
            toml += f'[sources.{tenant}]\nkind = "files"\npaths = ["{tenant}"]\ntenant = "{tenant}"\n'
        (folder / "citewell.toml").write_text(toml)
        with connect(folder / "citewell.toml") as kb:
            kb.ingest()
            yield kb
            stop_engine(folder / ".citewell" / "qdrant")


def rights(number: int) -> Kind:
    """Requests of tenants that may name each other's places in nothing they get; forms of lists; ingest keys."""
    found: list[str] = []
    rng = random.Random(1)
    with tenants() as kb, TestClient(create_app(kb.services)) as client:
        keys = {
            tenant: {"Authorization": f"Bearer {kb.services.keys().create('k', Rights(scopes=('ask', 'ingest'), tenant=tenant))[1]}"}
            for tenant in TENANTS
        }  # fmt: skip
        jobs = {tenant: kb.services.jobs().add({"sources": [tenant]}).id for tenant in TENANTS}
        client.app.state.parts.runner = None  # type: ignore[attr-defined]
        for _ in range(number):
            tenant, other = rng.sample(sorted(TENANTS), 2)
            body = {
                "question": rng.choice([QUESTION, TENANTS[other], other]),
                "sources": rng.choice([[], ["shared"], [other], [tenant]]),
            }
            chat = {"model": "citewell", "messages": [{"role": "user", "content": QUESTION}]}
            call = rng.choice([
                ("POST", "/v1/retrieve", body | {"k": 50}), ("POST", "/v1/ask", body), ("POST", "/v1/chat/completions", chat),
                ("GET", "/v1/sources", None), ("GET", f"/v1/sources/{other}", None), ("GET", "/v1/sources/shared", None),
                ("GET", "/v1/quarantine", None), ("GET", f"/v1/quarantine?source={other}", None), ("GET", "/v1/jobs", None),
                ("GET", f"/v1/jobs/{jobs[other]}", None), ("POST", f"/v1/jobs/{jobs[other]}/cancel", None),
                ("POST", "/v1/jobs", {"sources": [other], "full": True}), ("GET", "/v1/health", None),
            ])  # fmt: skip
            answer = client.request(call[0], call[1], json=call[2], headers=keys[tenant])
            asked = json.dumps(call[2], ensure_ascii=False) if call[2] else ""
            text = answer.text.replace(asked, "")
            named = TENANTS[other] in text and TENANTS[other] not in asked
            operated = other in call[1] and answer.status_code < 400
            started = call[1] == "/v1/jobs" and call[0] == "POST" and answer.status_code in (202, 409)
            touched = call[1].startswith(f"/v1/jobs/{jobs[other]}") and answer.status_code != 404
            if named or operated or started or touched:
                found.append(f"{tenant}: {call} gave {answer.status_code}")
        found += [
            f"job of {t} cancelled"
            for t, job in jobs.items()
            if (kept := kb.services.jobs().get(job)) and kept.cancelled
        ]
    for form, who in FORMS:
        try:
            acl = RowVisibility(acl=("staff",), acl_column="c").of({"c": form}, {})["acl"]
        except RightsUnknown:
            acl = (NOBODY,)
        expected = () if who == ALL else tuple(sorted(who or ())) or (NOBODY,)
        if acl != expected:
            found.append(f"{form!r} lets in {acl}")
    return {"attacks": number + len(FORMS), "through": len(found), "examples": found[:5]}


def children() -> Kind:
    """Modules that lie in the current folder, and the commands that start children there."""
    with tempfile.TemporaryDirectory(prefix="citewell-trap-") as folder:
        ran, started = trap.attack(Path(folder))
    return {"attacks": started * len(trap.PLANTED), "through": len(ran), "examples": sorted(ran)[:5]}


@contextmanager
def asked_of(engine: str) -> Iterator[TestClient]:
    """A service over one document, with an engine."""
    with tempfile.TemporaryDirectory(prefix="citewell-streams-") as name:
        folder = Path(name)
        (folder / "docs").mkdir()
        (folder / "docs" / "stores.md").write_text(f"# Stores\n\n{TEXT}\n")
        toml = f'[sources.docs]\nkind = "files"\npaths = ["docs"]\n[llm]\nurls = ["{engine}"]\nmodel = "m"\n'
        (folder / "citewell.toml").write_text(toml)
        with connect(folder / "citewell.toml") as kb:
            kb.ingest()
            with TestClient(create_app(kb.services), raise_server_exceptions=False) as client:
                yield client
        stop_engine(folder / ".citewell" / "qdrant")


def hostile_streams(number: int) -> Kind:
    """Streams of an engine, each asked for in four ways: whole or degraded, and the next question is answered."""
    found: list[str] = []
    good, question = whole(TEXT), "When does the Edmonton store open?"
    ways: list[tuple[str, dict[str, Any]]] = [
        ("/v1/ask", {"question": question}),
        ("/v1/chat/completions", {"model": "citewell", "messages": [{"role": "user", "content": question}]}),
    ]
    with RawEngine(lambda body: good) as engine, asked_of(engine.url) as client:
        for stream in (every := streams(number)):
            for streamed, (path, body) in itertools.product((False, True), ways):
                engine.answer = always(stream.answer)
                answer = client.post(path, json=body | {"stream": streamed})
                how = ending(answer.status_code, answer.text, streamed=streamed)
                if how not in ("whole", "degraded") or stream.ends not in ("either", how):
                    found.append(f"{stream.name}: {path} {how}")
                engine.answer = lambda body: good
                if (after := ending(200, client.post(path, json=body).text, streamed=False)) != "whole":
                    found.append(f"{stream.name}: the next question is {after}")
        ready = client.get("/readyz")
        if ready.status_code != 200:
            found.append(f"/readyz {ready.text}")
    return {"attacks": 4 * len(every), "through": len(found), "examples": found[:5]}


def by(attack: Callable[[Path, int], tuple[int, list[str]]], number: int) -> Kind:
    """A kind of attacks on a service of its own."""
    with tempfile.TemporaryDirectory(prefix="citewell-attacked-") as folder:
        return told(*attack(Path(folder), number))


def told(made: int, found: list[str]) -> Kind:
    return {"attacks": made, "through": len(found), "examples": found[:5]}


def main() -> None:
    every: dict[str, Callable[[], Kind]] = {
        "labels": lambda: labels(600 if QUICK else 5000),
        "leaks": secrets,
        "rights": lambda: rights(200 if QUICK else 1000),
        "children": children,
        "streams": lambda: hostile_streams(20 if QUICK else 400),
        "breaker": lambda: by(callers.breaker, 30 if QUICK else 200),
        "sizes": lambda: by(callers.sizes, 6 if QUICK else 1),
        "growth": lambda: by(callers.growth, 20 if QUICK else 200),
        "smuggling": lambda: by(callers.smuggling, 60 if QUICK else 600),
        "tokens": lambda: told(*tokens.attack(60 if QUICK else 1000)),
        "redirects": lambda: told(*redirects.attack()),
    }
    kinds = {}
    for name, attack in every.items():
        kind = kinds[name] = attack()
        print(
            f"{name}: {kind['attacks']} attacks, {kind['through']} through", *kind["examples"], sep="\n  ", flush=True
        )
    print(json.dumps({name: {k: kind[k] for k in ("attacks", "through")} for name, kind in kinds.items()}))
    sys.exit(any(kind["through"] for kind in kinds.values()))


if __name__ == "__main__":
    main()
