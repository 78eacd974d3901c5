"""The database's connection is cut in the middle of a read: nothing is deleted, and the next run goes on."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.sql.source import SqlSource
from rag.errors import SourceError
from service.syncing.sync import Options, Report, ingest
from tests.crash.data import table
from tests.crash.harness import Setting, difference
from tests.support.databases import server_database
from tests.support.embedded import stop_engine

ROWS = 800
CUTS = 20


class CuttingProxy:
    """Passes TCP on to a server, and closes the connection after so many bytes have come back from it."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.limit_bytes: int | None = None
        self.passed_bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pass_back, args=(server, client), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(512):
                self.passed_bytes += len(data)
                if self.limit_bytes is not None and self.passed_bytes > self.limit_bytes:
                    break
                client.sendall(data)
        except OSError:
            pass
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def proxied(kind: str) -> Iterator[tuple[str, str, CuttingProxy]]:
    with server_database(kind) as url:
        parsed = sa.make_url(url)
        proxy = CuttingProxy(parsed.host or "127.0.0.1", parsed.port or 0)
        query = {"sslmode": "disable"} if kind == "postgresql" else {}
        through = parsed.set(host="127.0.0.1", port=proxy.port, query=query)
        try:
            yield url, through.render_as_string(hide_password=False), proxy
        finally:
            proxy.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("cut") / "qdrant"
    yield path
    stop_engine(path)


def run(setting: Setting, url: str) -> Report:
    database = setting.database()
    try:
        return ingest(setting.parts(database=database), "shop", SqlSource(name="shop", url=url), Options())
    finally:
        database.close()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_cut_connection_deletes_nothing_and_the_next_run_goes_on(kind: str, tmp_path: Path, engine: Path) -> None:
    with proxied(kind) as (direct, through, proxy):
        data = table(direct, ROWS)
        data.first()
        source = SqlSource(name="shop", url=through)
        whole = Setting(engine=engine, source=source, batch_documents=100, folder=tmp_path)
        run(whole, through)
        total, proxy.passed_bytes = proxy.passed_bytes, 0
        setting = whole.anew()
        done, cut = 0, 0
        for step in range(1, CUTS + 1):
            proxy.passed_bytes, proxy.limit_bytes = 0, total * step // (CUTS + 1)
            try:
                run(setting, through)
            except SourceError:
                cut += 1
            stored = setting.index().count()
            assert stored >= done, "a broken read lost points"
            done = stored
        assert cut >= 5  # each goes on where the one before was cut, so the last ones have too little left to be cut
        proxy.passed_bytes, proxy.limit_bytes = 0, None
        report = run(setting, through)
        assert report.deleted == 0
        expected, found = whole.snapshot(), setting.snapshot()
        missing = difference(expected, found)
        assert (missing.lost, missing.duplicate, missing.stale) == (0, 0, 0)


def test_a_change_cut_off_deletes_nothing(tmp_path: Path, engine: Path) -> None:
    with proxied("postgresql") as (direct, through, proxy):
        data = table(direct, ROWS)
        data.first()
        setting = Setting(
            engine=engine, source=SqlSource(name="shop", url=through), batch_documents=100, folder=tmp_path
        )
        run(setting, through)
        before = proxy.passed_bytes
        data.second()
        proxy.passed_bytes = 0
        for step in range(1, CUTS + 1):
            proxy.passed_bytes, proxy.limit_bytes = 0, before * step // (3 * CUTS)
            try:
                run(setting, through)
            except SourceError:
                assert setting.index().count() >= ROWS - ROWS // 20
        proxy.limit_bytes = None
        run(setting, through)
        clean = setting.anew()
        run(clean, through)
        missing = difference(clean.snapshot(), setting.snapshot())
        assert (missing.lost, missing.duplicate, missing.stale) == (0, 0, 0)
