"""What a knowledge base holds, for the CLI and the API."""

from typing import Any

from rag.boundary.secrets import masked
from rag.boundary.urls import without_credentials
from service.knowledge_base import KnowledgeBase


def status(kb: KnowledgeBase) -> dict[str, Any]:
    """Sources, those too that were taken out but still have documents, and the index's size."""
    kb.follow()
    configured = dict.fromkeys(kb.settings.sources) | dict.fromkeys(kb.state.sources())
    return {
        "sources": [source_status(kb, name) for name in configured],
        "points": kb.index.count(),
        "index": masked(without_credentials(kb.settings.qdrant.url)) or "embedded engine",
        "embedder": kb.embedder.name,
        "data_dir": str(kb.settings.data_dir),
    }


def source_status(kb: KnowledgeBase, name: str) -> dict[str, Any]:
    settings = kb.settings.sources.get(name)
    kind = settings.kind if settings is not None else "not configured any more"
    return {"name": name, "kind": kind, "lag_s": kb.state.sync_lag_s([name]).get(name), **kb.state.summary(name)}
