"""What the service counts, in Prometheus' format at /metrics."""

from prometheus_client import CollectorRegistry, Counter, generate_latest

from rag.types import Answer


class Metrics:
    """Counters of one knowledge base.

    The hit ratio of the prefix cache is citewell_cached_tokens_total / citewell_prompt_tokens_total; an engine without
    --enable-prompt-tokens-details reports no cached tokens.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"citewell_{name}", text, labels, registry=self._registry)

        self._answers = counter("answers", "Answers, by how they ended", "outcome")
        self._prompt = counter("prompt_tokens", "Tokens of prompts, as the engine counted them")
        self._cached = counter("cached_tokens", "Tokens of prompts that the engine's prefix cache held")
        self._completion = counter("completion_tokens", "Tokens of written answers")
        self._dropped = counter("dropped_citations", "Labels taken out because they did not support their sentence")
        self._uncited = counter("uncited_sentences", "Sentences for which no passage was found")

    def count(self, answer: Answer) -> None:
        outcome = (
            "refused" if answer.refused else "degraded" if answer.degraded else "cut" if answer.cut else "answered"
        )
        self._answers.labels(outcome).inc()
        self._prompt.inc(answer.usage.prompt_tokens)
        self._cached.inc(answer.usage.cached_tokens)
        self._completion.inc(answer.usage.completion_tokens)
        self._dropped.inc(answer.dropped)
        self._uncited.inc(answer.uncited)

    def exposition(self) -> bytes:
        """All counters in the text format."""
        return generate_latest(self._registry)
