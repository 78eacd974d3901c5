"""What a deployment holds, for the CLI and the API."""

from typing import Any

from rag.boundary.secrets import masked
from rag.boundary.urls import without_credentials
from service.catalogue import Catalogue
from service.store.overview import Overview
from service.wiring import Services


def status(services: Services) -> dict[str, Any]:
    """Sources, those too that were taken out but still have documents, and the index's size."""
    binding, overview, settings = services.collection.follow(), services.overview(), services.settings
    names = dict.fromkeys(settings.sources) | dict.fromkeys(overview.sources())
    return {
        "sources": [source_status(overview, services.catalogue, name) for name in names],
        "points": binding.index.count(),
        "index": masked(without_credentials(settings.qdrant.url)) or "embedded engine",
        "embedder": binding.embedder.name,
        "data_dir": str(settings.data_dir),
    }


def source_status(overview: Overview, catalogue: Catalogue, name: str) -> dict[str, Any]:
    """Counts, tables, runs and quarantine of a source, configured or not."""
    settings = catalogue.sources.get(name)
    kind = settings.kind if settings is not None else "no longer configured"
    return {"name": name, "kind": kind, "lag_s": overview.sync_lag_s([name]).get(name), **overview.summary(name)}
