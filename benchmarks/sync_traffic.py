"""What a sync asks of its source: bytes, statements and rows on PostgreSQL and MariaDB; seconds over 20,000 files.

python -m benchmarks.sync_traffic  (QUICK=1: a tenth of the rows and files)

The database is read through a proxy that counts what it sends. Products refer to 100 makers; the first load, a run
that finds nothing new, 1 % of the rows changed all over the table, one maker renamed, 0.5 % deleted all over the table.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.common import QUICK, finish
from benchmarks.sync import ROWS, Citewell, Shop, databases, stop_engine
from connectors.files.source import FilesSource
from connectors.sql.source import SqlSource
from rag.fakes import HashEmbedder
from tests.support.network.counting_proxy import CountingProxy

FILES = 2_000 if QUICK else 20_000
SCENARIOS: tuple[tuple[str, Callable[[Shop], None]], ...] = (
    ("first load", lambda shop: None),
    ("unchanged", lambda shop: None),
    ("1% changed, spread", lambda shop: shop.change(0.01)),
    ("a label renamed", lambda shop: shop.rename_maker()),
    ("0.5% deleted, spread", lambda shop: shop.delete(0.005)),
)


def traffic(kind: str, url: str, folder: Path) -> list[dict[str, Any]]:
    shop = Shop(url)
    shop.fill(ROWS)
    parsed = sa.make_url(url)
    proxy = CountingProxy(kind, parsed.host or "", parsed.port or 0)
    query = {"sslmode": "disable"} if kind == "postgresql" else {}
    seen = parsed.set(host="127.0.0.1", port=proxy.port, query=query).render_as_string(hide_password=False)
    source, ours = SqlSource(name="shop", url=seen), Citewell(folder, HashEmbedder(dim=32))
    table: list[dict[str, Any]] = []
    for scenario, change in SCENARIOS:
        change(shop)
        seconds, embedded, _ = ours.sync(source)
        sent = proxy.take()
        first = table[0]["bytes"] if table else sent.size_bytes
        row = {
            "database": kind, "run": scenario, "bytes": sent.size_bytes, "share": round(sent.size_bytes / first, 5),
            "statements": sent.statements, "rows": sent.rows, "embedded": embedded, "seconds": round(seconds, 2),
        }  # fmt: skip
        print(json.dumps(row), flush=True)
        table.append(row)
    proxy.close()
    return table


def files(folder: Path) -> list[dict[str, Any]]:
    """Seconds of whole runs over tiny files: the first, two that find nothing new, one with a hundredth changed."""
    docs = folder / "docs"
    for number in range(FILES):
        place = docs / f"{number % 100:02}" / f"{number}.md"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"# Note {number}\n\nThe record of note {number} stands on shelf {number % 977}.\n")
    source, ours = FilesSource(name="shop", root=docs, paths=(".",)), Citewell(folder, HashEmbedder(dim=32))
    table = []
    for run in ("first load", "unchanged", "unchanged again", "1% changed"):
        if run == "1% changed":
            for number in range(0, FILES, 100):
                (docs / f"{number % 100:02}" / f"{number}.md").write_text(f"# Note {number}\n\nIt is new.\n")
        else:
            time.sleep(0 if run == "first load" else 2.5)  # a file changed within two seconds is looked at once more
        seconds, embedded, _ = ours.sync(source)
        row = {"files": FILES, "run": run, "embedded": embedded, "seconds": round(seconds, 2)}
        print(json.dumps(row), flush=True)
        table.append(row)
    return table


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="citewell-bench-") as name, databases(Path(name)) as urls:
        folder = Path(name)
        rows = [row for kind in ("postgresql", "mariadb") for row in traffic(kind, urls[kind], folder)]
        seen = files(folder)
        stop_engine(folder / "qdrant")
    shares = {run: max(row["share"] for row in rows if row["run"] == run) for run, _ in SCENARIOS}
    finish(rows=ROWS, largest_share=shares, unchanged_files_s=seen[2]["seconds"], table=rows, files=seen)


if __name__ == "__main__":
    main()
