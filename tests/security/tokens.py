"""Tokens and keys that are nobody's, in the forms that attackers know, and others made by chance."""

import base64
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient

from service.http.app import create_app
from service.knowledge_base import connect
from service.store.keys import Rights
from tests.support.network.provider import Provider


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _forged(provider: Provider, rng: random.Random, number: int) -> Iterator[str]:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = provider.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    good = provider.token()
    head, body, signature = good.split(".")
    claims = {
        "iss": provider.url,
        "aud": "citewell",
        "sub": "ann",
        "exp": time.time() + 60,
        "tenant": "acme",
        "scope": "citewell:admin",
    }
    for alg in (
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "HS256",
        "HS384",
        "HS512",
        "RS1",
        "ES256K",
        None,
        7,
        ["RS256"],
        {"a": 1},
    ):
        for more in ({}, {"kid": "k1"}, {"kid": "k1", "typ": "JWT"}):
            yield f"{_part({'alg': alg} | more)}.{_part(claims)}."
            yield f"{_part({'alg': alg} | more)}.{_part(claims)}.{signature}"
    yield _hs256(public, claims)
    for extra in (
        {"jku": f"{provider.url}/keys"},
        {"x5u": provider.url},
        {"jwk": {"kty": "RSA"}},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"x5c": ["AAAA"]},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ):
        yield jwt.encode(claims, other, algorithm="RS256", headers={"kid": "k1", **extra})
    for kid in ("", "../../dev/null", "k1\0", "k1\n", "K1", "' OR 1=1 --", "k" * 4000, "k1 ", "\u212a1"):
        yield jwt.encode(claims, other, algorithm="RS256", headers={"kid": kid})
    yield from (
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}..{signature}",
        f".{body}.{signature}",
        f"{head}.{body}.{signature}.x",
        "..",
        "a.b.c",
    )
    yield from (
        f"{head}.{_part(json.loads(base64.urlsafe_b64decode(body + '==')) | {'tenant': tenant})}.{signature}"
        for tenant in ("beta", "", None, ["acme"])
    )
    odd: tuple[tuple[str, Any], ...] = (
        ("exp", 0), ("exp", "later"), ("exp", 1e400), ("nbf", time.time() + 900), ("iat", "x"),
        ("aud", ["x"]), ("aud", None), ("iss", "x"), ("iss", [provider.url, 1]), ("sub", None),
        ("tenant", ["acme"]), ("tenant", {"a": 1}), ("tenant", 7), ("tenant", ""),
    )  # fmt: skip
    for name, value in odd:
        yield provider.token(**{name: value})
    for _ in range(number):
        spoilt = bytearray(good.encode())
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(spoilt))
            match rng.randrange(3):
                case 0:
                    spoilt[at] = rng.choice(b"ABCxyz019-_.=")
                case 1:
                    del spoilt[at]
                case _:
                    spoilt[at:at] = bytes(rng.choices(b"ABCxyz019-_.=", k=rng.randint(1, 9)))
        if _decoded(spoilt.decode()) != _decoded(good):
            yield spoilt.decode()


def _decoded(token: str) -> list[bytes]:
    """A token's parts as bytes: what is encoded otherwise may be the same token."""
    try:
        return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")]
    except ValueError:
        return []


def _hs256(secret: bytes, claims: dict[str, Any]) -> str:
    import hashlib
    import hmac

    signed = f"{_part({'alg': 'HS256', 'kid': 'k1'})}.{_part(claims)}"
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).rstrip(b'=').decode()}"


def _keys(token: str, rng: random.Random, number: int) -> Iterator[str]:
    kind, name, secret = token.split("_", 2)
    yield from (
        f"{kind}_{name}_",
        f"{kind}_{name}",
        kind,
        f"{kind}__{secret}",
        f"{token}x",
        f"x{token}",
        token.upper(),
        token[:-1],
        f"{kind}_{name}_{'%' * 43}",
    )
    for _ in range(number):
        yield f"{kind}_{name}_{''.join(rng.choices('abcXYZ019-_', k=43))}"
        yield f"{kind}_{rng.getrandbits(48):012x}_{secret}"


def attack(number: int) -> tuple[int, list[str]]:
    """Each of them is told 401, and none makes the provider be asked again."""
    provider, rng, found, made = Provider(), random.Random(3), list[str](), 0
    with tempfile.TemporaryDirectory(prefix="citewell-tokens-") as name:
        config = Path(name) / "citewell.toml"
        config.write_text(f'[auth.oidc]\nissuer = "{provider.url}"\naudience = "citewell"\n')
        with connect(config) as kb:
            token = kb.services.keys().create("k", Rights())[1]
            client = TestClient(create_app(kb.services), raise_server_exceptions=False)
            for good in (provider.token(), token):
                if client.get("/v1/me", headers={"Authorization": f"Bearer {good}"}).status_code != 200:
                    found.append("a good one is refused")
            before = len(provider.asked)
            for forged in [*_forged(provider, rng, number), *_keys(token, rng, number)]:
                made += 1
                try:
                    status = client.get("/v1/me", headers={"Authorization": f"Bearer {forged}"}).status_code
                except (httpx.InvalidURL, UnicodeEncodeError):
                    continue
                if status != 401:
                    found.append(f"{forged[:60]}: {status}")
            if len(provider.asked) > before:
                found.append(f"{len(provider.asked) - before} fetches")
    provider.server.shutdown()
    return made, found
