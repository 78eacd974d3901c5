"""Haystack behind Hayhooks: its store in memory, our embedder, its client of the same engine."""

import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from hayhooks import BasePipelineWrapper, async_streaming_generator, get_last_user_message
from haystack import Document, Pipeline, component
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import Secret

from indexes.embedders.load import load_embedder

_PROMPT = "Answer from the passages.\n{% for d in documents %}{{ d.content }}\n{% endfor %}\nQuestion: {{ question }}"


@component
class Embed:
    def __init__(self, embedder: Any) -> None:
        self._embedder = embedder

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        return {"embedding": self._embedder.embed([text], query=True)[0].tolist()}


class PipelineWrapper(BasePipelineWrapper):
    def setup(self) -> None:
        embedder = load_embedder()
        texts = json.loads(Path(os.environ["BENCH_PASSAGES"]).read_text())
        store = InMemoryDocumentStore(embedding_similarity_function="cosine")
        vectors = embedder.embed(texts)
        store.write_documents(
            [Document(content=text, embedding=vector.tolist()) for text, vector in zip(texts, vectors, strict=True)]
        )
        key = Secret.from_token("none")
        model, url = os.environ["BENCH_MODEL"], os.environ["BENCH_ENGINE"]
        self.pipeline = Pipeline()
        self.pipeline.add_component("embed", Embed(embedder))
        self.pipeline.add_component("retrieve", InMemoryEmbeddingRetriever(store, top_k=10))
        template = [ChatMessage.from_user(_PROMPT)]
        self.pipeline.add_component("build", ChatPromptBuilder(template, required_variables="*"))
        self.pipeline.add_component("llm", OpenAIChatGenerator(api_key=key, model=model, api_base_url=url))
        self.pipeline.connect("embed.embedding", "retrieve.query_embedding")
        self.pipeline.connect("retrieve.documents", "build.documents")
        self.pipeline.connect("build.prompt", "llm.messages")

    async def run_chat_completion_async(
        self, model: str, messages: list[dict[str, Any]], body: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        question = get_last_user_message(messages)
        arguments = {"embed": {"text": question}, "build": {"question": question}}
        parts: AsyncGenerator[Any, None] = async_streaming_generator(
            pipeline=self.pipeline, pipeline_run_args=arguments
        )
        return parts
