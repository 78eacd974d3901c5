"""Checks of everything a knowledge base stands on, each with how to mend it."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from rag.boundary.secrets import masked
from rag.boundary.urls import without_credentials
from rag.errors import CitewellError, ConfigError
from rag.prompt.profiles import PROFILES
from rag.types import Message, Sampling, Usage
from service.knowledge_base import KnowledgeBase, connect
from service.vllm.metrics import engine_metrics
from service.vllm.troubles import read_log

if TYPE_CHECKING:
    from service.vllm.client import OpenAIGenerator


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    name: str
    ok: bool
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(config: Path, *, engine_log: Path | None = None) -> list[Check]:
    """Run every check; one that fails does not stop the others. engine_log: vLLM's, to be read for known troubles."""
    opened: list[KnowledgeBase] = []

    def load() -> str:
        opened.append(connect(config))
        return f"{config}: {len(opened[0].settings.sources)} sources, data in {opened[0].settings.data_dir}"

    first = _check("configuration", load)
    if not opened:
        return [first]
    with opened[0] as kb:
        checks = [first, *(_check(f"source {name}", _source(kb, name)) for name in kb.settings.sources)]
        checks += [
            _check("embedder", lambda: _embedder(kb)),
            _check("index", lambda: _index(kb)),
            _check("tokenizer", lambda: _tokenizer(kb)),
            _check("language model", lambda: _language_model(kb)),
        ]
        if kb.settings.llm.urls and checks[-1].ok:
            checks += [
                _check("context window", lambda: asyncio.run(_window(kb))),
                _check("token counts", lambda: asyncio.run(_token_counts(kb))),
                _check("engine", lambda: asyncio.run(_engine(kb))),
            ]
    if engine_log is not None:
        checks.append(_check("engine's log", lambda: _log(engine_log)))
    return checks


def _check(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=masked(probe()))
    except CitewellError as err:
        return Check(name=name, ok=False, detail=str(err))


def _source(kb: KnowledgeBase, name: str) -> Callable[[], str]:
    return lambda: kb.source(name).check()


def _embedder(kb: KnowledgeBase) -> str:
    vector = kb.embedder.embed(["probe"])[0]
    return f"{kb.embedder.name} gives vectors of {len(vector)} numbers"


def _index(kb: KnowledgeBase) -> str:
    where = without_credentials(kb.settings.qdrant.url) or f"embedded engine in {kb.settings.data_dir / 'qdrant'}"
    return f"{where}: {kb.index.count()} chunks"


def _tokenizer(kb: KnowledgeBase) -> str:
    tokens = kb.counter.count([Message(role="user", content="Hi")])
    return f"{kb.settings.llm.tokenizer}: a greeting has {tokens} tokens with the chat template"


def _language_model(kb: KnowledgeBase) -> str:
    if not kb.settings.llm.urls:
        return "none configured, so answers quote the best sentences; set llm.urls to a vLLM server for written ones"
    from service.vllm.client import all_answer

    return asyncio.run(all_answer(_generator(kb)))


def _generator(kb: KnowledgeBase) -> "OpenAIGenerator":
    from service.vllm.client import OpenAIGenerator

    llm = kb.settings.llm
    return OpenAIGenerator(llm.urls, model=llm.model, api_key=llm.api_key.get_secret_value(), timeout_s=llm.timeout_s)


async def _window(kb: KnowledgeBase) -> str:
    profile = kb.settings.llm.profile
    needed, window = PROFILES[profile], await _generator(kb).window_tokens()
    if window is None:
        return f"the server does not say how long a context it takes; profile {profile} needs {needed:,} tokens"
    if window < needed:
        raise ConfigError(
            f"The engine was started with {window:,} tokens, and the profile {profile} needs {needed:,}. Set a smaller "
            f"llm.profile, or start it with `citewell engine --profile {profile}`."
        )
    return f"{window:,} tokens; the profile {profile} needs {needed:,}"


async def _token_counts(kb: KnowledgeBase) -> str:
    """Whether Citewell and the engine count a prompt alike: a wrong tokenizer shows here, not in a refused request."""
    chat = [Message(role="system", content="You help."), Message(role="user", content="Hi, 你好, 4711 €\n{}")]
    ours, usage = kb.counter.count(chat), Usage()
    async for delta in _generator(kb).stream(chat, Sampling(max_tokens=1)):
        usage = delta.usage or usage
    if usage.prompt_tokens != ours:
        raise ConfigError(
            f"Citewell counts a test prompt as {ours} tokens and the engine as {usage.prompt_tokens}, so prompts may "
            f"not fit. Set llm.tokenizer (now {kb.settings.llm.tokenizer!r}) to the model's own folder or name."
        )
    return f"{ours} tokens of a test prompt, as the engine counts them"


async def _engine(kb: KnowledgeBase) -> str:
    """What each vLLM says of its load since it started."""
    from service.vllm.routing import engine_name

    told = []
    for place, url in enumerate(kb.settings.llm.urls):
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
    return f"{path}: no known trouble"
