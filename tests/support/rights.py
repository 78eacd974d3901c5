"""What an acl column may hold, and who sees the row then."""

from typing import Any

NOBODY, ALL = frozenset[str](), frozenset({"*"})
HR, BOTH = frozenset({"hr"}), frozenset({"hr", "ops"})
# As `acl = ["staff"]` of the source says where the value says nothing.
STAFF = frozenset({"staff"})
TOLD = None  # set aside with a reason, and seen by nobody

FORMS: tuple[tuple[Any, frozenset[str] | None], ...] = (
    (None, STAFF), ("", STAFF), ("  ", STAFF), ("[]", NOBODY), ('[""]', NOBODY), (",", NOBODY), (" , ", NOBODY),
    ('["hr"]', HR), ("hr", HR), (" hr ", HR), ("hr,", HR), ("hr,ops", BOTH), ("hr, ops", BOTH), ('["hr", "ops"]', BOTH),
    ("[1, 2]", frozenset({"1", "2"})), ("o'neil", frozenset({"o'neil"})), ("*", ALL), ("hr,*", ALL), ('["*"]', ALL),
    ("null", frozenset({"null"})), ("none", frozenset({"none"})), ("HR", frozenset({"HR"})), ("人事", frozenset({"人事"})),
    ('{"hr"}', TOLD), ("[null]", TOLD), ("{hr,ops}", TOLD), ("{}", TOLD), ("hr;ops", TOLD), ("hr|ops", TOLD),
    ("['hr']", TOLD), ('"hr"', TOLD), ("'hr'", TOLD), ('{"groups":["hr"]}', TOLD), ("hr，ops", TOLD), ("hr、ops", TOLD),
    ('[["hr"]]', TOLD), ("(hr)", TOLD), ("[hr]", TOLD), ("[true]", TOLD), ("hr\nops", TOLD), ('["hr"', TOLD),
    ('[{"hr": true}]', TOLD), ("[1.5]", TOLD),
)  # fmt: skip
