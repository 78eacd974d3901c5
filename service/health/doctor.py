"""`citewell doctor`: checks of everything a deployment stands on, each with how to mend it."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from rag.boundary.secrets import masked
from rag.boundary.urls import without_credentials
from rag.errors import CitewellError, ConfigError
from rag.ports import Generator
from rag.prompt.profiles import PROFILES
from rag.types import Message, Route, Sampling, Usage
from service.health.probes import Probe, probes
from service.settings.load import load_settings
from service.settings.sections import Settings
from service.vllm.metrics import engine_metrics
from service.vllm.routing import engine_name
from service.vllm.troubles import read_log
from service.wiring import Services, build

_NO_MODEL = "none configured, so answers quote the best sentences; set llm.urls to a vLLM server for generated answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    name: str
    ok: bool
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(config: Path, *, engine_log: Path | None = None) -> list[Check]:
    """Run every check; one that fails does not stop the others. engine_log: vLLM's, to be read for known troubles."""
    opened: list[Services] = []

    def load() -> str:
        opened.append(build(load_settings(config), config=config))
        return f"{config}: {len(opened[0].settings.sources)} sources, data in {opened[0].settings.data_dir}"

    checks = [_check("configuration", load)]
    for services in opened:
        try:
            checks += _examined(services)
        finally:
            services.close()
    if opened and engine_log is not None:
        checks.append(_check("engine's log", lambda: _log(engine_log)))
    return checks


def _examined(services: Services) -> list[Check]:
    parts = [
        _check(f"source {probe.name}" if probe.kind == "source" else probe.name, partial(_probed, probe))
        for probe in probes(services, list(services.settings.sources))
    ]
    tokenizer = _check("tokenizer", lambda: _tokenizer(services))
    generator = services.generator()
    if generator is None:
        return [*parts, tokenizer, _check("language model", lambda: _NO_MODEL)]
    parts.insert(-1, tokenizer)
    if parts[-1].ok:
        parts += [
            _check("context window", lambda: asyncio.run(_window(services.settings, generator))),
            _check("token counts", lambda: asyncio.run(_token_counts(services, generator))),
            _check("engine", lambda: asyncio.run(_engine(services.settings))),
        ]
    return parts


def _check(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=masked(probe()))
    except CitewellError as err:
        return Check(name=name, ok=False, detail=str(err))


def _probed(probe: Probe) -> str:
    async def run() -> str:
        return await probe.run(asyncio.to_thread)

    found = asyncio.run(run())
    return f"{found}, in {probe.place}" if probe.place else found


def _tokenizer(services: Services) -> str:
    tokens = services.counter().count([Message(role="user", content="Hi")])
    return f"{services.settings.llm.tokenizer}: a greeting has {tokens} tokens with the chat template"


async def _window(settings: Settings, generator: Generator) -> str:
    profile = settings.llm.profile
    needed, window = PROFILES[profile], await generator.window_tokens()
    if window is None:
        return f"the server does not report its context length; profile {profile} needs {needed:,} tokens"
    if window < needed:
        raise ConfigError(
            f"The engine was started with {window:,} tokens, and the profile {profile} needs {needed:,}. Set a smaller "
            f"llm.profile, or start it with `citewell engine --profile {profile}`."
        )
    return f"{window:,} tokens; the profile {profile} needs {needed:,}"


async def _token_counts(services: Services, generator: Generator) -> str:
    """Whether Citewell and the engine count a prompt alike: a wrong tokenizer shows here, not in a refused request."""
    chat = [Message(role="system", content="You help."), Message(role="user", content="Hi, 你好, 4711 €\n{}")]
    ours, usage = services.counter().count(chat), Usage()
    async for delta in generator.stream(chat, Sampling(max_tokens=1), Route()):
        usage = delta.usage or usage
    if usage.prompt_tokens != ours:
        raise ConfigError(
            f"Citewell counts a test prompt as {ours} tokens and the engine as {usage.prompt_tokens}, so prompts may "
            f"not fit. Set llm.tokenizer (now {services.settings.llm.tokenizer!r}) to the model's own folder or name."
        )
    return f"{ours} tokens of a test prompt, as the engine counts them"


async def _engine(settings: Settings) -> str:
    """What each vLLM says of its load since it started."""
    told = []
    for place, url in enumerate(settings.llm.urls):
        name = f"{engine_name(place)} ({without_credentials(url)})"
        async with httpx.AsyncClient(timeout=5) as client:
            figures = await engine_metrics(client, url)
        if not figures:
            told.append(f"{name} has no vLLM metrics")
            continue
        asked, hits = figures.get("prefix_cache_queries", 0.0), figures.get("prefix_cache_hits", 0.0)
        preempted, waiting = figures.get("num_preemptions", 0.0), figures.get("num_requests_waiting", 0.0)
        share = f"{hits / asked:.0%} of prompt tokens from the prefix cache" if asked else "no prompt yet"
        told.append(f"{name}: {share}, {waiting:.0f} waiting, {preempted:.0f} preempted")
        if preempted:
            told[-1] += (
                " (more requests than the KV cache holds: use --fp8-cache, --load documents, or another replica)"
            )
    return "; ".join(told)


def _log(path: Path) -> str:
    found = read_log(path)
    if found:
        raise ConfigError("\n".join(f"{each.trouble}: {each.remedy}\n  ({each.line})" for each in found))
    return f"{path}: no known problem"
