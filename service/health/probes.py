"""The one list of what a deployment stands on, and how each part is tried."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rag.boundary.urls import without_credentials
from rag.ports import Generator
from service.schemas import CheckKind
from service.vllm.client import all_answer
from service.wiring import Services

InThread = Callable[[Callable[[], str]], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One part. place: where it is, for whoever runs this machine; empty where there is nothing to say.

    run: tries the part and says what it found, or raises; it is given a way to run what blocks.
    """

    kind: CheckKind
    name: str
    run: Callable[[InThread], Awaitable[str]]
    place: str = ""


def probes(services: Services, sources: Sequence[str]) -> list[Probe]:
    """The probes of some sources, and of all that sources share."""
    qdrant = services.settings.qdrant
    place = without_credentials(qdrant.url) or str(services.settings.data_dir / "qdrant")
    found = [_blocking("source", name, partial(_source, services, name)) for name in sources]
    found += [
        _blocking("state", "state store", partial(_state, services)),
        _blocking("index", "index", partial(_index, services), place=place),
        _blocking("embedder", "embedder", partial(_embedder, services)),
    ]
    generator = services.generator()
    return [*found, _engine(generator)] if generator is not None else found


def _blocking(kind: CheckKind, name: str, function: Callable[[], str], *, place: str = "") -> Probe:
    return Probe(kind=kind, name=name, run=lambda in_thread: in_thread(function), place=place)


def _engine(generator: Generator) -> Probe:
    return Probe(kind="engine", name="language model", run=lambda _: all_answer(generator))


def _source(services: Services, name: str) -> str:
    return services.catalogue.connector(name).check()


def _state(services: Services) -> str:
    services.overview().sources()
    return "it answers"


def _embedder(services: Services) -> str:
    embedder = services.collection.follow().embedder
    embedder.embed(["probe"])
    return embedder.name


def _index(services: Services) -> str:
    chunks = services.collection.follow().index.count()
    return f"{'Qdrant server' if services.settings.qdrant.url else 'embedded engine'}: {chunks} chunks"
