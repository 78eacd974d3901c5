"""How a caller is known."""

import asyncio
import time
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from rag.errors import StateUnavailable
from rag.ports import Identity
from service.http.access.authenticator import Authenticator
from service.settings.sections import Settings
from service.store.database import Database
from service.store.keys import RIGHTS, Caller, Key, Keys, Right, Rights


class CountingKeys(Keys):
    """asked: the look-ups, by name."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked: list[str] = []

    def find(self, token: str) -> Key | None:
        self.asked.append("find")
        return super().find(token)

    def any(self) -> bool:
        self.asked.append("any")
        return super().any()


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


@pytest.fixture
def keys(state: Database) -> CountingKeys:
    return CountingKeys(state)


def authenticator(keys: Keys, **sections: Any) -> Authenticator:
    return Authenticator(Settings.model_validate(sections), keys)


def known(made: Authenticator, authorization: str, needs: Right | None = None) -> Caller:
    return asyncio.run(made.caller(authorization, needs))


def refused(made: Authenticator, authorization: str, needs: Right | None = None) -> tuple[int, str, str]:
    with pytest.raises(HTTPException) as refusal:
        known(made, authorization, needs)
    return refusal.value.status_code, refusal.value.detail, (refusal.value.headers or {}).get("WWW-Authenticate", "")


def test_until_a_first_key_is_made_everybody_is_the_configured_identity_with_every_right(keys: CountingKeys) -> None:
    made = authenticator(keys, identity={"tenant": "acme", "groups": ["hr"]})
    caller = known(made, "", "admin")
    assert (caller.name, caller.rights.scopes, caller.subject) == ("anybody", RIGHTS, "")
    assert caller.identity == Identity(tenant="acme", groups=("hr",))


def test_once_a_key_is_made_every_request_needs_one(keys: CountingKeys) -> None:
    keys.create("shop", Rights())
    status, detail, challenge = refused(authenticator(keys), "")
    assert (status, challenge) == (401, "Bearer")
    assert "`citewell keys create` creates one" in detail


@pytest.mark.parametrize("authorization", ["Basic x", "Bearer", "Bearer   ", "cwk_1"])
def test_what_is_no_bearer_token_is_refused(keys: CountingKeys, authorization: str) -> None:
    keys.create("shop", Rights())
    assert refused(authenticator(keys), authorization)[0] == 401


def test_a_caller_has_their_keys_rights_and_is_known_by_its_id(keys: CountingKeys) -> None:
    key, token = keys.create("shop", Rights(tenant="acme", groups=("hr",)))
    caller = known(authenticator(keys), f"bearer  {token}")
    assert (caller.name, caller.subject, caller.rights) == (key.id, key.id, key.rights)


@pytest.mark.parametrize("token", ["cwk_000000000000_" + 43 * "x", "cwk_", "another", "cwk_\udcff"])
def test_an_unknown_token_is_refused(keys: CountingKeys, token: str) -> None:
    keys.create("shop", Rights())
    encoded = token.encode("utf-8", "replace").decode()
    assert refused(authenticator(keys), f"Bearer {encoded}")[::2] == (401, 'Bearer error="invalid_token"')


def test_a_key_without_the_right_is_told_which_it_has(keys: CountingKeys) -> None:
    _, token = keys.create("shop", Rights(scopes=("ask", "ingest")))
    made = authenticator(keys)
    assert known(made, f"Bearer {token}", "ingest")
    assert refused(made, f"Bearer {token}", "admin")[:2] == (
        403,
        "This needs the scope 'admin'; the key has: ask, ingest.",
    )


def test_an_administrators_key_may_do_everything(keys: CountingKeys) -> None:
    _, token = keys.create("ops", Rights(scopes=("admin",)))
    assert known(authenticator(keys), f"Bearer {token}", "ask")


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_key_that_has_ended_is_unknown(keys: CountingKeys, how: str) -> None:
    key, token = keys.create("shop", Rights(), expires_s=-1.0 if how == "expired" else None)
    if how == "revoked":
        keys.revoke(key.id)
    assert refused(authenticator(keys), f"Bearer {token}")[0] == 401


def test_a_key_is_looked_up_once_a_second(keys: CountingKeys, clock: Clock) -> None:
    key, token = keys.create("shop", Rights())
    made = authenticator(keys)
    for clock.now in (1000.0, 1000.5, 1000.99):
        known(made, f"Bearer {token}")
    assert keys.asked == ["any", "find"]
    keys.revoke(key.id)
    clock.now = 1001.0
    assert refused(made, f"Bearer {token}")[0] == 401
    assert keys.asked == ["any", "find", "find"]


def test_a_token_of_no_key_is_looked_up_once_a_second_too(keys: CountingKeys, clock: Clock) -> None:
    keys.create("shop", Rights())
    made = authenticator(keys)
    for _ in range(3):
        refused(made, "Bearer cwk_nonsense")
    assert keys.asked == ["any", "find"]


def test_whether_there_is_a_key_is_looked_up_once_a_second_until_there_is_one(keys: CountingKeys, clock: Clock) -> None:
    made = authenticator(keys)
    for clock.now in (1000.0, 1000.9, 1001.0):
        known(made, "")
    assert keys.asked == ["any", "any"]
    keys.create("shop", Rights())
    for clock.now in (1002.0, 1005.0):
        refused(made, "")
    assert keys.asked == ["any", "any", "any"]


def test_a_first_key_closes_the_service_within_a_second(keys: CountingKeys, clock: Clock) -> None:
    made = authenticator(keys)
    known(made, "")
    keys.create("shop", Rights())
    assert known(made, "").name == "anybody"
    clock.now += 1
    assert refused(made, "")[0] == 401


def test_only_the_latest_tokens_are_remembered(
    keys: CountingKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.http.access.authenticator._KEPT", 2)
    keys.create("shop", Rights())
    made = authenticator(keys)
    for number in (1, 2, 3, 3, 2, 1):
        refused(made, f"Bearer cwk_{number}")
    assert keys.asked.count("find") == 4


def test_with_a_provider_there_is_no_open_door(keys: CountingKeys) -> None:
    oidc = {"issuer": "https://id.example", "audience": "citewell"}
    made = authenticator(keys, auth={"oidc": oidc})
    assert asyncio.run(made.is_closed())
    assert refused(made, "")[0] == 401
    assert refused(made, "Bearer no.token.atall")[0] == 401
    assert keys.asked == []


def test_a_store_that_is_away_lets_nobody_in(keys: CountingKeys) -> None:
    _, token = keys.create("shop", Rights())

    class Away(CountingKeys):
        def find(self, token: str) -> Key | None:
            raise StateUnavailable("away")

    made = authenticator(Away(keys._database))
    with pytest.raises(StateUnavailable):
        known(made, f"Bearer {token}")
