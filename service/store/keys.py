"""API keys: made by `citewell keys`, kept hashed in the state store."""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from rag.errors import ConfigError
from rag.ports import Identity
from service.store.database import Database
from service.store.schema import keys

Right = Literal["ask", "ingest", "admin"]
RIGHTS: tuple[Right, ...] = get_args(Right)
_NAME_CHARS = 200
_TOKEN = re.compile(r"cwk_([0-9a-f]{12})_([\w-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a caller may do, and how much of it.

    scopes: ask, ingest, admin (which is all); tenant, groups, sources (all when empty) and profiles (all when empty):
    what they may see; rate and concurrent: limits of their own, those of [limits] when empty or 0.
    """

    scopes: tuple[Right, ...] = ("ask",)
    tenant: str = "default"
    groups: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    rate: str = ""
    concurrent: int = 0

    def may(self, scope: Right) -> bool:
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key without its secret; times are seconds since 1970."""

    id: str
    name: str
    rights: Rights
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    @property
    def is_valid(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > time.time())

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"valid": self.is_valid}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a request. name: for logs; subject: what is theirs alone hangs on it."""

    name: str
    rights: Rights
    subject: str = ""

    @property
    def identity(self) -> Identity:
        return Identity(tenant=self.rights.tenant, groups=self.rights.groups, subject=self.subject)


class Keys:
    """Keys in the state store. A secret is shown once, when it is made: only its hash is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, rights: Rights, *, expires_s: float | None = None) -> tuple[Key, str]:
        """Make a key; its token is to be sent as `Authorization: Bearer TOKEN`. Raises ConfigError for a bad name."""
        if not name.strip() or not name.isprintable() or len(name) > _NAME_CHARS:
            raise ConfigError(
                f"{name[:80]!r} is not a valid name for a key: use 1 to {_NAME_CHARS} characters, on one line."
            )
        key_id, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), time.time()
        expires_at = None if expires_s is None else now + expires_s
        row = {"id": key_id, "name": name, "hash": _hash(secret), "old_hash": "", "old_until": 0.0}
        row |= {"rights": json.dumps(asdict(rights)), "created_at": now, "expires_at": expires_at}
        with self._database.write() as connection:
            connection.execute(sa.insert(keys).values(**row))
        key = Key(id=key_id, name=name, rights=rights, created_at=now, expires_at=expires_at, revoked_at=None)
        return key, f"cwk_{key_id}_{secret}"

    def find(self, token: str) -> Key | None:
        """The key that a token belongs to, valid or not; None for a token of no key."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(sa.select(keys).where(keys.c.id == match[1])).first()
        shown, now = _hash(match[2]), time.time()
        kept = (row.hash, row.old_hash if row.old_until > now else "") if row is not None else ("", "")
        is_current, is_old = (hmac.compare_digest(shown, each) for each in kept)
        return _key(row) if is_current or is_old else None

    def rotate(self, key_id: str, *, overlap_s: float) -> str:
        """Give a key a new token; the old one goes on for overlap_s. Raises ConfigError for an unknown key."""
        secret = secrets.token_urlsafe(32)
        with self._database.write() as connection:
            row = _row(connection, key_id)
            values = {"hash": _hash(secret), "old_hash": row.hash, "old_until": time.time() + overlap_s}
            connection.execute(sa.update(keys).where(keys.c.id == key_id).values(**values))
        return f"cwk_{key_id}_{secret}"

    def revoke(self, key_id: str) -> None:
        """End a key. Raises ConfigError for an unknown one."""
        with self._database.write() as connection:
            _row(connection, key_id)
            connection.execute(sa.update(keys).where(keys.c.id == key_id).values(revoked_at=time.time()))

    def all(self) -> list[Key]:
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(sa.select(keys).order_by(keys.c.created_at))]

    def any(self) -> bool:
        """Whether a key was ever made: from then on every request needs one, also when all are revoked."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.exists(sa.select(keys.c.id)))) is True


def checked_scopes(names: Sequence[str]) -> tuple[Right, ...]:
    """Scopes by name. Raises ConfigError listing those that there are."""
    wrong = [name for name in names if name not in RIGHTS]
    if wrong or not names:
        raise ConfigError(f"There is no scope {', '.join(wrong) or '(none given)'}. Scopes: {', '.join(RIGHTS)}.")
    return tuple(right for right in RIGHTS if right in names)


def _row(connection: sa.Connection, key_id: str) -> Any:
    row = connection.execute(sa.select(keys).where(keys.c.id == key_id)).first()
    if row is None:
        raise ConfigError(f"There is no key {key_id!r}. List them with `citewell keys list`.")
    return row


def _key(row: Any) -> Key:
    stored: dict[str, Any] = json.loads(row.rights)
    rights = Rights(**_tuples(stored))
    times = {"created_at": row.created_at, "expires_at": row.expires_at, "revoked_at": row.revoked_at}
    return Key(id=row.id, name=row.name, rights=rights, **times)


def _tuples(stored: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}


def _hash(secret: str) -> str:
    """A secret of 256 random bits needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
