"""What is read of a vLLM's /metrics."""

import asyncio

import httpx
import pytest

from service.vllm.metrics import engine_metrics

TEXT = """# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0"} 3.0
vllm:num_requests_waiting{engine="1"} 4.0
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0"} 100.0
vllm:prompt_tokens_created{engine="0"} 1.7e9
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_count 5
# TYPE process_open_fds gauge
process_open_fds 9
"""


def metrics(answer: httpx.Response | Exception, url: str = "http://engine/v1") -> dict[str, float]:
    def handle(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://engine/metrics"
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def read() -> dict[str, float]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
            return await engine_metrics(client, url)

    return asyncio.run(read())


@pytest.mark.parametrize("url", ["http://engine/v1", "http://engine/v1/", "http://engine"])
def test_gauges_and_counters_are_summed_over_labels(url: str) -> None:
    assert metrics(httpx.Response(200, text=TEXT), url) == {"num_requests_waiting": 7.0, "prompt_tokens": 100.0}


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, text=TEXT),
        httpx.Response(200, text="vllm:x{ nonsense"),
        httpx.Response(200, text=f"{TEXT}# {'x' * 4_000_000}\n"),
        httpx.ConnectError("refused"),
    ],
    ids=["missing", "nonsense", "endless", "down"],
)
def test_a_server_without_readable_metrics_has_none(answer: httpx.Response | Exception) -> None:
    assert metrics(answer) == {}
