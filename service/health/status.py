"""What a deployment holds, for the CLI and the API."""

from collections.abc import Mapping
from typing import Any

from indexes.summary import Summary, summary_of_engine, summary_of_server
from rag.boundary.secrets import masked
from rag.boundary.urls import without_credentials
from service.settings.sections import Settings
from service.settings.sources import SourceSettings
from service.store.overview import Overview


def status(settings: Settings, overview: Overview) -> dict[str, Any]:
    """Sources, those too that were taken out but still have documents, and the index's size."""
    names = dict.fromkeys(settings.sources) | dict.fromkeys(overview.sources())
    index, sources = summary_of(settings), [source_status(overview, settings.sources, name) for name in names]
    committed = sum(source["chunks"] for source in sources)
    return {
        "sources": sources,
        "points": committed if index.points is None else index.points,
        "index": masked(without_credentials(settings.qdrant.url)) or "embedded engine",
        "embedder": index.embedder or settings.embedder.model,
        "data_dir": str(settings.data_dir),
    }


def summary_of(settings: Settings) -> Summary:
    q = settings.qdrant
    if q.url:
        key = q.api_key.get_secret_value()
        return summary_of_server(q.url, q.collection, api_key=key, timeout_s=q.timeout_s)
    return summary_of_engine(settings.data_dir / "qdrant", q.collection, timeout_s=q.timeout_s)


def source_status(overview: Overview, sources: Mapping[str, SourceSettings], name: str) -> dict[str, Any]:
    """Counts, tables, runs and quarantine of a source, configured or not."""
    kind = sources[name].kind if name in sources else "no longer configured"
    return {"name": name, "kind": kind, "lag_s": overview.sync_lag_s([name]).get(name), **overview.summary(name)}
