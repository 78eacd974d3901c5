"""What a Source promises (rag/ports.py), asked of every one that we have.

To run it over a connector of your own, subclass SourceContract, or IncrementalSourceContract where a read with notes
yields only what changed, and give it a `place`: something that the source reads and that can be changed.
"""

import itertools
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
import sqlalchemy as sa

from connectors.files.source import FilesSource
from connectors.sql.changes.patience import Patience
from connectors.sql.source import SqlSource
from rag.documents import Document
from rag.errors import SourceError
from rag.events import (
    Checkpoint,
    CheckpointGroup,
    Listed,
    Listing,
    ScopeComplete,
    ScopeFailed,
    SnapshotComplete,
    SourceEvent,
    Upsert,
)
from rag.fakes import ListSource
from rag.ports import Source
from tests.support.databases import change, server_database
from tests.support.following import Follower

TEXTS = {f"album {n}": f"sleeve notes of record {n}" for n in range(1, 6)}


class Place(Protocol):
    """What a source reads. A document is made of each name, with its text in it."""

    @property
    def source(self) -> Source: ...

    @property
    def unreachable(self) -> Source:
        """One of the same kind, of a place that is not there."""

    @property
    def edge(self) -> int:
        """How many documents a read with notes yields that did not change: those at the edge of a time."""

    def put(self, name: str, text: str) -> None:
        """Add, or change, what a document is made of."""

    def remove(self, name: str) -> None: ...


def texts_of(documents: dict[str, Document]) -> set[str]:
    """The texts that were put into a place and that stand in some documents."""
    words = {text for document in documents.values() for text in _put_into(document)}
    assert len(words) == len(documents), "each document has a text of its own"
    return words


def _put_into(document: Document) -> Iterator[str]:
    for line in document.text.splitlines():
        at = line.find("sleeve notes")
        if at >= 0:
            yield line[at:]


def check_grammar(events: list[SourceEvent]) -> None:
    """That events stand in an order that whoever follows them can rely on."""
    listing: set[str] = set()
    yielded: set[str] = set()
    ended: set[str] = set()
    assert not any(isinstance(event, SnapshotComplete) for event in events[:-1])
    for event in events:
        match event:
            case Listing(scope=scope):
                assert scope not in listing | ended, "a scope is listed once"
                listing.add(scope)
            case Listed(scope=scope):
                assert scope in listing, "Listed follows Listing"
                listing.remove(scope)
            case Upsert(document=document):
                assert document.id not in yielded or document.scope not in listing, "a listing yields a document once"
                assert document.scope not in ended, "nothing of a scope comes after its end"
                yielded.add(document.id)
            case ScopeComplete(scope=scope) | ScopeFailed(scope=scope):
                assert scope not in ended, "a scope ends once"
                assert isinstance(event, ScopeFailed) or scope not in listing, "Listed comes before the scope's end"
                listing.discard(scope)
                ended.add(scope)
            case SnapshotComplete(scopes=scopes):
                assert listing == set(), "every listing has ended"
                assert ended <= scopes, "a scope that ended is one of the source's"


