"""Who may see a document, and what it is filtered by."""

from collections.abc import Collection
from typing import TypedDict

from rag.ports import NOBODY, PUBLIC


class Visibility(TypedDict):
    """Fields of a Document."""

    tenant: str
    acl: tuple[str, ...]
    tags: tuple[str, ...]
    metadata: dict[str, str | int | float | bool]


def as_stored(groups: Collection[str]) -> tuple[str, ...]:
    """Groups as a document has them: none for all of the tenant, and one that no caller is in for nobody."""
    return () if PUBLIC in groups else tuple(sorted(groups)) or (NOBODY,)
