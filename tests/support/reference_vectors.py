"""Writes tests/data/reference_vectors.npz anew: `python -m tests.support.reference_vectors`, after the encoder changed."""

import sqlite3
from pathlib import Path

import numpy as np

from indexes.embedders.bundled import bundled_embedder
from rag.language.languages import known_pairs
from tests.support.command import ROOT

SHOP = ROOT / "examples" / "record_shop"


def texts() -> list[str]:
    """Rows of the sample, passages of its handbook, and sentences in many languages."""
    with sqlite3.connect(SHOP / "chinook.sqlite") as shop:
        rows = shop.execute("SELECT Name, Composer, UnitPrice FROM Track WHERE TrackId % 250 = 1").fetchall()
    pages = [part for path in sorted(Path(SHOP / "handbook").glob("*.md")) for part in path.read_text().split("\n\n")]
    spoken = [text for pairs in known_pairs().values() for pair in pairs for text in pair]
    found = [f"Track: {name}; Composer: {composer}; Unit price: {price}" for name, composer, price in rows]
    return list(dict.fromkeys(found + [page for page in pages if len(page) > 60][:20] + spoken))


def main() -> None:
    found = texts()
    vectors = bundled_embedder().embed(found).astype(np.float16)
    np.savez_compressed(ROOT / "tests" / "data" / "reference_vectors.npz", texts=np.array(found), vectors=vectors)
    print(f"{len(found)} texts")


if __name__ == "__main__":
    main()
