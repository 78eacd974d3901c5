"""Points of chunks: embedded where they are new, with the vectors that there are where they are not."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rag.chunking import dense_text, lexical_text
from rag.documents import Chunk, Point
from rag.errors import EmbedderUnavailable
from rag.ports import Embedder, SparseEncoder


@dataclass(slots=True, kw_only=True)
class Vectors:
    """Makes points; a text that is embedded already, under any id, is not embedded again.

    stored: vectors that the index has, by the text that they were made of. embedded, reused: chunks so far.
    """

    embedder: Embedder
    sparse: SparseEncoder
    stored: Mapping[str, list[float]]
    embedded: int = 0
    reused: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # documents that the embedder refuses, with the reason

    def points(self, chunks: Sequence[Chunk]) -> Callable[[], list[Point]]:
        """Embed chunks, but not those of documents that were refused. Returns what makes their points."""
        texts = [dense_text(chunk) for chunk in chunks]
        new = [text for text in dict.fromkeys(texts) if text not in self.stored]
        failures: dict[str, str] = {}
        new_vectors = dict(zip(new, _embed(self.embedder, new, failures), strict=True))
        dense = {**self.stored, **{text: vector for text, vector in new_vectors.items() if vector is not None}}
        self.embedded += len(new) - len(failures)
        self.reused += sum(text not in new_vectors for text in texts)
        for chunk, text in zip(chunks, texts, strict=True):
            if text in failures:
                self.refused.setdefault(chunk.document.id, failures[text])
        kept = [(c, t) for c, t in zip(chunks, texts, strict=True) if c.document.id not in self.refused]

        def made() -> list[Point]:
            sparse = self.sparse.encode([lexical_text(chunk) for chunk, _ in kept])
            return [Point(chunk=c, dense=dense[t], sparse=s) for (c, t), s in zip(kept, sparse, strict=True)]

        return made


def _embed(embedder: Embedder, texts: Sequence[str], failures: dict[str, str]) -> Iterable[list[float] | None]:
    """Vectors of texts; None, and a reason in failures, for one that the embedder refuses however it is asked."""
    if not texts:
        return []
    try:
        return [vector.tolist() for vector in embedder.embed(texts)]
    except EmbedderUnavailable:
        raise
    except Exception as err:  # noqa: BLE001 whatever a text does to an embedder; the other texts go on
        if len(texts) == 1:
            failures[texts[0]] = f"its text cannot be embedded: {type(err).__name__}: {err}"[:500]
            return [None]
    middle = len(texts) // 2
    return [*_embed(embedder, texts[:middle], failures), *_embed(embedder, texts[middle:], failures)]
