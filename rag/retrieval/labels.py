"""Labels of passages.

A label belongs to a passage: it is derived from the passage's place, not from its rank, so the same passage has the
same label in every prompt, which keeps the prefix cache valid.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace

from rag.documents import Passage


def label_passages(passages: Sequence[Passage], *, taken: Collection[str] = ()) -> list[Passage]:
    """Give each passage its label: letter-digit pairs from its place, longer where two would meet.

    taken: labels that stand for other passages in the same conversation.
    """
    taken = set(taken)
    labelled = []
    for passage in passages:
        digest = hashlib.sha256(f"{passage.document.source}\0{passage.document.id}\0{passage.start}".encode()).digest()
        pairs = "".join(f"{chr(97 + a % 26)}{b % 10}" for a, b in zip(digest[::2], digest[1::2], strict=True))
        length = next(n for n in range(4, len(pairs) + 1, 2) if pairs[:n] not in taken)
        taken.add(pairs[:length])
        labelled.append(replace(passage, label=pairs[:length]))
    return labelled
