"""Tokens of an OpenID Connect provider."""

import asyncio
import json
import time
from functools import lru_cache
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from starlette.exceptions import HTTPException

from service.http.access.oidc import Oidc
from service.settings.sections import OidcSettings
from service.store.keys import Caller

ISSUER = "https://id.example"


@lru_cache
def key(name: str = "k1") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class Provider:
    """Answers with the keys of these ids; asked: the URLs. fails: raised instead of an answer."""

    def __init__(self, *kids: str, use: str | None = "sig") -> None:
        self.kids, self.use = kids, use
        self.asked: list[str] = []
        self.fails: Exception | None = None

    def __call__(self, url: str) -> Any:
        self.asked.append(url)
        if self.fails is not None:
            raise self.fails
        if url.endswith("openid-configuration"):
            return {"jwks_uri": f"{ISSUER}/keys"}
        return {"keys": [self._public(kid) for kid in self.kids]}

    def _public(self, kid: str) -> dict[str, Any]:
        public: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(key(kid).public_key()))
        return public | {"kid": kid, "alg": "ES256"} | ({"use": self.use} if self.use else {})


def oidc(provider: Provider, **settings: Any) -> Oidc:
    return Oidc(OidcSettings(**{"issuer": ISSUER, "audience": "citewell", **settings}), get=provider)


def token(kid: str | None = "k1", *, signed_by: str = "k1", algorithm: str = "ES256", **claims: Any) -> str:
    own = {"iss": ISSUER, "aud": "citewell", "sub": "ann", "exp": time.time() + 60, "tenant": "acme"}
    own |= {"scope": "openid citewell:ask", "groups": ["hr"], **claims}
    kept = {name: value for name, value in own.items() if value is not None}
    secret: Any = key(signed_by) if algorithm == "ES256" else 40 * "s" if algorithm != "none" else None
    return jwt.encode(kept, secret, algorithm=algorithm, headers={"kid": kid} if kid is not None else None)


def known(made: Oidc, given: str) -> Caller | None:
    return asyncio.run(made.caller(given))


def test_a_user_has_the_rights_that_the_token_names() -> None:
    caller = known(oidc(Provider("k1")), token(scope="citewell:ingest citewell:nonsense other:admin"))
    assert caller is not None
    assert (caller.name, caller.subject) == ("oidc:ann", f"{ISSUER}|ann")
    assert (caller.rights.scopes, caller.rights.tenant, caller.rights.groups) == (("ingest",), "acme", ("hr",))


def test_claims_may_be_lists_or_words_and_have_other_names() -> None:
    made = oidc(Provider("k1"), tenant_claim="org", groups_claim="roles", scope_claim="scp", scope_prefix="")
    caller = known(made, token(org="umbrella", roles="hr it", scp=["ask", "admin"]))
    assert caller is not None
    assert (caller.rights.scopes, caller.rights.tenant, caller.rights.groups) == (
        ("ask", "admin"), "umbrella", ("hr", "it"),
    )  # fmt: skip


def test_a_claim_of_another_kind_gives_nothing() -> None:
    caller = known(oidc(Provider("k1")), token(scope=7, groups={"hr": 1}))
    assert caller is not None
    assert (caller.rights.scopes, caller.rights.groups) == ((), ())


@pytest.mark.parametrize("tenant", [None, "", 7, ["acme"]])
def test_a_user_of_no_tenant_is_not_known(tenant: object) -> None:
    assert known(oidc(Provider("k1")), token(tenant=tenant)) is None


def test_the_configured_tenant_goes_before_the_tokens() -> None:
    caller = known(oidc(Provider("k1"), tenant="umbrella"), token(tenant=None))
    assert caller is not None
    assert caller.rights.tenant == "umbrella"


@pytest.mark.parametrize(
    "given",
    [
        {"exp": 1.0}, {"exp": None}, {"iss": "https://evil.example"}, {"aud": "other"}, {"aud": None}, {"sub": None},
        {"nbf": 9e9}, {"exp": "soon"},
    ],
)  # fmt: skip
def test_a_token_with_a_claim_that_does_not_hold_is_refused(given: dict[str, Any]) -> None:
    assert known(oidc(Provider("k1")), token(**given)) is None


def test_clocks_may_differ_a_little() -> None:
    late = token(exp=time.time() - 20)
    assert known(oidc(Provider("k1")), late) is not None
    assert known(oidc(Provider("k1"), leeway_s=0), late) is None


