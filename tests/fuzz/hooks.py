"""What schemathesis puts into fields of a free form (`python -m tests.fuzz`): filters, schemas and metadata with odd values."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from rag.filters import FIELDS

_TEXT = st.text(st.characters(), max_size=20) | st.sampled_from(  # halves of characters among them
    ["", "*", "\x00", "\ud800", "a\udfffb", "2026-01-31", "0001-01-01", "9999-12-31T23:59:59-14:00", "x" * 2000, "\u202e", "%00"]
)  # fmt: skip
_NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([2**63, -(2**63) - 1, 10**400, 1e308])  # fmt: skip
_ANY = st.recursive(
    st.none() | st.booleans() | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=10,
)
_NAME = st.sampled_from([*FIELDS, "metadata.total", "metadata.\ud800", "metadata.", "metadata." + "x" * 99]) | _TEXT
_RANGE = st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte", "eq"]), _NUMBER | _TEXT | _ANY, max_size=3)
_LEAF = st.dictionaries(
    _NAME, _NUMBER | _TEXT | st.booleans() | st.lists(_NUMBER | _TEXT, max_size=5) | _RANGE | _ANY, max_size=3
)
_FILTER = st.recursive(
    _LEAF,
    lambda inner: st.fixed_dictionaries({}, optional={"any": st.lists(inner, max_size=3), "all": st.lists(inner, max_size=3), "not": inner}),
    max_leaves=6,
) | st.dictionaries(_TEXT, _ANY, max_size=3)  # fmt: skip
_WORDS = ["type", "properties", "items", "enum", "$ref", "anyOf", "required", "pattern", "minimum", "const"]
_SCHEMA = st.dictionaries(st.sampled_from(_WORDS) | _TEXT, _ANY, max_size=4)
_FORMAT = st.fixed_dictionaries(
    {"type": st.sampled_from(["json_object", "json_schema", "text"])},
    optional={
        "json_schema": st.fixed_dictionaries({"schema": _SCHEMA}, optional={"name": _TEXT, "strict": st.booleans()})
    },
)
_QUESTION = st.just("When does the Edmonton store open?")
_BODIES: dict[str, st.SearchStrategy[Any]] = {
    "/v1/ask": st.fixed_dictionaries({"question": _QUESTION}, optional={"filter": _FILTER, "response_format": _FORMAT, "stream": st.booleans()}),
    "/v1/retrieve": st.fixed_dictionaries({"question": _QUESTION, "filter": _FILTER}),
    "/v1/chat/completions": st.fixed_dictionaries(
        {"model": st.just("citewell"), "messages": st.just([{"role": "user", "content": "When does the store open?"}])},
        optional={
            "metadata": _ANY, "response_format": _FORMAT, "citewell": st.fixed_dictionaries({"filter": _FILTER}),
            "stop": _ANY, "logit_bias": _ANY, "tools": _ANY, "stream": st.booleans(),
        },
    ),
}  # fmt: skip


@schemathesis.hook
def before_generate_body(context: schemathesis.HookContext, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Half of the bodies that have a field of a free form have odd values in it, and nothing else that is refused."""
    path = context.operation.path if context.operation is not None else ""
    return strategy | _BODIES[path] if path in _BODIES else strategy
