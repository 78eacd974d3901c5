"""Conversations kept by id: each turn as it was sent, so that the next prompt begins with the same text."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from rag.documents import Document, Passage
from rag.errors import StateUnavailable
from rag.ports import Identity
from rag.types import Turn
from service.store.database import Database
from service.store.ledger.moved import forget_moved, where_now
from service.store.ledger.ports import Moved
from service.store.schema import conversations

_MOST_TURNS = 200
_ATTEMPTS = 5


class Conversations:
    """Turns in the state store. A conversation belongs to the key, tenant and groups that began it."""

    def __init__(self, database: Database, *, keep_s: float) -> None:
        """keep_s: how long a turn is kept, in seconds."""
        self._database = database
        self._keep_s = keep_s

    def turns(self, conversation_id: str, identity: Identity) -> list[Turn]:
        """The turns of a conversation, oldest first; none when it is unknown or out of date."""
        key = _key(conversation_id, identity)
        query = sa.select(conversations.c.body).where(
            conversations.c.conversation == key, conversations.c.at > time.time() - self._keep_s
        )
        with self._database.read() as connection:
            bodies = connection.scalars(query.order_by(conversations.c.at, conversations.c.turn)).all()
            turns = [_turn(json.loads(body)) for body in bodies[-_MOST_TURNS:]]
            moved = where_now(connection, {chunk_id for turn in turns for chunk_id in turn.stands_on})
        return [_followed(turn, moved) for turn in turns] if moved else turns

    def add(self, conversation_id: str, identity: Identity, turn: Turn) -> None:
        """Put a turn behind those there are, and remove what is out of date."""
        key, now = _key(conversation_id, identity), time.time()
        body = json.dumps(asdict(turn), ensure_ascii=False)
        last = sa.select(sa.func.max(conversations.c.turn)).where(conversations.c.conversation == key)
        for attempt in range(_ATTEMPTS):
            try:
                with self._database.write() as connection:
                    connection.execute(sa.delete(conversations).where(conversations.c.at <= now - self._keep_s))
                    forget_moved(connection, now - self._keep_s)
                    number = (connection.scalar(last) or 0) + 1
                    row = {"conversation": key, "turn": number, "at": now, "body": body}
                    connection.execute(sa.insert(conversations).values(**row))
                return
            except sa.exc.IntegrityError as err:  # another request of the same conversation was faster
                if attempt == _ATTEMPTS - 1:
                    raise StateUnavailable(f"A turn was refused by the state store {_ATTEMPTS} times.") from err

    def forget(self, conversation_id: str, identity: Identity, *, last: int | None = None) -> None:
        """Remove a conversation's turns, or only the last ones, so that a question can be asked differently."""
        own = conversations.c.conversation == _key(conversation_id, identity)
        gone = sa.delete(conversations).where(own)
        with self._database.write() as connection:
            if last is not None:
                mine = sa.select(conversations.c.turn).where(own)
                turns = connection.scalars(mine.order_by(conversations.c.turn.desc()).limit(last)).all()
                gone = gone.where(conversations.c.turn.in_(turns))
            connection.execute(gone)


def without_lost(turns: Sequence[Turn], visible: set[str]) -> list[Turn]:
    """The turns without those that stand on a passage that is gone, has changed, or may not be seen any more."""
    return [turn for turn in turns if visible.issuperset(turn.stands_on)]


def _followed(turn: Turn, moved: Mapping[str, Moved]) -> Turn:
    """A turn with the ids that its passages have now; their labels stay as they stand in its text."""

    def now(chunk_ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(moved[chunk_id].new if chunk_id in moved else chunk_id for chunk_id in chunk_ids)

    passages = []
    for passage in turn.passages:
        documents = [moved[chunk_id].document_id for chunk_id in passage.chunk_ids if chunk_id in moved]
        document = replace(passage.document, id=documents[0]) if documents else passage.document
        passages.append(replace(passage, document=document, chunk_ids=now(passage.chunk_ids)))
    return replace(turn, passages=tuple(passages), stands_on=now(turn.stands_on))


def _key(conversation_id: str, identity: Identity) -> str:
    owner = json.dumps([identity.tenant, sorted(identity.groups), identity.subject, conversation_id])
    return hashlib.sha256(owner.encode()).hexdigest()


def _turn(body: Mapping[str, Any]) -> Turn:
    passages = tuple(_passage(stored) for stored in body["passages"])
    return Turn(
        question=body["question"],
        asked=body["asked"],
        answer=body["answer"],
        passages=passages,
        stands_on=tuple(body["stands_on"]),
    )


def _passage(stored: Mapping[str, Any]) -> Passage:
    document = stored["document"]
    tuples = {name: tuple(document[name]) for name in ("acl", "tags")}
    restored = Document(**{**document, **tuples, "sections": ()})
    return Passage(**{**stored, "document": restored, "chunk_ids": tuple(stored["chunk_ids"])})
