"""The whole state store in one object, until its last users take the part that they need."""

import sqlalchemy as sa

from service.settings.sections import Settings
from service.store.conversations import Conversations
from service.store.database import Database
from service.store.jobs import Jobs
from service.store.keys import Keys
from service.store.ledger import StoredLedger
from service.store.overview import Overview
from service.store.ports import Changes, Lease, ScopeCounts, StoredDocument

__all__ = ["Changes", "Lease", "ScopeCounts", "State", "StoredDocument"]


class State(StoredLedger, Overview):
    @classmethod
    def configured(cls, settings: Settings) -> "State":
        """The state store of a configuration, as `open` does."""
        return cls.open(settings.state.url.get_secret_value() or f"sqlite:///{settings.data_dir / 'state.sqlite'}")

    @classmethod
    def open(cls, url: str) -> "State":
        return cls(Database.open(url))

    @property
    def _engine(self) -> sa.Engine:
        return self._database.engine

    def close(self) -> None:
        self._database.close()

    def conversations(self, *, keep_s: float) -> Conversations:
        return Conversations(self._database, keep_s=keep_s)

    def keys(self) -> Keys:
        return Keys(self._database)

    def jobs(self) -> Jobs:
        return Jobs(self._database)
