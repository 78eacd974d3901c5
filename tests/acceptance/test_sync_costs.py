"""What a sync costs, by counts: through the installed command, over the real stores, on three databases."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.command import citewell
from tests.support.databases import change, server_database, sqlite_with
from tests.support.embedded import stop_engine
from tests.support.network.counting_proxy import CountingProxy, Sent

pytestmark = pytest.mark.timeout(600)  # each sync is a process that loads a model
ROWS = 300


@dataclass(kw_only=True)
class Shop:
    """A table of products that refer to makers, read by the installed command through a counting proxy."""

    url: str
    config: Path
    proxy: CountingProxy | None

    def sync(self, *options: str) -> tuple[dict[str, Any], Sent]:
        done = citewell("ingest", "--json", *options, config=self.config)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["sources"][0], self.proxy.take() if self.proxy is not None else Sent()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    config = tmp_path / "citewell.toml"

    def made(url: str, seen: str, proxy: CountingProxy | None) -> Shop:
        config.write_text(f'[sources.shop]\nkind = "sql"\nurl = "{seen}"\n')
        products = ", ".join(f"({i}, 'product {i}', {i % 10})" for i in range(ROWS))
        change(
            url,
            "CREATE TABLE maker (id INTEGER PRIMARY KEY, name VARCHAR(40))",
            "CREATE TABLE product (id INTEGER PRIMARY KEY, name VARCHAR(40), maker_id INTEGER, FOREIGN KEY (maker_id) REFERENCES maker (id))",
            "INSERT INTO maker VALUES " + ", ".join(f"({i}, 'maker {i}')" for i in range(10)),
            f"INSERT INTO product VALUES {products}",
        )
        return Shop(url=url, config=config, proxy=proxy)

    if request.param == "sqlite":
        url = f"sqlite:///{sqlite_with(tmp_path / 'shop.sqlite')}"
        yield made(url, url, None)
    else:
        with server_database(request.param) as url:
            parsed = sa.make_url(url)
            proxy = CountingProxy(request.param, parsed.host or "", parsed.port or 0)
            query = {"sslmode": "disable"} if request.param == "postgresql" else {}
            seen = parsed.set(host="127.0.0.1", port=proxy.port, query=query)
            yield made(url, seen.render_as_string(hide_password=False), proxy)
            proxy.close()
    stop_engine(tmp_path / ".citewell" / "qdrant")


def counts(report: dict[str, Any]) -> tuple[int, ...]:
    return tuple(report[name] for name in ("added", "updated", "unchanged", "deleted", "chunks_embedded"))


def test_a_sync_reads_and_embeds_what_changed_and_nothing_else(shop: Shop) -> None:
    whole = ROWS + 10
    report, first = shop.sync()
    assert counts(report) == (whole, 0, 0, 0, whole)
    report, unchanged = shop.sync()
    assert counts(report) == (0, 0, whole, 0, 0)
    assert (report["read"], report["fetched"]) == (whole, 0)
    change(shop.url, "UPDATE product SET name = 'new' WHERE id % 100 = 7")
    report, changed = shop.sync()
    assert counts(report) == (0, 3, whole - 3, 0, 3)
    assert report["fetched"] == 3
    change(shop.url, "DELETE FROM product WHERE id % 100 = 8")
    report, deleted = shop.sync()
    assert counts(report) == (0, 0, whole - 3, 3, 0)
    assert (report["read"], report["fetched"]) == (whole - 3, 0)
    if shop.proxy is None:
        return  # SQLite has no hash function: its rows are read, and hashed here
    assert first.rows > whole
    assert unchanged.rows < 150  # what the schema says, and a count and a sum for each of 6 ranges
    assert unchanged.size_bytes < first.size_bytes / 3
    assert unchanged.statements <= 60
    assert (
        changed.rows < unchanged.rows + 3 * (8 + 8) + 30
    )  # sums of three ranges' pieces, the keys of one piece of each, three rows
    assert changed.statements <= unchanged.statements + 12
    assert deleted.rows < unchanged.rows + 3 * (8 + 8) + 30
    assert deleted.statements <= unchanged.statements + 12
