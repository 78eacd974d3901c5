"""What the fixture make_kb gives."""

from collections.abc import Callable

from service.knowledge_base import KnowledgeBase

MakeKb = Callable[..., KnowledgeBase]
