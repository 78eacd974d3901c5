"""A real vLLM server on the CPU, asked through the service. SmolLM2-135M is weak: this shows the wiring, not quality."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag.types import Message, Sampling
from service.vllm.client import OpenAIGenerator
from service.vllm.counter import TransformersTokenCounter
from tests.support.command import SAMPLE, Server, citewell
from tests.support.embedded import stop_engine
from tests.vllm.environment import MODEL

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]
QUESTION = "How long can an unopened record be returned?"


@pytest.fixture(scope="module")
def server(vllm: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shop")
    config = folder / "citewell.toml"
    config.write_text(
        f'[llm]\nurls = ["{vllm}"]\nmodel = "smollm2"\ntokenizer = "{MODEL}"\nmax_tokens = 64\ntimeout_s = 120\n'
        f'[sources.handbook]\nkind = "files"\npaths = ["{SAMPLE / "handbook"}"]\n'
    )
    assert citewell("ingest", config=config).returncode == 0
    with Server(config) as running:
        yield running
    stop_engine(folder / ".citewell" / "qdrant")


def stream(server: Server, question: str) -> list[tuple[str, dict[str, Any]]]:
    body = {"question": question, "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/ask", json=body, timeout=180) as response:
        blocks = [block.split("\n", 1) for block in response.read().decode().strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_a_streamed_answer_comes_from_vllm_and_cites_only_what_exists(server: Server) -> None:
    events = stream(server, QUESTION)
    answer = events[-1][1]
    assert events[-1][0] == "done", answer
    assert not answer["degraded"], answer["degraded_reason"]
    assert answer["usage"]["completion_tokens"] > 0
    labels = {passage["label"] for passage in answer["passages"]}
    assert all(citation["label"] in labels for citation in answer["citations"])
    assert "".join(data["text"] for name, data in events if name == "delta") == answer["text"]


def test_the_same_prompt_again_is_read_from_the_prefix_cache(server: Server) -> None:
    stream(server, QUESTION)
    usage = stream(server, QUESTION)[-1][1]["usage"]
    assert 0 < usage["cached_tokens"] <= usage["prompt_tokens"]


def test_the_prompt_s_tokens_are_counted_as_vllm_counts_them(vllm: str) -> None:
    import asyncio

    messages = [
        Message(role="system", content="You answer from passages."),
        Message(role="user", content="[k7f2] Rücksendung 黑胶唱片 INV-2024-0042\n\n\n  x\t1,234.50 €?"),
    ]

    async def reported() -> int:
        generator = OpenAIGenerator([vllm], model="smollm2")
        async for delta in generator.stream(messages, Sampling(max_tokens=4)):
            if delta.usage:
                return delta.usage.prompt_tokens
        return 0

    assert asyncio.run(reported()) == TransformersTokenCounter(str(MODEL)).count(messages)


def test_what_the_sources_do_not_hold_is_refused_without_asking_the_model(server: Server) -> None:
    answer = stream(server, "What is the capital of Mongolia?")[-1][1]
    assert answer["refused"]
    assert answer["usage"]["prompt_tokens"] == 0


def test_doctor_finds_the_model(server: Server, vllm: str, tmp_path: Path) -> None:
    config = tmp_path / "citewell.toml"
    config.write_text(f'[llm]\nurls = ["{vllm}"]\nmodel = "other"\n')
    done = citewell("doctor", config=config)
    stop_engine(tmp_path / ".citewell" / "qdrant")
    assert done.returncode == 1
    assert "does not serve 'other'" in " ".join(done.stdout.split())
