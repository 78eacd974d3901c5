"""What a vLLM server says of itself at /metrics."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


async def engine_metrics(client: httpx.AsyncClient, url: str) -> dict[str, float]:
    """vLLM's counters and gauges by name, summed over labels; empty where there are none. url: as in llm.urls."""
    try:
        answer = await client.get(f"{url.removesuffix('/').removesuffix('/v1')}/metrics")
        families = list(text_string_to_metric_families(answer.text)) if answer.status_code == 200 else []
    except (httpx.HTTPError, ValueError):
        return {}
    return {
        family.name.removeprefix("vllm:"): sum(s.value for s in family.samples if not s.name.endswith("_created"))
        for family in families
        if family.name.startswith("vllm:") and family.type in ("counter", "gauge")
    }
