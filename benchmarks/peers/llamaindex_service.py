"""LlamaIndex behind a minimal FastAPI: its vector index in memory, our embedder, its client of the same engine."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from llama_index.core import VectorStoreIndex
from llama_index.core.base.response.schema import AsyncStreamingResponse
from llama_index.core.schema import TextNode
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from benchmarks.llamaindex_pipeline import Embedding
from indexes.embedders.load import load_embedder

app = FastAPI()
_texts = json.loads(Path(os.environ["BENCH_PASSAGES"]).read_text())
_embedder = load_embedder()
_nodes = [
    TextNode(text=text, embedding=vector.tolist()) for text, vector in zip(_texts, _embedder.embed(_texts), strict=True)
]
_index = VectorStoreIndex(_nodes, embed_model=Embedding(embedder=_embedder))
_llm = OpenAILike(
    model=os.environ["BENCH_MODEL"],
    api_base=os.environ["BENCH_ENGINE"],
    api_key="none",
    is_chat_model=True,
    context_window=8192,
    max_tokens=512,
)
_engine = _index.as_query_engine(llm=_llm, streaming=True, similarity_top_k=10)


class Body(BaseModel):
    question: str


@app.post("/ask")
async def ask(body: Body) -> StreamingResponse:
    answer = await _engine.aquery(body.question)
    assert isinstance(answer, AsyncStreamingResponse)

    async def events() -> AsyncIterator[str]:
        async for text in answer.async_response_gen():
            yield f"data: {json.dumps(text)}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
