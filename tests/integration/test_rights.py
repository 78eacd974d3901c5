"""Rights fail closed: what does not say any more who may see it is out of the index with the sync that learns so."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.files.source import FilesSource
from connectors.files.visibility import FileVisibility, PathRule
from connectors.sql.visibility import RowVisibility
from rag.errors import ConfigError
from rag.ports import NOBODY, Identity, Scope
from service.settings.load import load_settings
from service.syncing.sync import Options, ingest
from tests.crash.harness import FreeEmbedder, Setting
from tests.support.databases import change, server_database
from tests.support.rights import ALL, FORMS
from tests.support.stores import Store, adds_up
from tests.support.users import AsNobody, open_folder

ROWS = 60


def seen_by(store: Store, tenant: str, *groups: str) -> set[str]:
    """Ids of the documents that a caller finds."""
    vector = store.parts.embedder.embed(["row"], query=True)[0]
    scope = Scope(identity=Identity(tenant=tenant, groups=groups))
    (words,) = store.parts.sparse.encode(["row"])
    return {hit.chunk.document.id for hit in store.setting.index().query(vector, words, scope=scope, limit=1000)}


def table(*, keyed: bool) -> tuple[str, str]:
    key = "id INTEGER PRIMARY KEY" if keyed else "id INTEGER"
    values = ", ".join(f"({i}, 'row {i}', 'acme', 'hr')" for i in range(ROWS))
    return (
        f"CREATE TABLE memo ({key}, name VARCHAR(40), org VARCHAR(20), seen_by VARCHAR(40))",
        f"INSERT INTO memo VALUES {values}",
    )


def open_memos(open_store: Any, url: str, kind: str, **labels: Any) -> Store:
    change(url, *table(keyed=kind != "unkeyed"))
    query = {"query": "SELECT * FROM memo", "key": ("id",)} if kind == "query" else {}
    store: Store = open_store(url, labels=RowVisibility(tenant_column="org", acl_column="seen_by", **labels), **query)
    return store


@pytest.mark.parametrize("kind", ["keyed", "unkeyed", "query"])
def test_rows_that_lose_tenant_or_groups_are_out_with_that_sync_however_many(
    database: str, open_store: Any, kind: str
) -> None:
    store = open_memos(open_store, database, kind)
    store.run()
    assert len(seen_by(store, "acme", "hr")) == ROWS
    change(
        database,
        "UPDATE memo SET org = NULL WHERE id < 20",
        "UPDATE memo SET org = ' ' WHERE id BETWEEN 20 AND 29",
        "UPDATE memo SET seen_by = NULL WHERE id BETWEEN 30 AND 39",
        "UPDATE memo SET seen_by = '' WHERE id BETWEEN 40 AND 49",
        "UPDATE memo SET seen_by = 'hr;ops' WHERE id BETWEEN 50 AND 54",
    )
    report = store.run()
    assert report.error == ""
    assert adds_up(report)
    assert len(seen_by(store, "acme", "hr")) == 5
    for groups in ((), ("hr;ops",), (NOBODY,), ("*",)):
        assert seen_by(store, "acme", *groups) == set()
    assert report.quarantined == 35
    again = store.run()
    assert (again.added, again.updated, again.deleted, again.quarantined) == (0, 0, 0, 35)
    change(database, "UPDATE memo SET org = 'acme', seen_by = 'hr'")
    assert store.run().error == ""
    assert len(seen_by(store, "acme", "hr")) == ROWS
    assert store.is_a_clean_rebuild()


@pytest.mark.parametrize("kind", ["keyed", "unkeyed", "query"])
def test_all_rows_of_a_table_may_lose_their_tenant(database: str, open_store: Any, kind: str) -> None:
    store = open_memos(open_store, database, kind)
    store.run()
    change(database, "UPDATE memo SET org = NULL")
    report = store.run()
    assert (report.error, report.quarantined) == ("", ROWS)
    assert store.rows() == {}


def test_of_two_rows_of_one_id_one_of_which_nobody_may_see_nothing_stays(database: str, open_store: Any) -> None:
    change(database, "CREATE TABLE memo (id INTEGER, name VARCHAR(40), org VARCHAR(20))")
    change(database, "INSERT INTO memo VALUES (1, 'one', 'acme'), (1, 'two', NULL), (2, 'other', 'acme')")
    query = {"query": "SELECT * FROM memo ORDER BY id, name", "key": ("id",)}
    store = open_store(database, labels=RowVisibility(tenant_column="org"), **query)
    for _ in range(3):
        report = store.run()
        assert seen_by(store, "acme") == {"shop/2"}
        assert report.quarantined == 2
        assert len(store.parts.ledger.of_scope("shop", "shop")) == 1


def test_rows_without_groups_of_their_own_are_seen_by_the_source_s_acl(database: str, open_store: Any) -> None:
    store = open_memos(open_store, database, "keyed", acl=("staff",))
    change(database, "UPDATE memo SET seen_by = NULL WHERE id = 1", "UPDATE memo SET seen_by = '[]' WHERE id = 2")
    change(database, "UPDATE memo SET seen_by = '*' WHERE id = 3")
    store.run()
    assert seen_by(store, "acme", "staff") == {"memo/1", "memo/3"}
    assert seen_by(store, "acme") == {"memo/3"}
    assert seen_by(store, "acme", "", "*") == {"memo/3"}


def test_every_form_of_a_list_lets_in_whom_it_names(database: str, open_store: Any) -> None:
    change(database, "CREATE TABLE memo (id INTEGER PRIMARY KEY, name VARCHAR(40), seen_by VARCHAR(80))")
    for number, (form, _) in enumerate(FORMS):
        value = "NULL" if form is None else "'" + str(form).replace("'", "''") + "'"
        change(database, f"INSERT INTO memo VALUES ({number}, 'row {number}', {value})")
    store = open_store(database, labels=RowVisibility(acl_column="seen_by", acl=("staff",)))
    report = store.run()
    groups = {"staff", "hr", "ops", "1", "2", "o'neil", "null", "none", "HR", "人事", "hr;ops", "{hr", "ops}", "[]"}
    for group in groups:
        allowed = {f"memo/{n}" for n, (_, who) in enumerate(FORMS) if who is not None and (who == ALL or group in who)}
        assert seen_by(store, "default", group) == allowed, group
    assert seen_by(store, "default") == {f"memo/{n}" for n, (_, who) in enumerate(FORMS) if who == ALL}
    assert report.quarantined == sum(who is None for _, who in FORMS)


def test_an_array_column_of_postgresql_holds_groups(open_store: Any) -> None:
    with server_database("postgresql") as url:
        change(
            url,
            "CREATE TABLE memo (id int PRIMARY KEY, name text, seen_by text[])",
            "INSERT INTO memo VALUES (1, 'a', '{hr,ops}'), (2, 'b', '{}'), (3, 'c', NULL), (4, 'd', '{NULL}'), (5, 'e', '{*}')",
        )
        store = open_store(url, labels=RowVisibility(acl_column="seen_by", acl=("staff",)))
        assert store.run().quarantined == 1
        assert seen_by(store, "default", "hr") == {"memo/1", "memo/5"}
        assert seen_by(store, "default", "staff") == {"memo/3", "memo/5"}


class Refusing(FreeEmbedder):
    """Embeds no text that says so."""

    def embed(self, texts: Any, *, query: bool = False) -> Any:
        if any("cannot be embedded" in text for text in texts):
            raise ValueError("a text that it does not take")
        return super().embed(texts)


def test_a_row_that_cannot_be_embedded_keeps_no_text_that_others_could_see_before(
    open_store: Any, database: str
) -> None:
    store = open_memos(open_store, database, "keyed")
    store.run()
    change(database, "UPDATE memo SET name = 'cannot be embedded', seen_by = 'board' WHERE id = 7")
    change(database, "UPDATE memo SET name = 'cannot be embedded' WHERE id = 8")
    store.parts = replace(store.parts, embedder=Refusing())
    report = store.run()
    assert report.quarantined == 2
    found = seen_by(store, "acme", "hr")
    assert ("memo/7" in found, "memo/8" in found) == (False, True)
    assert seen_by(store, "acme", "board") == set()


def test_files_that_cannot_be_reached_stay_only_for_those_who_may_see_them_now(
    tmp_path: Path, shared_data: Path
) -> None:
    with open_folder() as root:
        for place, text in (("a.md", "Row a."), ("in/b.md", "Row b."), ("in/c.csv", "x\nrow c\n"), ("z.md", "Row z.")):
            (root / place).parent.mkdir(exist_ok=True)
            (root / place).write_text(text)

        def labelled(labels: FileVisibility) -> AsNobody:
            return AsNobody(FilesSource(name="shop", root=root, paths=("**/*",), labels=labels))

        store = Store(
            Setting(
                engine=shared_data / "qdrant", source=labelled(FileVisibility()), batch_documents=100, folder=tmp_path
            )
        )
        store.run()
        assert len(seen_by(store, "default")) == 4
        (root / "a.md").chmod(0)
        (root / "in").chmod(0)
        store.run()
        assert len(seen_by(store, "default")) == 4
        board = labelled(FileVisibility(rules=(PathRule(path="**/*", acl=("board",)),)))
        ingest(store.parts, "shop", board, Options())
        assert (seen_by(store, "default"), seen_by(store, "default", "board")) == (set(), {"z.md"})
        (root / "a.md").chmod(0o644)
        (root / "in").chmod(0o755)
        ingest(store.parts, "shop", board, Options())
        assert (len(seen_by(store, "default")), len(seen_by(store, "default", "board"))) == (0, 4)
        store.close()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("acl = []", "gives nobody access"),
        ('acl = ["*", "hr"]', "is not a valid group"),
        ('acl = [""]', "is not a valid group"),
        ('acl = [" "]', "is not a valid group"),
        ('rules = [{ path = "a", acl = [] }]', "gives nobody access"),
        ('acl = "hr"', "tuple"),
    ],
)
def test_an_acl_in_the_configuration_that_could_mean_two_things_is_refused(
    tmp_path: Path, setting: str, said: str
) -> None:
    path = tmp_path / "citewell.toml"
    path.write_text(f'[sources.docs]\nkind = "files"\npaths = ["docs"]\n{setting}\n')
    with pytest.raises(ConfigError, match=said):
        load_settings(path)


def test_the_configuration_can_open_a_source_to_all_of_its_tenant(tmp_path: Path) -> None:
    path = tmp_path / "citewell.toml"
    path.write_text('[sources.docs]\nkind = "files"\npaths = ["docs"]\nacl = ["*"]\n')
    sources: Mapping[str, Any] = load_settings(path).sources
    assert sources["docs"].acl == ("*",)
