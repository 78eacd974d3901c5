"""Wires connectors, indexes and the core: CLI, REST service, web page, LlamaIndex entry.

from service import connect
kb = connect("citewell.toml")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.knowledge_base import KnowledgeBase, connect

__all__ = ["KnowledgeBase", "connect"]


def __getattr__(name: str) -> Any:
    """Import on first use: `citewell --help` must not wait for the libraries behind a knowledge base."""
    if name in __all__:
        from service import knowledge_base

        return getattr(knowledge_base, name)
    raise AttributeError(f"module 'service' has no attribute {name!r}")