class SourceContract:
    """What holds for every source, also for one that reads everything every time.

    step: a read is broken off after every so many events.
    """

    step = 1

    @pytest.fixture
    def place(self) -> Iterator[Place]:
        raise NotImplementedError

    @pytest.fixture
    def follower(self, place: Place) -> Follower:
        """Follows the source, of which nothing has been read yet, and which has all of TEXTS."""
        for name, text in TEXTS.items():
            place.put(name, text)
        return Follower(source=place.source)

    def test_a_first_read_yields_everything_once_and_ends_whole(self, follower: Follower) -> None:
        events = follower.read()
        assert [isinstance(event, SnapshotComplete) for event in events].index(True) == len(events) - 1
        assert sum(isinstance(event, Upsert) for event in events) == len(TEXTS)
        assert texts_of(follower.documents) == set(TEXTS.values())

    def test_a_document_says_what_it_is_cited_by(self, follower: Follower) -> None:
        events = follower.read()
        assert isinstance(events[-1], SnapshotComplete)
        for document in follower.documents.values():
            assert document.source == "shop"
            assert document.title
            assert document.uri
            assert document.scope in events[-1].scopes

    def test_events_stand_in_the_order_that_their_follower_relies_on(self, place: Place, follower: Follower) -> None:
        check_grammar(follower.read())
        place.put("album 3", "sleeve notes, revised")
        place.remove("album 4")
        check_grammar(follower.read())

    def test_reading_twice_without_notes_gives_the_same_documents(self, place: Place, follower: Follower) -> None:
        one, other = ([e.document for e in place.source.read() if isinstance(e, Upsert)] for _ in range(2))
        assert one == other

    def test_a_document_that_changed_keeps_its_id_and_has_its_new_text(self, place: Place, follower: Follower) -> None:
        follower.read()
        before = set(follower.documents)
        place.put("album 3", "sleeve notes, revised")
        follower.read()
        assert set(follower.documents) == before
        assert texts_of(follower.documents) == {*TEXTS.values(), "sleeve notes, revised"} - {TEXTS["album 3"]}

    def test_a_document_that_came_is_found(self, place: Place, follower: Follower) -> None:
        follower.read()
        place.put("album 9", "sleeve notes of a new record")
        follower.read()
        assert texts_of(follower.documents) == {*TEXTS.values(), "sleeve notes of a new record"}

    def test_a_document_that_is_gone_is_told(self, place: Place, follower: Follower) -> None:
        follower.read()
        place.remove("album 1")
        place.remove("album 5")
        follower.read()
        assert texts_of(follower.documents) == set(TEXTS.values()) - {TEXTS["album 1"], TEXTS["album 5"]}

    def test_a_read_that_is_broken_off_loses_nothing_and_the_next_one_ends_it(
        self, place: Place, follower: Follower
    ) -> None:
        follower.read()
        old = set(follower.documents)
        place.put("album 2", "sleeve notes, revised")
        place.remove("album 4")
        place.put("album 9", "sleeve notes of a new record")
        wanted = {*TEXTS.values(), "sleeve notes, revised", "sleeve notes of a new record"}
        wanted -= {TEXTS["album 2"], TEXTS["album 4"]}
        for stop_after in itertools.count(step=self.step):
            broken = replace(follower, documents=dict(follower.documents), notes=deepcopy(follower.notes))
            whole = broken.read(stop_after=stop_after)
            assert len(old - set(broken.documents)) <= 1
            broken.read()
            assert texts_of(broken.documents) == wanted, f"broken off after {stop_after} events"
            if len(whole) < stop_after:
                break

    def test_a_first_read_that_is_broken_off_is_ended_by_the_next_one(self, place: Place, follower: Follower) -> None:
        for stop_after in itertools.count(step=self.step):
            broken = Follower(source=place.source)
            whole = broken.read(stop_after=stop_after)
            assert set(broken.documents) >= {e.document.id for e in whole if isinstance(e, Upsert)}
            broken.read()
            assert texts_of(broken.documents) == set(TEXTS.values()), f"broken off after {stop_after} events"
            if len(whole) < stop_after:
                break

    def test_a_place_that_is_not_there_is_a_source_error_and_no_empty_source(self, place: Place) -> None:
        with pytest.raises(SourceError):
            list(place.unreachable.read())


class IncrementalSourceContract(SourceContract):
    """What holds, too, for a source that notes what it has read."""

    def test_a_read_with_notes_yields_nothing_when_nothing_changed(self, place: Place, follower: Follower) -> None:
        follower.read()
        assert len(follower.changed()) <= place.edge
        assert texts_of(follower.documents) == set(TEXTS.values())

    def test_a_read_with_notes_yields_only_what_changed(self, place: Place, follower: Follower) -> None:
        follower.read()
        place.put("album 3", "sleeve notes, revised")
        place.put("album 9", "sleeve notes of a new record")
        place.remove("album 5")
        changed = follower.changed()
        assert len(changed) <= 2 + place.edge
        new = {"sleeve notes, revised", "sleeve notes of a new record"}
        assert texts_of({i: follower.documents[i] for i in changed}) >= new

    def test_notes_come_back_from_json_as_they_went(self, follower: Follower) -> None:
        """Follower keeps them as JSON: what does not survive that would be read anew every time."""
        notes = [note for event in follower.read() for note in _notes_in(event)]
        assert notes
        assert all(note.scope in {d.scope for d in follower.documents.values()} for note in notes)


def _notes_in(event: SourceEvent) -> list[Checkpoint]:
    match event:
        case Checkpoint():
            return [event]
        case CheckpointGroup():
            return list(event.parts)
        case Listed(checkpoint=Checkpoint() as note):
            return [note]
    return []