def test_a_token_signed_by_another_key_is_refused() -> None:
    assert known(oidc(Provider("k1")), token(signed_by="k2")) is None


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_of_another_algorithm_is_refused_before_the_provider_is_asked(algorithm: str) -> None:
    provider = Provider("k1")
    assert known(oidc(provider), token(algorithm=algorithm)) is None
    assert provider.asked == []


@pytest.mark.parametrize("given", ["", "a.b", "a.b.c", 9000 * "x"])
def test_what_is_no_token_is_refused_before_the_provider_is_asked(given: str) -> None:
    provider = Provider("k1")
    assert known(oidc(provider), given) is None
    assert provider.asked == []


def test_a_token_that_names_no_key_is_refused() -> None:
    assert known(oidc(Provider("k1")), token(kid=None)) is None


def test_keys_are_found_through_the_issuer_unless_their_url_is_configured() -> None:
    provider = Provider("k1")
    known(oidc(provider), token())
    assert provider.asked == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]
    provider.asked.clear()
    known(oidc(provider, jwks_url="https://keys.example"), token())
    assert provider.asked == ["https://keys.example"]


def test_keys_that_are_for_encryption_sign_nothing() -> None:
    assert known(oidc(Provider("k1", use="enc")), token()) is None
    assert known(oidc(Provider("k1", use=None)), token()) is not None


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


def ask(made: Oidc, given: str) -> Caller | None:
    """As a caller whose request also waits for a fetch that was begun beside it."""
    found = known(made, given)
    if made._fetch is not None:
        made._fetch.result(5)
    return found


def test_the_provider_is_asked_once_for_many_tokens(clock: Clock) -> None:
    provider = Provider("k1")
    made = oidc(provider, jwks_url="https://keys.example")
    for clock.now in (1000.0, 1001.0, 1149.0):
        assert ask(made, token()) is not None
    assert len(provider.asked) == 1


def test_keys_are_fetched_again_beside_the_requests_before_they_are_too_old(clock: Clock) -> None:
    provider = Provider("k1")
    made = oidc(provider, jwks_url="https://keys.example")
    ask(made, token())
    clock.now = 1151.0
    provider.kids = ("k2",)
    assert ask(made, token()) is not None
    assert len(provider.asked) == 2
    assert ask(made, token()) is None


def test_made_up_key_ids_make_one_fetch_in_half_a_minute(clock: Clock) -> None:
    provider = Provider("k1")
    made = oidc(provider, jwks_url="https://keys.example")
    for number in range(5):
        assert ask(made, token(kid=f"made-up-{number}")) is None
    assert len(provider.asked) == 1
    clock.now += 31
    assert ask(made, token(kid="made-up")) is None
    assert len(provider.asked) == 2


def test_a_new_key_of_the_provider_is_found(clock: Clock) -> None:
    provider = Provider("k1")
    made = oidc(provider, jwks_url="https://keys.example")
    ask(made, token())
    provider.kids = ("k1", "k2")
    clock.now += 31
    assert ask(made, token(kid="k2", signed_by="k2")) is not None


@pytest.mark.parametrize("fails", [httpx.ConnectError("away"), ValueError("no JSON"), KeyError("keys"), OSError()])
def test_a_provider_that_does_not_answer_is_not_the_callers_fault(clock: Clock, fails: Exception) -> None:
    provider = Provider("k1")
    provider.fails = fails
    with pytest.raises(HTTPException) as refusal:
        ask(oidc(provider, jwks_url="https://keys.example"), token())
    assert refusal.value.status_code == 503
    assert (refusal.value.headers or {})["Retry-After"] == "30"


def test_a_provider_that_went_away_leaves_its_keys_for_five_minutes(clock: Clock) -> None:
    provider = Provider("k1")
    made = oidc(provider, jwks_url="https://keys.example")
    ask(made, token())
    provider.fails = httpx.ConnectError("away")
    clock.now = 1299.0
    assert ask(made, token()) is not None
    clock.now = 1331.0
    with pytest.raises(HTTPException):
        ask(made, token())


@pytest.mark.parametrize("document", [{}, [], {"keys": 7}, {"keys": [{"kty": "nonsense"}]}, None])
def test_a_document_that_is_no_set_of_keys_is_as_none(clock: Clock, document: object) -> None:
    with pytest.raises(HTTPException, match="identity provider does not respond"):
        ask(Oidc(OidcSettings(issuer=ISSUER, audience="c", jwks_url="https://k"), get=lambda url: document), token())
