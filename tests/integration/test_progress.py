"""What a run tells of how far it is: of all there is to read, from its first batch on."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from connectors.files.source import FilesSource
from rag.errors import RunStopped
from service.syncing.sync import Options, Report, ingest
from tests.crash.harness import Setting
from tests.support.databases import change
from tests.support.stores import Store, fill

ROWS = 2000
FILLING = "of a long list of records, one of which is about the price of a thing that is on sale"


def told(store: Store) -> list[tuple[int, int]]:
    """Documents fetched and expected, as often as a run tells."""
    seen: list[tuple[int, int]] = []

    def note(report: Report) -> None:
        seen.append((report.fetched, report.expected))

    ingest(store.parts, "shop", store.setting.source, Options(), note)
    return seen


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("name", "price"), *((f"record {i} {FILLING}", i % 90) for i in range(ROWS))])


def write_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps({"name": f"record {i} {FILLING}", "price": i % 90}) + "\n" for i in range(ROWS)))


def write_json(path: Path) -> None:
    path.write_text(json.dumps([{"name": f"record {i} {FILLING}", "price": i % 90} for i in range(ROWS)]))


def write_xlsx(path: Path) -> None:
    book = openpyxl.Workbook()
    for sheet in (book.active, book.create_sheet()):
        sheet.append(["name", "price"])
        for i in range(ROWS // 2):
            sheet.append([f"record {i} {FILLING}", i % 90])
    book.save(path)


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_json, write_xlsx])
def test_files_are_told_by_their_bytes(tmp_path: Path, shared_data: Path, write: Callable[[Path], None]) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    write(folder / f"prices.{write.__name__.removeprefix('write_')}")
    (folder / "note.md").write_text("Closed on Mondays.")
    source = FilesSource(name="shop", root=folder, paths=(".",))
    store = Store(Setting(engine=shared_data / "qdrant", source=source, batch_documents=100, folder=tmp_path))
    seen = told(store)
    early = [expected for fetched, expected in seen if 200 <= fetched <= 600]
    assert early
    assert all(abs(expected - ROWS) < 0.2 * ROWS for expected in early), early
    assert seen[-1] == (ROWS + 1, ROWS + 1)
    store.close()


def test_the_rows_of_all_tables_are_told_from_the_first_batch_on(open_store: Any, database: str) -> None:
    fill(database, range(700), table="a")
    fill(database, range(500), table="b")
    change(database, "CREATE TABLE c (name VARCHAR(20))", "INSERT INTO c VALUES ('x'), ('y')")
    seen = told(open_store(database))
    assert {expected for fetched, expected in seen if fetched < 1200} == {1200}
    assert seen[-1] == (1202, 1202)  # a table without a key is counted as it is read


def test_the_rows_left_of_a_read_that_goes_on_are_told(open_store: Any, database: str) -> None:
    fill(database, range(1000), table="a")
    store = open_store(database)
    options = Options()

    def stop(report: Report) -> None:
        if report.fetched >= 500:
            options.stop.set()

    with pytest.raises(RunStopped):
        ingest(store.parts, "shop", store.setting.source, options, stop)
    fetched, expected = told(store)[-1]
    assert fetched == expected < 1000


def test_the_rows_that_changed_are_told(open_store: Any, database: str) -> None:
    if database.startswith("sqlite"):
        pytest.skip("SQLite has no hash function: its tables are scanned")
    fill(database, range(600), table="a")
    store = open_store(database)
    store.run()
    change(database, "UPDATE a SET name = 'new' WHERE id % 3 = 0")
    assert told(store)[-1] == (200, 200)
