"""A sparse encoder that only counts."""

import zlib
from collections import Counter
from collections.abc import Sequence

from rag.documents import SparseVector
from rag.language.terms import terms


class TermEncoder:
    """A text's terms, each as often as it stands in it; in a query each weighs 1."""

    name = "terms"

    def encode(self, texts: Sequence[str], *, query: bool = False) -> list[SparseVector]:
        """Encode texts as term weights, in input order."""
        return [_vector(set(terms(text)) if query else terms(text)) for text in texts]


def _vector(found: Sequence[str] | set[str]) -> SparseVector:
    counts = sorted(Counter(zlib.crc32(term.encode("utf-8", "surrogatepass")) for term in found).items())
    return SparseVector(indices=tuple(i for i, _ in counts), values=tuple(float(n) for _, n in counts))
