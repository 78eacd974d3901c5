"""What a vLLM server says of itself at /metrics."""

import asyncio

import httpx
from prometheus_client.parser import text_string_to_metric_families

_MOST_CHARS = 4_000_000


async def engine_metrics(client: httpx.AsyncClient, url: str) -> dict[str, float]:
    """vLLM's counters and gauges by name, summed over labels; empty where there are none. url: as in llm.urls."""
    try:
        async with client.stream("GET", f"{url.removesuffix('/').removesuffix('/v1')}/metrics") as answer:
            if answer.status_code != 200:
                return {}
            text = ""
            async for part in answer.aiter_text():
                text += part
                if len(text) > _MOST_CHARS:
                    return {}
        return await asyncio.to_thread(_figures, text)  # some milliseconds, in which others are answered
    except (httpx.HTTPError, ValueError):
        return {}


def _figures(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {
        family.name.removeprefix("vllm:"): sum(s.value for s in family.samples if not s.name.endswith("_created"))
        for family in families
        if family.name.startswith("vllm:") and family.type in ("counter", "gauge")
    }
