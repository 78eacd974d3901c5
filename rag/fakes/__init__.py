"""A stand-in for every port, for tests and benchmarks: no model, no engine, no network, and the port's own contract.

tests/contract runs the same suite over these and over the real ones.
"""

from rag.fakes.counter import CharacterCounter
from rag.fakes.embedder import HashEmbedder
from rag.fakes.generator import Request, ScriptedGenerator
from rag.fakes.index import MemoryIndex
from rag.fakes.reranker import OverlapReranker
from rag.fakes.source import ListSource, MemoryNotes
from rag.fakes.sparse import TermEncoder

__all__ = [
    "CharacterCounter",
    "HashEmbedder",
    "ListSource",
    "MemoryIndex",
    "MemoryNotes",
    "OverlapReranker",
    "Request",
    "ScriptedGenerator",
    "TermEncoder",
]
