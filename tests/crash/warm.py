"""Loads what every ingest loads, so that the processes forked from a server that imports this need not."""

from indexes.sparse import Bm25Encoder
from rag.language.tokens import QwenTokenCounter

QwenTokenCounter().count_text("a word")
Bm25Encoder().encode(["a word"])
