"""Embedding models behind an OpenAI-compatible endpoint."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from indexes.embedders.model_folder import Prompts
from indexes.embedders.vectors import unit
from rag.errors import EmbedderUnavailable, first_line
from rag.ports import Vectors

_BATCH = 32


class EndpointEmbedder:
    """Any OpenAI-compatible /v1/embeddings endpoint (vLLM, TEI, OpenAI). It knows no prompts but those given."""

    def __init__(
        self, model: str, *, url: str, api_key: str = "", timeout_s: float = 60.0, prompts: Prompts = Prompts()
    ) -> None:
        import openai

        self.name = model
        self._url = url
        self._prompts = {True: prompts.query or "", False: prompts.document or ""}
        self._errors = (openai.OpenAIError, ValueError, TypeError, AttributeError)  # the last ones: of what it sends
        elsewhere = openai.DefaultHttpxClient(follow_redirects=False)  # nobody but this endpoint gets the texts
        self._client: Any = openai.OpenAI(
            base_url=url, api_key=api_key or "none", timeout=timeout_s, max_retries=3, http_client=elsewhere
        )
        self._dim = 0

    @property
    def dim(self) -> int:
        if not self._dim:
            self._dim = self._embed_batch(["dimension"]).shape[1]
        return self._dim

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        prompt = self._prompts[query]
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            vectors[batch] = self._embed_batch([prompt + texts[i] for i in batch])
        return vectors

    def _embed_batch(self, texts: Sequence[str]) -> Vectors:
        try:
            answer = self._client.embeddings.create(model=self.name, input=list(texts))
            rows = sorted(answer.data, key=lambda row: row.index)
            vectors = np.array([row.embedding for row in rows], dtype=np.float32)
            if vectors.ndim != 2 or not np.isfinite(vectors).all():
                raise ValueError("its vectors are not lists of numbers of equal length")
        except self._errors as err:
            raise EmbedderUnavailable(
                f"The embedding endpoint {self._url} failed for model {self.name!r}: {first_line(err)}\n"
                "Check embedder.url, embedder.model and embedder.api_key."
            ) from err
        if len(rows) != len(texts):
            raise EmbedderUnavailable(
                f"The embedding endpoint {self._url} gave {len(rows)} vectors for {len(texts)} texts."
            )
        return unit(vectors)
