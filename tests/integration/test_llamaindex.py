"""Used the way LlamaIndex users would, inside LlamaIndex's own engines."""

import asyncio
from pathlib import Path

import pytest
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine, RouterQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import QueryEngineTool

from service.knowledge_base import KnowledgeBase
from tests.support.databases import sqlite_with
from tests.support.knowledge_bases import MakeKb

QUESTION = "Which artist made the album Let There Be Rock?"


@pytest.fixture
def kb(tmp_path: Path, make_kb: MakeKb) -> KnowledgeBase:
    sqlite_with(
        tmp_path / "shop.sqlite",
        "CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT, artist TEXT)",
        "INSERT INTO album VALUES (4, 'Let There Be Rock', 'AC/DC'), (2, 'Balls to the Wall', 'Accept')",
    )
    made = make_kb('[sources.shop]\nkind = "sql"\nurl = "sqlite:///shop.sqlite"\n')
    list(made.ingest())
    return made


def test_the_query_engine_answers_with_sources_scores_and_citations(kb: KnowledgeBase) -> None:
    response = kb.as_query_engine().query(QUESTION)
    assert "AC/DC" in str(response)
    assert (response.source_nodes[0].score or 0) > 0
    assert response.source_nodes[0].node.metadata["primary_key"] == {"id": 4}
    assert (response.metadata or {})["citations"][0]["document_id"] == "album/4"


def test_the_query_engine_streams(kb: KnowledgeBase) -> None:
    response = kb.as_query_engine(streaming=True).query(QUESTION)
    assert isinstance(response, StreamingResponse)
    text = "".join(response.response_gen)
    assert "AC/DC" in text
    assert response.source_nodes
    assert (response.metadata or {})["citations"][0]["document_id"] == "album/4"


def test_the_query_engine_is_asynchronous_too(kb: KnowledgeBase) -> None:
    async def ask() -> tuple[str, str]:
        plain = await kb.as_query_engine().aquery(QUESTION)
        streaming = await kb.as_query_engine(streaming=True).aquery(QUESTION)
        assert isinstance(streaming, AsyncStreamingResponse)
        return str(plain), "".join([piece async for piece in streaming.async_response_gen()])

    plain, streamed = asyncio.run(ask())
    assert "AC/DC" in plain
    assert plain == streamed


def test_a_synchronous_question_works_inside_a_running_loop(kb: KnowledgeBase) -> None:
    async def notebook() -> str:
        return str(kb.as_query_engine().query(QUESTION))

    assert "AC/DC" in asyncio.run(notebook())


def test_the_retriever_gives_nodes_with_scores(kb: KnowledgeBase) -> None:
    nodes = kb.as_retriever(k=1).retrieve(QUESTION)
    assert [node.node.metadata["document_id"] for node in nodes] == ["album/4"]
    assert [node.node.metadata["document_id"] for node in asyncio.run(kb.as_retriever(k=1).aretrieve(QUESTION))] == [
        "album/4"
    ]


def test_the_retriever_serves_llamaindex_s_own_query_engine(kb: KnowledgeBase) -> None:
    synthesizer = get_response_synthesizer(llm=MockLLM(max_tokens=40))
    engine = RetrieverQueryEngine(retriever=kb.as_retriever(k=2), response_synthesizer=synthesizer)
    response = engine.query(QUESTION)
    assert str(response)
    assert "album/4" in {node.node.metadata["document_id"] for node in response.source_nodes}


class ChoosesFirst(MockLLM):
    """A language model whose every answer is the choice of the first tool."""

    def complete(self, prompt, formatted=False, **kwargs):  # type: ignore[no-untyped-def]
        from llama_index.core.llms import CompletionResponse

        return CompletionResponse(text='[{"choice": 1, "reason": "it knows the albums"}]')


def test_the_query_engine_is_a_tool_of_llamaindex_s_router(kb: KnowledgeBase) -> None:
    tool = QueryEngineTool.from_defaults(kb.as_query_engine(), name="shop", description="albums of the record shop")
    llm = ChoosesFirst(max_tokens=None)
    router = RouterQueryEngine.from_defaults([tool, tool], llm=llm, selector=LLMSingleSelector.from_defaults(llm=llm))
    response = router.query(QUESTION)
    assert "AC/DC" in str(response)
    assert response.source_nodes[0].node.metadata["document_id"] == "album/4"
