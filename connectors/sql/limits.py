"""How long a database may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a statement may take, and how long one waits for a lock, in seconds; 0: what the server has set."""

    statement_timeout: float = 600
    lock_timeout: float = 60
