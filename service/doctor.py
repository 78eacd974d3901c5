"""Checks of everything a knowledge base stands on, each with how to mend it."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rag.errors import CitewellError
from rag.types import Message
from service.knowledge_base import KnowledgeBase, connect


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    name: str
    ok: bool
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(config: Path) -> list[Check]:
    """Run every check; one that fails does not stop the others."""
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
    return checks


def _check(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=probe())
    except CitewellError as err:
        return Check(name=name, ok=False, detail=str(err))


def _source(kb: KnowledgeBase, name: str) -> Callable[[], str]:
    return lambda: kb.source(name).check()


def _embedder(kb: KnowledgeBase) -> str:
    vector = kb.embedder.embed(["probe"])[0]
    return f"{kb.embedder.name} gives vectors of {len(vector)} numbers"


def _index(kb: KnowledgeBase) -> str:
    where = kb.settings.qdrant.url or f"embedded engine in {kb.settings.data_dir / 'qdrant'}"
    return f"{where}: {kb.index.count()} chunks"


def _tokenizer(kb: KnowledgeBase) -> str:
    tokens = kb.counter.count([Message(role="user", content="Hi")])
    return f"{kb.settings.llm.tokenizer}: a greeting has {tokens} tokens with the chat template"


def _language_model(kb: KnowledgeBase) -> str:
    if not kb.settings.llm.urls:
        return "none configured, so answers quote the best sentences; set llm.urls to a vLLM server for written ones"
    from service.llm import OpenAIGenerator

    llm = kb.settings.llm
    generator = OpenAIGenerator(
        llm.urls, model=llm.model, api_key=llm.api_key.get_secret_value(), timeout_s=llm.timeout_s
    )
    return asyncio.run(generator.check())
