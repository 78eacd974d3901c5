"""API keys: whose token it is, until when, and what it may do."""

import pytest
import sqlalchemy as sa

from rag.errors import ConfigError
from rag.ports import Identity
from service.store.database import Database
from service.store.keys import Caller, Key, Keys, Rights, checked_scopes
from service.store.schema import keys as table


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


def found(keys: Keys, token: str) -> Key:
    key = keys.find(token)
    assert key is not None
    return key


def test_a_key_is_found_by_its_token_with_its_rights(keys: Keys) -> None:
    rights = Rights(
        scopes=("ask", "ingest"), tenant="acme", groups=("hr",), sources=("docs",), rate="9/minute", concurrent=2
    )
    key, token = keys.create("portal", rights)
    assert found(keys, token) == key
    assert (key.name, key.rights, key.is_valid) == ("portal", rights, True)


def test_the_secret_of_a_token_is_not_stored(database: Database, keys: Keys) -> None:
    _, token = keys.create("portal", Rights())
    with database.read() as connection:
        row = connection.execute(sa.select(table)).one()
    assert token.rsplit("_", 1)[1] not in str(row)


@pytest.mark.parametrize("token", ["", "cwk_", "cwk_000000000000_" + "a" * 43, "Bearer x"])
def test_a_token_of_no_key_is_none(keys: Keys, token: str) -> None:
    keys.create("portal", Rights())
    assert keys.find(token) is None


def test_another_secret_of_a_key_is_none(keys: Keys) -> None:
    key, token = keys.create("portal", Rights())
    _, other = keys.create("other", Rights())
    assert keys.find(f"cwk_{key.id}_{other[-43:]}") is None
    assert keys.find(token + "x") is None


@pytest.mark.parametrize(("expires_s", "valid"), [(None, True), (3600, True), (-1, False)])
def test_a_key_is_valid_until_it_expires(keys: Keys, expires_s: float | None, valid: bool) -> None:
    _, token = keys.create("portal", Rights(), expires_s=expires_s)
    assert found(keys, token).is_valid is valid


def test_a_revoked_key_is_still_known_and_no_more_valid(keys: Keys) -> None:
    key, token = keys.create("portal", Rights())
    keys.revoke(key.id)
    assert not found(keys, token).is_valid
    assert found(keys, token).as_dict()["valid"] is False
    assert keys.any()


def test_after_a_rotation_both_tokens_hold_for_the_overlap(keys: Keys) -> None:
    key, old = keys.create("portal", Rights())
    new = keys.rotate(key.id, overlap_s=3600)
    assert found(keys, old).id == found(keys, new).id == key.id
    assert new != old


def test_after_the_overlap_only_the_new_token_holds(keys: Keys) -> None:
    key, old = keys.create("portal", Rights())
    new = keys.rotate(key.id, overlap_s=-1)
    assert (keys.find(old), found(keys, new).id) == (None, key.id)


def test_an_unknown_key_is_told_with_where_to_look(keys: Keys) -> None:
    with pytest.raises(ConfigError, match=r"no key 'x'.*citewell keys list"):
        keys.revoke("x")
    with pytest.raises(ConfigError):
        keys.rotate("x", overlap_s=0)


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 201])
def test_a_name_is_one_line_of_a_bounded_length(keys: Keys, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid name for a key"):
        keys.create(name, Rights())
    assert not keys.any()


def test_keys_are_listed_oldest_first(keys: Keys) -> None:
    assert (keys.any(), keys.all()) == (False, [])
    made = [keys.create(name, Rights())[0] for name in ("b", "a")]
    assert (keys.any(), [key.name for key in keys.all()]) == (True, [key.name for key in made])


def test_an_administrator_may_do_everything_and_others_what_they_are_given() -> None:
    assert all(Rights(scopes=("admin",)).may(scope) for scope in ("ask", "ingest", "admin"))
    assert [Rights(scopes=("ingest",)).may(scope) for scope in ("ask", "ingest", "admin")] == [False, True, False]


def test_scopes_are_checked_and_put_in_order() -> None:
    assert checked_scopes(["admin", "ask"]) == ("ask", "admin")
    with pytest.raises(ConfigError, match=r"no scope write.*ask, ingest, admin"):
        checked_scopes(["ask", "write"])
    with pytest.raises(ConfigError, match="none given"):
        checked_scopes([])


def test_a_caller_sees_as_its_rights_say() -> None:
    caller = Caller(name="k", rights=Rights(tenant="acme", groups=("hr",)), subject="me")
    assert caller.identity == Identity(tenant="acme", groups=("hr",), subject="me")
