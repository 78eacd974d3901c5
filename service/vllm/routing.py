"""Which of several equal servers a request goes to, and which of them are left alone for a while."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rag.retrieval.breaker import Breaker


@dataclass(slots=True, kw_only=True, eq=False)
class Server:
    """A server that requests go to. under_way: how many are; wrote_at: last time, on time.monotonic()'s clock."""

    url: str
    name: str
    breaker: Breaker
    under_way: int = 0
    wrote_at: float = 0.0


class Routing:
    """Requests with the same affinity go to the same server; those without one go where the fewest are under way."""

    def __init__(self, urls: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.servers = tuple(
            Server(url=url, name=engine_name(place), breaker=Breaker(clock=clock)) for place, url in enumerate(urls)
        )

    def ranked(self, affinity: str) -> list[Server]:
        """The servers in the order in which they are tried: by rendezvous hashing, those that fail last."""

        def rank(server: Server) -> tuple[bool, int, int]:
            weight = int.from_bytes(hashlib.blake2b(f"{affinity}\0{server.url}".encode(), digest_size=8).digest())
            return server.breaker.is_open, 0 if affinity else server.under_way, -weight

        return sorted(self.servers, key=rank)

    def takes(self, server: Server) -> bool:
        """Whether a request may try a server now; one that fails is spared requests while another works."""
        return not (server.breaker.is_open and self._one_works) and server.breaker.allow()

    def trials(self) -> list[Server]:
        """The servers that are to be tried beside the requests now; where none works, a request tries each."""
        return [s for s in self.servers if s.breaker.is_open and self._one_works and s.breaker.allow()]

    @property
    def _one_works(self) -> bool:
        return not all(server.breaker.is_open for server in self.servers)


def engine_name(place: int) -> str:
    """What the language model's server at a place in llm.urls is called, where its URL does not belong."""
    return f"engine {place + 1}"
