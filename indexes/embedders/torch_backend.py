"""Any sentence-transformers model, on PyTorch."""

import threading
from collections.abc import Sequence

import numpy as np

from indexes.embedders.model_folder import MODEL, Prompts
from rag.boundary.extras import needs_extra
from rag.errors import EmbedderUnavailable, first_line
from rag.ports import Vectors

_BATCH = 32


class SentenceTransformersEmbedder:
    """Any sentence-transformers model by folder or hub name, with its own query and passage prompts."""

    def __init__(self, model: str, *, name: str = "", prompts: Prompts = Prompts()) -> None:
        self.name = name or model
        self._lock = threading.Lock()
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as err:
            raise EmbedderUnavailable(needs_extra(f"The embedding model {self.name!r} needs", "models")) from err
        try:
            self._model = SentenceTransformer(model)
        except Exception as err:  # the libraries raise OSError, ValueError, and several of the hub client's own
            raise EmbedderUnavailable(
                f"The embedding model {model!r} cannot be loaded: {first_line(err)}\n"
                f"Set embedder.model to another model, or to {MODEL!r}, which is installed with Citewell."
            ) from err
        self.dim = int(self._model.get_embedding_dimension() or 0)
        self._prompts = {True: prompts.query, False: prompts.document}

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        encode = self._model.encode_query if query else self._model.encode_document
        own = {} if self._prompts[query] is None else {"prompt": self._prompts[query]}
        with self._lock:
            vectors = encode(list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False, **own)
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self.dim)