class ListPlace:
    edge = 0

    def __init__(self) -> None:
        self.source = ListSource()
        self.unreachable = ListSource([SourceError("The list is not there.")])

    def put(self, name: str, text: str) -> None:
        self.remove(name)
        self.source.items.append(
            Document(id=name, source="shop", scope="albums", title=name, text=text, uri=f"list:{name}")
        )

    def remove(self, name: str) -> None:
        self.source.items = [item for item in self.source.items if not isinstance(item, Document) or item.id != name]


class TestListSource(SourceContract):
    @pytest.fixture
    def place(self) -> ListPlace:
        return ListPlace()


@dataclass(frozen=True, kw_only=True)
class FilesPlace:
    folder: Path
    edge: int = 0

    @property
    def source(self) -> FilesSource:
        return FilesSource(name="shop", paths=("docs/**/*",), root=self.folder)

    @property
    def unreachable(self) -> FilesSource:
        return FilesSource(name="shop", paths=("elsewhere/**/*",), root=self.folder)

    def put(self, name: str, text: str) -> None:
        path = self.folder / "docs" / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {name}\n\n{text}\n")

    def remove(self, name: str) -> None:
        (self.folder / "docs" / f"{name}.md").unlink()


class TestFilesSource(IncrementalSourceContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> FilesPlace:
        return FilesPlace(folder=tmp_path)


@dataclass(frozen=True, kw_only=True)
class TablePlace:
    """A table with rows, and how it is read."""

    url: str
    options: dict[str, Any]
    edge: int = 0

    def make(self) -> None:
        change(
            self.url,
            "DROP TABLE IF EXISTS album",
            "DROP TABLE IF EXISTS clock",
            "CREATE TABLE album (id INTEGER PRIMARY KEY, title VARCHAR(40), notes TEXT, moved INTEGER NOT NULL)",
            "CREATE TABLE clock (now INTEGER NOT NULL PRIMARY KEY)",
            "INSERT INTO clock VALUES (1)",
        )

    @property
    def source(self) -> SqlSource:
        return SqlSource(name="shop", url=self.url, tables=("album",), **self.options)

    @property
    def unreachable(self) -> SqlSource:
        gone = sa.make_url(self.url).set(database=f"{sa.make_url(self.url).database}_gone")
        return SqlSource(name="shop", url=gone.render_as_string(hide_password=False))

    def put(self, name: str, text: str) -> None:
        number = int(name.split()[1])
        values = f"{number}, '{name}', '{text}', (SELECT now FROM clock)"
        change(
            self.url,
            "UPDATE clock SET now = now + 1",
            f"DELETE FROM album WHERE id = {number}",
            f"INSERT INTO album VALUES ({values})",
        )

    def remove(self, name: str) -> None:
        change(self.url, f"DELETE FROM album WHERE id = {int(name.split()[1])}")


class SqlContract(IncrementalSourceContract):
    """Of a database that `url` makes. Every row is compared, or those first that a column says have changed."""

    @pytest.fixture(params=["compared", "by a column that moves"])
    def place(self, url: str, request: pytest.FixtureRequest) -> TablePlace:
        if request.param == "compared":
            place = TablePlace(url=url, options={})
        else:
            patience = Patience(reconcile_every=0)
            place = TablePlace(url=url, options={"cursors": {"album": "moved"}, "patience": patience}, edge=1)
        place.make()
        return place


class TestSqlSourceOnSqlite(SqlContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        (tmp_path / "shop.sqlite").touch()
        return f"sqlite:///{tmp_path / 'shop.sqlite'}"


class TestSqlSourceOnPostgres(SqlContract):
    step = 5

    @pytest.fixture(scope="class")
    def url(self) -> Iterator[str]:
        with server_database("postgresql") as url:
            yield url


class TestSqlSourceOnMariaDb(SqlContract):
    step = 5

    @pytest.fixture(scope="class")
    def url(self) -> Iterator[str]:
        with server_database("mariadb") as url:
            yield url


class TestQuery(SourceContract):
    """A named query is read whole every time."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        (tmp_path / "shop.sqlite").touch()
        query = {"tables": (), "query": "SELECT id, title, notes FROM album", "key": ("id",)}
        place = _QueryPlace(url=f"sqlite:///{tmp_path / 'shop.sqlite'}", options=query)
        place.make()
        return place


class _QueryPlace(TablePlace):
    @property
    def source(self) -> SqlSource:
        return SqlSource(name="shop", url=self.url, **self.options)
