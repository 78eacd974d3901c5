"""The configured sources: their names, where a search looks, and who sees and operates what."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.files.source import FilesSource
from connectors.sql.source import SqlSource
from rag.errors import ConfigError, FilterError
from rag.filters import All
from rag.ports import Identity
from service.catalogue import Catalogue, no_source
from service.settings.sections import Settings
from service.store.keys import Rights

SHOP = {"kind": "sql", "url": "sqlite:///shop.db", "tenant": "acme"}
DOCS = {"kind": "files", "paths": ["docs"], "tenant": "acme"}
SHARED = {"kind": "files", "paths": ["all"], "tenant": "acme", "rules": [{"path": "x/*", "tenant": "umbrella"}]}
BY_ROW = {"kind": "sql", "url": "sqlite:///rows.db", "tenant_column": "owner"}
OTHER = {"kind": "files", "paths": ["other"], "tenant": "umbrella"}


def catalogue(*, indexed: tuple[str, ...] = (), sections: dict[str, Any] | None = None, **sources: Any) -> Catalogue:
    settings = Settings.model_validate({"sources": sources, **(sections or {})})
    return Catalogue(settings, indexed=lambda: indexed)


@pytest.fixture
def five() -> Catalogue:
    return catalogue(shop=SHOP, docs=DOCS, shared=SHARED, rows=BY_ROW, other=OTHER)


def test_all_sources_are_chosen_where_none_is_named_and_else_those_that_are() -> None:
    both = catalogue(shop=SHOP, docs=DOCS)
    assert both.names() == ["shop", "docs"]
    assert both.names(["docs"]) == ["docs"]


def test_a_source_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"There is no source 'blog'\. Configured sources: shop, docs\."):
        catalogue(shop=SHOP, docs=DOCS).names(["docs", "blog"])


def test_without_a_source_it_says_how_to_add_one() -> None:
    with pytest.raises(ConfigError, match="No source is configured"):
        catalogue().names()
    with pytest.raises(ConfigError, match="Configured sources: none; add one with `citewell add"):
        catalogue().settings("shop")


def test_nothing_is_said_of_sources_that_somebody_may_not_know() -> None:
    assert no_source("x", []) == "There is no source 'x'. Configured sources: none."


def test_a_connector_is_made_of_a_sources_kind(tmp_path: Path) -> None:
    both = catalogue(shop=SHOP, docs=DOCS, sections={"root": tmp_path})
    assert isinstance(both.connector("shop"), SqlSource)
    assert isinstance(both.connector("docs"), FilesSource)
    with pytest.raises(ConfigError, match="There is no source 'blog'"):
        both.connector("blog")


def test_a_search_looks_everywhere_while_the_index_holds_configured_sources_only() -> None:
    scope = catalogue(shop=SHOP, docs=DOCS, indexed=("docs",)).scope()
    assert (scope.sources, scope.where, scope.identity) == ((), None, Identity())


def test_a_source_that_was_taken_out_stops_answering_at_once() -> None:
    assert catalogue(docs=DOCS, indexed=("docs", "gone")).scope().sources == ("docs",)
    assert catalogue(indexed=("gone",)).scope().sources == ("",)


def counted(*names: str) -> tuple[list[int], Callable[[], Sequence[str]]]:
    """What gives the sources that the index holds, and how often it was asked."""
    asked: list[int] = []

    def indexed() -> Sequence[str]:
        asked.append(1)
        return names

    return asked, indexed


def test_named_sources_are_searched_whatever_the_index_holds() -> None:
    settings = Settings.model_validate({"sources": {"docs": DOCS, "shop": SHOP}})
    asked, indexed = counted("gone")
    found = Catalogue(settings, indexed=indexed)
    assert found.scope(["shop"]).sources == ("shop",)
    assert asked == []
    with pytest.raises(ConfigError, match="There is no source 'gone'"):
        found.scope(["gone"])


def test_what_the_index_holds_is_looked_up_once() -> None:
    settings = Settings.model_validate({"sources": {"docs": DOCS}})
    asked, indexed = counted("gone")
    found = Catalogue(settings, indexed=indexed)
    assert [found.scope().sources for _ in range(3)] == [("docs",)] * 3
    assert asked == [1]


def test_a_callers_filter_is_joined_to_the_configured_one() -> None:
    both = catalogue(docs=DOCS, sections={"retrieval": {"filter": {"tags": "public"}}})
    configured, joined = both.scope().where, both.scope(where={"source": "docs"}).where
    assert isinstance(joined, All)
    assert (joined.parts[0], len(joined.parts)) == (configured, 2)
    assert catalogue(docs=DOCS).scope(where={"tags": "public"}).where == configured


def test_a_filter_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(FilterError):
        catalogue(docs=DOCS).scope(where={"nonsense": 1})


def test_who_asks_is_the_caller_and_without_one_the_configured_identity() -> None:
    found = catalogue(docs=DOCS, sections={"identity": {"tenant": "acme", "groups": ["staff"]}})
    assert found.scope().identity == Identity(tenant="acme", groups=("staff",))
    assert found.scope(identity=Identity(tenant="umbrella")).identity == Identity(tenant="umbrella")


def test_a_caller_sees_the_sources_with_documents_for_their_tenant(five: Catalogue) -> None:
    assert five.visible(Rights(tenant="acme")) == ["shop", "docs", "shared", "rows"]
    assert five.visible(Rights(tenant="umbrella")) == ["shared", "rows", "other"]


def test_a_key_for_some_sources_sees_those_of_them_that_are_its_tenants(five: Catalogue) -> None:
    assert five.visible(Rights(tenant="acme", sources=("docs", "other"))) == ["docs"]


def test_an_operator_has_the_sources_of_their_tenant_alone(five: Catalogue) -> None:
    assert five.operated(Rights(scopes=("ingest",), tenant="acme")) == ["shop", "docs"]


def test_a_shared_source_is_operated_where_the_key_names_it(five: Catalogue) -> None:
    named = Rights(scopes=("ingest",), tenant="umbrella", sources=("shared", "rows", "shop"))
    assert five.operated(named) == ["shared", "rows"]


def test_an_administrator_operates_all_unless_the_key_names_some(five: Catalogue) -> None:
    assert five.operated(Rights(scopes=("admin",))) == ["shop", "docs", "shared", "rows", "other"]
    assert five.operated(Rights(scopes=("admin",), sources=("other",))) == ["other"]
