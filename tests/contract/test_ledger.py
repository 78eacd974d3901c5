"""What every ledger does for syncing (service/store/ledger/ports.py, Ledger).

A ledger of your own: subclass LedgerContract, with a fixture `ledger` that gives an empty one, and one, `expire`, that
ends the lease of a source as time does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from rag.boundary.secrets import remember
from rag.errors import LeaseLost, SourceBusy
from rag.events import Checkpoint, Listed, Unreadable
from rag.ports import LISTING
from service.store.database import Database
from service.store.ledger.memory import MemoryLedger
from service.store.ledger.ports import Changes, Lease, Ledger, ScopeCounts, StoredDocument
from service.store.ledger.stored import StoredLedger
from service.store.schema import leases, meta, metadata
from tests.support.databases import server_database

Expire = Callable[[str], None]
WRITES: dict[str, Callable[[Ledger, Lease], None]] = {
    "renew": lambda ledger, lease: ledger.renew(lease),
    "commit": lambda ledger, lease: ledger.commit(lease, Changes(changed=[stored("d2")])),
    "remove": lambda ledger, lease: ledger.remove(lease, ["d1"]),
    "forget_scopes": lambda ledger, lease: ledger.forget_scopes(lease, ["t"], ["d1"]),
    "drop_scope_notes": lambda ledger, lease: ledger.drop_scope_notes(lease, ["t"]),
    "listed": lambda ledger, lease: ledger.listed(lease, [Listed(scope="t")]),
    "clear_quarantine": lambda ledger, lease: ledger.clear_quarantine(lease),
    "start_format": lambda ledger, lease: ledger.start_format(lease, "new"),
    "read_anew": lambda ledger, lease: ledger.read_anew(lease),
    "set_generation": lambda ledger, lease: ledger.set_generation(lease, "new"),
}


def stored(document_id: str, *, scope: str = "t", version: str = "v1", chunks: Sequence[str] = ()) -> StoredDocument:
    return StoredDocument(document_id=document_id, scope=scope, version=version, chunk_ids=tuple(chunks))


def bad(document_id: str, *, scope: str = "t", reason: str = "broken") -> Unreadable:
    return Unreadable(document_id=document_id, scope=scope, reason=reason)


def commit(ledger: Ledger, changes: Changes, *, source: str = "shop") -> int:
    """Commit in a run of its own. Returns its number."""
    with ledger.lease(source) as lease:
        ledger.commit(lease, changes)
    return lease.run


def ids(documents: Sequence[StoredDocument]) -> list[str]:
    return sorted(document.document_id for document in documents)


def aside(ledger: Ledger, source: str = "shop") -> list[str]:
    return [entry["document_id"] for entry in ledger.quarantined(source)]


def noted(ledger: Ledger, source: str = "shop") -> set[tuple[str, str]]:
    return {(scope, name) for scope, name, _ in ledger.notes(source).find()}


class LedgerContract:
    @pytest.fixture
    def ledger(self) -> Ledger:
        raise NotImplementedError

    @pytest.fixture
    def expire(self, ledger: Ledger) -> Expire:
        raise NotImplementedError

    # Runs.

    def test_a_source_is_held_by_one_run_and_others_are_free(self, ledger: Ledger) -> None:
        taken = pytest.raises(SourceBusy, match="'shop' is being ingested by")
        with ledger.lease("shop"), ledger.lease("docs"), taken, ledger.lease("shop"):
            pass

    def test_a_run_that_fails_lets_its_source_go_and_the_next_has_a_higher_number(self, ledger: Ledger) -> None:
        with pytest.raises(ZeroDivisionError), ledger.lease("shop") as first:
            raise ZeroDivisionError
        with ledger.lease("shop") as second:
            assert second.run > first.run

    @pytest.mark.parametrize("call", WRITES)
    def test_a_run_that_was_taken_over_writes_nothing_more(self, ledger: Ledger, expire: Expire, call: str) -> None:
        commit(ledger, Changes(changed=[stored("d1")], unreadable=[bad("d9")], generation="old"))
        with ExitStack() as runs:
            first = runs.enter_context(ledger.lease("shop"))
            expire("shop")
            runs.enter_context(ledger.lease("shop"))
            with pytest.raises(LeaseLost, match="taken over source 'shop'"):
                WRITES[call](ledger, first)
        assert ledger.known("shop", ["d1", "d2"])["d1"].version == "v1"
        assert (ledger.counts("shop"), ledger.generation("shop"), aside(ledger)) == ((1, 0), "old", ["d9"])
        assert (ledger.format_of("shop"), noted(ledger)) == ("", set())

    def test_a_run_that_was_taken_over_does_not_free_the_source_at_its_end(
        self, ledger: Ledger, expire: Expire
    ) -> None:
        with ExitStack() as later:
            with ledger.lease("shop"):
                expire("shop")
                second = later.enter_context(ledger.lease("shop"))
            ledger.renew(second)
            with pytest.raises(SourceBusy), ledger.lease("shop"):
                pass

    def test_a_run_that_is_late_but_was_not_taken_over_goes_on(self, ledger: Ledger, expire: Expire) -> None:
        with ledger.lease("shop") as lease:
            expire("shop")
            ledger.renew(lease)
            with pytest.raises(SourceBusy), ledger.lease("shop"):
                pass

    def test_a_run_whose_successor_has_ended_is_lost_all_the_same(self, ledger: Ledger, expire: Expire) -> None:
        with ledger.lease("shop") as first:
            expire("shop")
            with ledger.lease("shop"):
                pass
            with pytest.raises(LeaseLost):
                ledger.renew(first)

    # Documents.

    def test_a_committed_document_is_known_with_its_chunks_in_order(self, ledger: Ledger) -> None:
        run = commit(ledger, Changes(changed=[stored("d1", chunks=["b", "a"])]))
        known = ledger.known("shop", ["d1", "d2"])
        assert known == {
            "d1": StoredDocument(document_id="d1", scope="t", version="v1", chunk_ids=("b", "a"), seen_run=run)
        }
        assert ledger.known("docs", ["d1"]) == {}

    def test_a_changed_document_takes_its_old_one_s_place(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored("d1", chunks=["a", "b"])]))
        commit(ledger, Changes(changed=[stored("d1", scope="u", version="v2", chunks=["c"])]))
        assert (ledger.counts("shop"), ledger.scopes("shop")) == ((1, 1), {"u"})
        assert ledger.known("shop", ["d1"])["d1"].version == "v2"

    def test_documents_and_chunks_are_counted_by_source_and_by_scope(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored("d1", chunks=["a", "b"]), stored("d2", scope="u", chunks=["c"])]))
        commit(ledger, Changes(changed=[stored("d3")]), source="docs")
        assert (ledger.counts("shop"), ledger.counts("docs"), ledger.counts("none")) == ((2, 3), (1, 0), (0, 0))
        assert ledger.counts_of("shop", "t") == ScopeCounts(documents=1, quarantined=0, absent=0)
        assert (ledger.scopes("shop"), ids(ledger.of_scope("shop", "u"))) == ({"t", "u"}, ["d2"])

    def test_pages_show_every_document_of_a_source_once(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored(f"d{number}") for number in range(5)]))
        commit(ledger, Changes(changed=[stored("other")]), source="docs")
        pages = list(ledger.pages("shop", size=2))
        assert [len(page) for page in pages] == [2, 2, 1]
        assert ids([document for page in pages for document in page]) == [f"d{number}" for number in range(5)]

    def test_more_documents_than_one_statement_holds_are_known_and_removed(self, ledger: Ledger) -> None:
        many = [f"d{number}" for number in range(1203)]
        commit(ledger, Changes(changed=[stored(document_id) for document_id in many]))
        assert len(ledger.known("shop", many)) == 1203
        with ledger.lease("shop") as lease:
            ledger.remove(lease, many[1:])
        assert ledger.counts("shop") == (1, 0)

    def test_a_withdrawn_document_is_forgotten(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored("d1"), stored("d2")]))
        commit(ledger, Changes(withdrawn=["d1"]))
        assert ids(ledger.of_scope("shop", "t")) == ["d2"]

    def test_what_a_run_did_not_meet_is_unseen(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored(f"d{number}") for number in range(1, 6)]))
        with ledger.lease("shop") as lease:
            ledger.commit(lease, Changes(changed=[stored("d1")], unchanged=["d2"], unreadable=[bad("d3")], met=["d4"]))
            assert ids(ledger.unseen(lease)) == ["d5"]

    # Quarantine.

    def test_what_could_not_be_read_is_set_aside_without_secrets(self, ledger: Ledger) -> None:
        remember(["a password that only this test knows"])
        reason = "refused with a password that only this test knows"
        commit(ledger, Changes(unreadable=[bad("d2"), bad("d1", reason=reason)]))
        first, second = ledger.quarantined("shop")
        assert (first["document_id"], first["reason"]) == ("d1", "refused with ***")
        assert (second["document_id"], second["reason"]) == ("d2", "broken")
        assert (ledger.quarantined("docs"), ledger.quarantined_scopes("shop")) == ([], {"t"})

    def test_what_is_set_aside_again_keeps_the_time_of_its_first_failure(self, ledger: Ledger) -> None:
        commit(ledger, Changes(unreadable=[bad("d1", reason="once")]))
        since = ledger.quarantined("shop")[0]["since"]
        commit(ledger, Changes(unreadable=[bad("d1", reason="twice")]))
        assert ledger.quarantined("shop") == [{"document_id": "d1", "reason": "twice", "since": since}]

    @pytest.mark.parametrize("well", [Changes(changed=[stored("d1")]), Changes(unchanged=["d1"])])
    def test_a_document_that_is_read_again_is_well(self, ledger: Ledger, well: Changes) -> None:
        commit(ledger, Changes(unreadable=[bad("d1"), bad("d2")]))
        commit(ledger, well)
        assert aside(ledger) == ["d2"]

    def test_what_is_set_aside_counts_as_absent_unless_it_is_indexed(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored("d1")]))
        commit(ledger, Changes(changed=[stored("d2")]), source="docs")
        commit(ledger, Changes(unreadable=[bad("d1"), bad("d2"), bad("d3", scope="u")]))
        assert ledger.counts_of("shop", "t") == ScopeCounts(documents=1, quarantined=2, absent=1)

    def test_a_run_that_met_everything_clears_what_it_did_not_find_unreadable(self, ledger: Ledger) -> None:
        commit(ledger, Changes(unreadable=[bad("d1"), bad("d2")]))
        with ledger.lease("shop") as lease:
            ledger.commit(lease, Changes(unreadable=[bad("d2")]))
            ledger.clear_quarantine(lease)
        assert aside(ledger) == ["d2"]

    def test_a_removed_document_is_forgotten_with_what_was_wrong_with_it(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored("d1"), stored("d2")], unreadable=[bad("d1"), bad("d3"), bad("d4")]))
        with ledger.lease("shop") as lease:
            ledger.remove(lease, ["d1", "d3"])
        assert (ids(ledger.of_scope("shop", "t")), aside(ledger)) == (["d2"], ["d4"])

    def test_scopes_of_what_is_set_aside_are_listed_anew_when_it_is_to_be_tried_again(self, ledger: Ledger) -> None:
        notes = [Checkpoint(scope=scope, name="table", head={}) for scope in ("t", "u")]
        commit(ledger, Changes(changed=[stored("d1")], unreadable=[bad("d2")], checkpoints=notes))
        ledger.retry("shop")
        assert noted(ledger) == {("t", LISTING), ("u", "table")}
        with ledger.lease("shop") as lease:
            assert ids(ledger.unlisted(lease, "t")) == ["d1"]

    # Notes and listings.

    def test_a_note_is_kept_by_scope_and_name_and_the_last_of_a_name_counts(self, ledger: Ledger) -> None:
        first = Checkpoint(scope="t", name="range", head={"n": 1}, body=b"rows")
        commit(ledger, Changes(checkpoints=[first, Checkpoint(scope="t", name="table", head={"at": (1, "x")})]))
        commit(ledger, Changes(checkpoints=[Checkpoint(scope="t", name="range", head={"n": n}) for n in (2, 3)]))
        notes = ledger.notes("shop")
        assert sorted(notes.find(scope="t")) == [("t", "range", {"n": 3}), ("t", "table", {"at": [1, "x"]})]
        assert (list(notes.find(name="table")), list(notes.find(scope="u"))) == ([("t", "table", {"at": [1, "x"]})], [])

    def test_the_body_of_a_note_comes_back_as_it_was_and_one_of_no_note_is_empty(self, ledger: Ledger) -> None:
        commit(ledger, Changes(checkpoints=[Checkpoint(scope="t", name="range", head={}, body=b"\x00rows")]))
        notes = ledger.notes("shop")
        assert (notes.body("t", "range"), notes.body("t", "other")) == (b"\x00rows", b"")

    def test_a_note_without_a_head_removes_the_one_of_its_name(self, ledger: Ledger) -> None:
        commit(ledger, Changes(checkpoints=[Checkpoint(scope="t", name=name, head={}) for name in ("a", "b")]))
        commit(ledger, Changes(checkpoints=[Checkpoint(scope="t", name="a", head=None)]))
        assert noted(ledger) == {("t", "b")}

    def test_notes_that_are_to_be_ignored_are_none(self, ledger: Ledger) -> None:
        commit(ledger, Changes(checkpoints=[Checkpoint(scope="t", name="table", head={})]))
        assert list(ledger.notes("shop", ignore=True).find()) == []
        assert list(ledger.notes("docs").find()) == []

    def test_a_listing_that_begins_drops_the_notes_of_its_scope_alone(self, ledger: Ledger) -> None:
        commit(ledger, Changes(checkpoints=[Checkpoint(scope=scope, name="a", head={}) for scope in ("t", "u")]))
        commit(ledger, Changes(listings=["t"], checkpoints=[Checkpoint(scope="t", name="b", head={})]))
        assert noted(ledger) == {("t", LISTING), ("t", "b"), ("u", "a")}

    def test_a_listing_misses_what_no_run_since_its_beginning_has_met(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored("d1"), stored("d2"), stored("d3"), stored("d4", scope="u")]))
        commit(ledger, Changes(listings=["t"], unchanged=["d1"]))
        with ledger.lease("shop") as lease:
            ledger.commit(lease, Changes(unchanged=["d2"]))
            assert ids(ledger.unlisted(lease, "t")) == ["d3"]

    def test_a_listing_that_goes_on_keeps_its_notes_and_only_what_they_say_it_has_met(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored("d1"), stored("d2")]))
        commit(
            ledger,
            Changes(listings=["t"], unchanged=["d1", "d2"], checkpoints=[Checkpoint(scope="t", name="a", head={})]),
        )
        with ledger.lease("shop") as lease:
            ledger.commit(lease, Changes(resumed=["t"], met=["d1"]))
            assert (ids(ledger.unlisted(lease, "t")), noted(ledger)) == (["d2"], {("t", LISTING), ("t", "a")})

    def test_without_a_listing_under_way_what_this_run_did_not_meet_is_unlisted(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored("d1"), stored("d2")]))
        with ledger.lease("shop") as lease:
            ledger.commit(lease, Changes(unchanged=["d1"]))
            assert ids(ledger.unlisted(lease, "t")) == ["d2"]

    def test_the_end_of_a_listing_keeps_its_note_and_forgets_what_it_did_not_find_unreadable(
        self, ledger: Ledger
    ) -> None:
        commit(ledger, Changes(unreadable=[bad("d1"), bad("d2"), bad("d3"), bad("d4", scope="u")]))
        with ledger.lease("shop") as lease:
            ledger.commit(lease, Changes(listings=["t"], unreadable=[bad("d1")], met=["d2"]))
            ledger.listed(lease, [Listed(scope="t", checkpoint=Checkpoint(scope="t", name="table", head={}))])
        assert (aside(ledger), noted(ledger)) == (["d1", "d2", "d4"], {("t", "table")})

    def test_what_a_broken_off_listing_found_unreadable_stays_when_the_listing_ends_later(self, ledger: Ledger) -> None:
        commit(ledger, Changes(listings=["t"], unreadable=[bad("d1")]))
        with ledger.lease("shop") as lease:
            ledger.listed(lease, [Listed(scope="t")])
        assert (aside(ledger), noted(ledger)) == (["d1"], set())

    def test_a_scope_that_is_no_more_loses_its_notes_and_what_was_set_aside(self, ledger: Ledger) -> None:
        notes = [Checkpoint(scope=scope, name="a", head={}) for scope in ("t", "u")]
        commit(ledger, Changes(checkpoints=notes, unreadable=[bad("d1"), bad("d2", scope="u")]))
        with ledger.lease("shop") as lease:
            ledger.drop_scope_notes(lease, ["t"])
        assert (aside(ledger), noted(ledger)) == (["d2"], {("u", "a")})

    def test_a_lost_document_waits_to_be_indexed_and_its_scope_is_listed_anew(self, ledger: Ledger) -> None:
        notes = [Checkpoint(scope="t", name="a", head={})]
        commit(ledger, Changes(changed=[stored("d1", chunks=["a"]), stored("d2", chunks=["b"])], checkpoints=notes))
        assert not ledger.has_pending("shop")
        with ledger.lease("shop") as lease:
            ledger.forget_scopes(lease, {"t"}, ["d1"])
        lost = ledger.known("shop", ["d1"])["d1"]
        assert (lost.version, lost.chunk_ids, ledger.counts("shop")) == ("", (), (2, 1))
        assert ledger.has_pending("shop")
        assert not ledger.has_pending("docs")
        assert noted(ledger) == {("t", LISTING)}

    # The format, and what the index bears.

    def test_another_format_drops_all_notes_of_the_source(self, ledger: Ledger) -> None:
        commit(ledger, Changes(checkpoints=[Checkpoint(scope="t", name="a", head={})]))
        commit(ledger, Changes(checkpoints=[Checkpoint(scope="t", name="a", head={})]), source="docs")
        assert ledger.format_of("shop") == ""
        with ledger.lease("shop") as lease:
            ledger.start_format(lease, "3/256")
        assert (ledger.format_of("shop"), ledger.format_of("docs")) == ("3/256", "")
        assert (noted(ledger), noted(ledger, "docs")) == (set(), {("t", "a")})

    def test_what_was_not_met_since_a_format_began_is_left_over_until_all_was_read(self, ledger: Ledger) -> None:
        commit(ledger, Changes(changed=[stored("d1"), stored("d2")]))
        with ledger.lease("shop") as lease:
            assert ledger.left_over(lease) == []
            ledger.start_format(lease, "3/256")
            ledger.commit(lease, Changes(unchanged=["d1"]))
        with ledger.lease("shop") as lease:
            assert ids(ledger.left_over(lease)) == ["d2"]
            ledger.read_anew(lease)
            assert ledger.left_over(lease) == []
            assert ledger.format_of("shop") == "3/256"

    def test_the_generation_is_that_of_the_last_commit_that_wrote_points(self, ledger: Ledger) -> None:
        assert ledger.generation("shop") == ""
        commit(ledger, Changes(generation="first"))
        commit(ledger, Changes(unchanged=["d1"]))
        assert (ledger.generation("shop"), ledger.generation("docs")) == ("first", "")
        with ledger.lease("shop") as lease:
            ledger.remove(lease, ["d1"])
            assert ledger.generation("shop") == "first"
            ledger.remove(lease, ["d1"], generation="second")
            assert ledger.generation("shop") == "second"
            ledger.set_generation(lease, "")
        assert ledger.generation("shop") == ""


class StoredLedgerContract(LedgerContract):
    @pytest.fixture
    def database(self) -> Database:
        raise NotImplementedError

    @pytest.fixture
    def ledger(self, database: Database) -> Iterator[Ledger]:
        yield StoredLedger(database)
        with database.write() as connection:
            for table in metadata.sorted_tables:
                if table is not meta:
                    connection.execute(sa.delete(table))

    @pytest.fixture
    def expire(self, database: Database) -> Expire:
        def end(source: str) -> None:
            with database.write() as connection:
                connection.execute(sa.update(leases).where(leases.c.source == source).values(expires_at=0.0))

        return end


class TestMemoryLedger(LedgerContract):
    @pytest.fixture
    def ledger(self) -> Ledger:
        return MemoryLedger()

    @pytest.fixture
    def expire(self, ledger: MemoryLedger) -> Expire:
        return ledger.expire


class TestLedgerOnSqlite(StoredLedgerContract):
    @pytest.fixture(scope="class")
    def database(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
        folder: Path = tmp_path_factory.mktemp("ledger")
        yield from opened(f"sqlite:///{folder / 'state.sqlite'}")


class TestLedgerOnPostgres(StoredLedgerContract):
    @pytest.fixture(scope="class")
    def database(self) -> Iterator[Database]:
        with server_database("postgresql") as url:
            yield from opened(url)


def opened(url: str) -> Iterator[Database]:
    database = Database.open(url)
    yield database
    database.close()
