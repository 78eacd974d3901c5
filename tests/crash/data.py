"""Sources for the crash tests: a table and a folder, each with a first and a second state."""

import os
from pathlib import Path

import sqlalchemy as sa

from connectors.files.source import FilesSource
from connectors.sql.source import SqlSource
from tests.crash.harness import Data

_TIME = 1_700_000_000


def sentence(number: int, edition: int) -> str:
    return f"Record number {number} stands on shelf {number % 17}, edition {edition}."


def is_changed(number: int) -> bool:
    return number % 10 == 3


def is_deleted(number: int) -> bool:
    return number % 20 == 7


def table(url: str, size: int) -> Data:
    """A table of `size` rows; then a tenth of them changed, a twentieth deleted, a twentieth new."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    record = sa.Table(
        "record",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("about", sa.String(200)),
    )

    def fill(rows: dict[int, str]) -> None:
        with engine.begin() as connection:
            record.drop(connection, checkfirst=True)
            record.create(connection)
            connection.execute(sa.insert(record), [{"id": i, "about": about} for i, about in rows.items()])

    def first() -> None:
        fill({i: sentence(i, 1) for i in range(size)})

    def second() -> None:
        kept = {i: sentence(i, 2 if is_changed(i) else 1) for i in range(size) if not is_deleted(i)}
        fill(kept | {size + i: sentence(size + i, 1) for i in range(size // 20)})

    return Data(source=SqlSource(name="shop", url=url), first=first, second=second)


def folder(root: Path, size: int) -> Data:
    """A folder of `size` small files, changed like the table, with the times of the files fixed."""

    def write(number: int, edition: int) -> None:
        path = root / "docs" / f"{number % 7}" / f"{number}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Record {number}\n\n{sentence(number, edition)}\n")
        os.utime(path, (_TIME + edition, _TIME + edition))

    def first() -> None:
        for number in range(size):
            write(number, 1)
        for number in range(size, size + size // 20):
            (root / "docs" / f"{number % 7}" / f"{number}.md").unlink(missing_ok=True)

    def second() -> None:
        for number in range(size):
            if is_deleted(number):
                (root / "docs" / f"{number % 7}" / f"{number}.md").unlink()
            elif is_changed(number):
                write(number, 2)
        for number in range(size, size + size // 20):
            write(number, 1)

    return Data(source=FilesSource(name="shop", paths=("docs",), root=root), first=first, second=second)
