"""LlamaIndex's IngestionPipeline over the same rows, embedder and Qdrant: the baseline of the sync benchmark."""

import time
from typing import Any

from llama_index.core import Document
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from connectors.sql.source import SqlSource
from rag.events import Upsert
from rag.ports import Embedder


class Embedding(BaseEmbedding):
    """Our embedder behind LlamaIndex's interface."""

    embedder: Any
    embed_batch_size: int = 512

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [vector.tolist() for vector in self.embedder.embed(texts)]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


class LlamaIndexPipeline:
    """Documents with stable ids, UPSERTS_AND_DELETE, and a docstore in memory, which is its fastest."""

    def __init__(self, client: QdrantClient, collection: str, embedder: Embedder) -> None:
        self._client, self._collection = client, collection
        client.create_collection(
            collection,
            vectors_config={"dense": models.VectorParams(size=embedder.dim, distance=models.Distance.COSINE)},
        )
        store = QdrantVectorStore(
            client=client, collection_name=collection, dense_vector_name="dense", batch_size=512, parallel=1
        )
        self._pipeline = IngestionPipeline(
            transformations=[SentenceSplitter(chunk_size=1024), Embedding(embedder=embedder)],
            docstore=SimpleDocumentStore(),
            docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
            vector_store=store,
        )

    def sync(self, source: SqlSource) -> tuple[float, int]:
        """Seconds, and points after it."""
        started = time.perf_counter()
        rows = [event.document for event in source.read() if isinstance(event, Upsert)]
        documents = [Document(text=d.text, id_=d.id, metadata={"title": d.title, "uri": d.uri}) for d in rows]
        self._pipeline.run(documents=documents, show_progress=False)
        return time.perf_counter() - started, self._client.count(self._collection, exact=True).count
