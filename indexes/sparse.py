"""BM25 term weights as sparse vectors; Qdrant multiplies in the inverse document frequency."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import mmh3

from rag.documents import SparseVector
from rag.language.terms import function_words, terms

K1, B = 1.2, 0.75
# A fixed average keeps a document's vector independent of when it was ingested. 100 does as well as each corpus's own
# average on eight public sets (docs/benchmarks.md): chunks are bounded, so their lengths are too.
AVERAGE_TERMS = 100.0
# "What is …" must not find the songs whose titles begin so; yet a band may be called The Who.
FUNCTION_WORD = 0.2


class Bm25Encoder:
    """Robertson and Zaragoza (2009), The Probabilistic Relevance Framework: BM25 and Beyond, eq. 3.15."""

    name = "bm25-2"

    def encode(self, texts: Sequence[str], *, query: bool = False) -> list[SparseVector]:
        """Encode texts as term weights, in input order; a query's terms weigh 1 each, its function words less."""
        return [_query_vector(text) if query else _document_vector(text) for text in texts]


@lru_cache(maxsize=65536)
def _term_id(term: str) -> int:
    return int(mmh3.hash(term, signed=False))


def _query_vector(text: str) -> SparseVector:
    weights = {_term_id(t): FUNCTION_WORD if t in function_words() else 1.0 for t in terms(text)}
    return _vector(weights)


def _document_vector(text: str) -> SparseVector:
    counts = Counter(map(_term_id, terms(text)))
    norm = K1 * (1 - B + B * counts.total() / AVERAGE_TERMS)
    weights = {term: count * (K1 + 1) / (count + norm) for term, count in counts.items()}
    return _vector(weights)


def _vector(weights: dict[int, float]) -> SparseVector:
    ordered = sorted(weights.items())
    return SparseVector(indices=tuple(i for i, _ in ordered), values=tuple(v for _, v in ordered))
