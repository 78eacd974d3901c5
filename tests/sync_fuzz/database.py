"""Random transactions on a database: the same for the same seed, whatever comes of the runs in between."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from tests.sync_fuzz.shapes import SPACING, SPAN, Database, Shape, quoted, shapes
from tests.sync_fuzz.steps import ASKED, TABLES, Step, note_of

QUERY_FROM = 30
QUERY = f"SELECT id, n, note FROM item WHERE n >= {QUERY_FROM}"
VIEW = "stock_view"
_BROKEN = {
    "sqlite": (
        (f"DROP VIEW {VIEW}", f"CREATE VIEW {VIEW} AS SELECT id, n, note FROM nowhere"),
        (f"DROP VIEW {VIEW}", f"CREATE VIEW {VIEW} AS SELECT id, n, note, 100 / divisor AS share FROM stock"),
    ),
    "postgresql": (
        ("UPDATE stock SET divisor = 0 WHERE id = (SELECT min(id) FROM stock)",),
        ("UPDATE stock SET divisor = 1 WHERE divisor = 0",),
    ),
    "mariadb": (
        ("ALTER TABLE stock RENAME COLUMN divisor TO divisor_away",),
        ("ALTER TABLE stock RENAME COLUMN divisor_away TO divisor",),
    ),
}
_READ_WITH = {"maker": ("product", "product_away"), "item": (ASKED,)}  # what cannot be read without a table
_WEIGHTS = {
    "insert_one": 8, "insert_middle": 8, "insert_end": 8, "duplicate": 3, "undecodable": 2,
    "update_spread": 10, "update_clustered": 8, "update_key": 6, "rename_label": 5,
    "delete_one": 6, "delete_spread": 6, "delete_range": 6, "delete_many": 2, "delete_all": 1, "truncate": 1,
    "add_column": 3, "drop_column": 3, "drop_table": 2, "create_table": 6, "rename_table": 2, "rename_back": 5,
    "detach": 3, "attach": 5, "drop_partition": 2, "create_partition": 6,
}  # fmt: skip
KINDS = tuple(_WEIGHTS)


@dataclass(slots=True, kw_only=True)
class _Table:
    """A table that is there. rows: how often each number is in it; unread: numbers of rows that have no key."""

    name: str
    shape: Shape
    rows: dict[int, int] = field(default_factory=dict)
    unread: set[int] = field(default_factory=set)
    extras: list[str] = field(default_factory=list)
    low: int = -1  # of a partition that is detached

    @property
    def target(self) -> str:
        return f"ONLY {self.name}" if self.shape.only else self.name

    @property
    def documents(self) -> int:
        return sum(self.rows.values()) - len(self.unread)


class DatabaseWorld:
    """A database of tables and a view, read as one source, and a query over one of them as another.

    listed: the source names its tables, the view among them; else it reads all tables. reader: the role that reads
    them on PostgreSQL, which can lose its right to one. scale: of the tables' first sizes.
    """

    def __init__(self, database: Database, seed: str, *, listed: bool, reader: str = "", scale: float = 1.0) -> None:
        self.database, self.listed, self.reader = database, listed, reader
        self._rng, self._trouble_rng = random.Random(seed), random.Random(f"{seed} trouble")
        self._shapes = {s.name: replace(s, size=max(int(s.size * scale), 8)) for s in shapes(database)}
        self._tables: dict[str, _Table] = {}
        self._parts: dict[str, list[int]] = {}  # attached partitions of a table, by their lowest number
        self._edition = self._columns = 0
        self._highest = 0
        self._mending: tuple[str, ...] = ()
        self._broken: frozenset[str] = frozenset()
        self.forgotten: set[str] = set()

    # What there is.

    @property
    def names(self) -> list[str]:
        """The tables that a source with a list of tables names: those that were never there are not among them."""
        there = [name for name in [*self._shapes, VIEW] if name not in self.forgotten]
        return [name for name in there if name != VIEW or self.listed]

    @property
    def trouble(self) -> frozenset[str]:
        return self._broken

    def missing(self) -> set[str]:
        """Tables that the list names and that are not there."""
        return set(self.names) - self._tables.keys() - {VIEW} if self.listed else set()

    def expected(self) -> dict[str, dict[str, int]]:
        tables = {name: t.documents for name, t in self._tables.items() if not self.listed or name in self._shapes}
        if self.listed:
            tables[VIEW] = self._tables["stock"].documents
        return {TABLES: tables, ASKED: {ASKED: sum(n >= QUERY_FROM for n in self._tables["item"].rows)}}

    def quarantined(self) -> int:
        return sum(bool(t.unread) for t in self._tables.values())  # a table's rows without a key are one entry

    # What is done.

    def create(self) -> Step:
        statements = [s for shape in self._shapes.values() for s in self._create(shape)]
        view = _BROKEN["sqlite"][1][1]
        return Step(kind="create", statements=(*statements, view))

    def step(self, kinds: Sequence[str] = ()) -> Step:
        wanted = [kind for kind in KINDS if kind in kinds] or list(KINDS)
        weights = [_WEIGHTS[kind] for kind in wanted]
        for _ in range(100):
            (kind,) = self._rng.choices(wanted, weights)
            statements: tuple[str, ...] | None = getattr(self, f"_{kind}")()
            if statements:
                return Step(kind=kind, statements=statements)
        return self.step()

    def spoil(self) -> Step:
        """Break the view, or take the reading role's right to a table away."""
        if self._broken:
            return Step(kind="spoil", statements=())
        if self.database == "postgresql" and not (self.listed and self._trouble_rng.random() < 0.5):
            name = self._trouble_rng.choice(sorted(self._tables))
            self._broken = frozenset({name, *_READ_WITH.get(name, ())})
            self._mending = (f"GRANT SELECT ON {name} TO {self.reader}",)
            return Step(kind="spoil", statements=(f"REVOKE SELECT ON {name} FROM {self.reader}",))
        if not self.listed or not self._tables["stock"].rows:
            return Step(kind="spoil", statements=())
        broken, self._mending = _BROKEN[self.database]
        self._broken = frozenset({VIEW})
        return Step(kind="spoil", statements=broken)

    def mend(self) -> Step:
        statements, self._mending, self._broken = self._mending, (), frozenset()
        return Step(kind="mend", statements=statements)

    # Rows.

    def _pick(self, fits: Callable[[_Table], bool] = lambda _: True) -> _Table | None:
        found = [table for table in self._tables.values() if fits(table)]
        return self._rng.choice(found) if found else None

    def _filled(self, rows: int = 1, fits: Callable[[_Table], bool] = lambda _: True) -> _Table | None:
        return self._pick(lambda t: len(t.rows) >= rows and fits(t))

    def _insert_one(self) -> tuple[str, ...] | None:
        return self._insert_some(lambda t: self._free(t, self._rng.randint(0, max(t.rows, default=0) + SPACING), 1))

    def _insert_middle(self) -> tuple[str, ...] | None:
        """A bulk between the rows that are there."""
        return self._insert_some(
            lambda t: self._free(t, self._rng.choice(sorted(t.rows)) if t.rows else 0, self._rng.randint(8, 50))
        )

    def _insert_end(self) -> tuple[str, ...] | None:
        return self._insert_some(lambda t: self._free(t, max(t.rows, default=0), self._rng.randint(1, 30)))

    def _insert_some(self, choose: Callable[[_Table], list[int]]) -> tuple[str, ...] | None:
        table = self._pick(lambda t: len(t.rows) < 2 * t.shape.size)
        numbers = choose(table) if table is not None else []
        return self._insert(table, numbers) if table is not None and numbers else None

    def _free(self, table: _Table, after: int, count: int) -> list[int]:
        """Numbers from one on that no row has and for which there is room."""
        numbers = (n for n in range(after, after + 6 * count + SPACING) if n not in table.rows and self._fits(table, n))
        return [n for n, _ in zip(numbers, range(count), strict=False)]

    def _fits(self, table: _Table, n: int) -> bool:
        if table.shape.parts:
            return n - n % SPAN in self._parts[table.name]
        return table.low < 0 or table.low <= n < table.low + SPAN

    def _insert(self, table: _Table, numbers: Iterable[int]) -> tuple[str, ...]:
        numbers = list(numbers)
        shape = table.shape
        self._edition += 1
        columns = [*shape.key_columns, "n", "note", *(["maker_id"] if shape.name == "product" else [])]
        rows = []
        for n in numbers:
            values = [*shape.key(n), str(n), quoted(note_of(self._rng, f"{shape.name} {n}", self._edition))]
            if shape.name == "product":
                makers = sorted(self._tables["maker"].rows)
                values.append(str(self._rng.choice(makers)) if makers else "NULL")
            rows.append(f"({', '.join(values)})")
            table.rows[n] = table.rows.get(n, 0) + 1
            self._highest = max(self._highest, n)
        return (f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {', '.join(rows)}",)

    def _duplicate(self) -> tuple[str, ...] | None:
        """The same row once more, in the table that has no key."""
        table = self._filled(1, lambda t: not t.shape.is_keyed)
        if table is None:
            return None
        n = self._rng.choice(sorted(table.rows))
        if table.rows[n] > 3:
            return None
        columns = ", ".join(["n", "note", *table.extras])
        statement = f"INSERT INTO {table.name} ({columns}) SELECT DISTINCT {columns} FROM {table.name} WHERE n = {n}"
        table.rows[n] += 1
        return (statement,)

    def _undecodable(self) -> tuple[str, ...] | None:
        """A new row whose text is no UTF-8, or that has no key, where a database takes it; its number is a new one."""
        if self.database != "sqlite":
            return None
        table, n = self._tables.get("book"), self._highest + 1
        if table is None:
            return None
        self._highest = n
        table.rows[n] = 1
        (key,) = table.shape.key(n)
        if self._rng.random() < 0.5:
            table.unread.add(n)
            key = "NULL"
        return (f"INSERT INTO book (code, n, note) VALUES ({key}, {n}, CAST(x'ff41' AS TEXT))",)

    def _update_spread(self) -> tuple[str, ...] | None:
        table = self._filled()
        if table is None:
            return None
        count = self._rng.randint(1, max(len(table.rows) // 5, 1))
        return self._update(table, self._rng.sample(sorted(table.rows), count))

    def _update_clustered(self) -> tuple[str, ...] | None:
        table = self._filled()
        return self._update(table, self._stretch(table, len(table.rows) // 4)) if table is not None else None

    def _update(self, table: _Table, numbers: Sequence[int]) -> tuple[str, ...]:
        self._edition += 1
        note = quoted(note_of(self._rng, table.shape.name, self._edition))
        return (f"UPDATE {table.target} SET note = {note} WHERE n IN ({_listing(numbers)})",)

    def _stretch(self, table: _Table, most: int) -> list[int]:
        """Rows that follow one another."""
        numbers = sorted(table.rows)
        start = self._rng.randrange(len(numbers))
        return numbers[start : start + self._rng.randint(1, max(most, 1))]

    def _update_key(self) -> tuple[str, ...] | None:
        table = self._filled(1, lambda t: t.shape.is_keyed and t.shape.name != "maker")
        if table is None:
            return None
        old = self._rng.choice(sorted(table.rows))
        found = self._free(table, self._rng.choice(sorted(table.rows)), 1)
        if not found or old in table.unread:
            return None
        (new,) = found
        sets = [
            f"{column} = {value}" for column, value in zip(table.shape.key_columns, table.shape.key(new), strict=True)
        ]
        table.rows[new] = table.rows.pop(old)
        self._highest = max(self._highest, new)
        return (f"UPDATE {table.target} SET {', '.join([*sets, f'n = {new}'])} WHERE n = {old}",)

    def _rename_label(self) -> tuple[str, ...] | None:
        maker = self._tables["maker"]
        return self._update(maker, self._stretch(maker, 2)) if maker.rows else None

    def _delete_one(self) -> tuple[str, ...] | None:
        table = self._filled()
        return self._delete(table, [self._rng.choice(sorted(table.rows))]) if table is not None else None

    def _delete_spread(self) -> tuple[str, ...] | None:
        table = self._filled()
        if table is None:
            return None
        return self._delete(table, self._rng.sample(sorted(table.rows), max(len(table.rows) // 10, 1)))

    def _delete_range(self) -> tuple[str, ...] | None:
        table = self._filled()
        return self._delete(table, self._stretch(table, len(table.rows) // 6)) if table is not None else None

    def _delete_many(self) -> tuple[str, ...] | None:
        """So many that a run refuses to follow."""
        table = self._filled(50, lambda t: t.shape.name != "maker")
        if table is None:
            return None
        return self._delete(
            table, self._rng.sample(sorted(table.rows), len(table.rows) * self._rng.randint(5, 7) // 10)
        )

    def _delete_all(self) -> tuple[str, ...] | None:
        table = self._filled(1, lambda t: t.shape.name not in ("maker", "item"))
        return self._delete(table, list(table.rows)) if table is not None else None

    def _delete(self, table: _Table, numbers: Sequence[int]) -> tuple[str, ...]:
        for n in numbers:
            del table.rows[n]
        table.unread.difference_update(numbers)
        return (f"DELETE FROM {table.target} WHERE n IN ({_listing(numbers)})",)

    def _truncate(self) -> tuple[str, ...] | None:
        table = self._filled(1, lambda t: not t.shape.steady)
        if table is None:
            return None
        table.rows.clear()
        table.unread.clear()
        return (f"{'DELETE FROM' if self.database == 'sqlite' else 'TRUNCATE TABLE'} {table.target}",)

    # Tables.

    def _alterable(self) -> bool:
        """SQLite alters no table while a view is broken."""
        return not (self.database == "sqlite" and self._broken)

    def _add_column(self) -> tuple[str, ...] | None:
        table = self._pick(lambda t: t.shape.alters and len(t.extras) < 3) if self._alterable() else None
        if table is None:
            return None
        self._columns += 1
        default = f" DEFAULT 'given {self._columns}'" if self._rng.random() < 0.5 else ""
        table.extras.append(f"extra_{self._columns}")
        return (f"ALTER TABLE {table.name} ADD COLUMN extra_{self._columns} VARCHAR(40){default}",)

    def _drop_column(self) -> tuple[str, ...] | None:
        table = self._pick(lambda t: bool(t.extras)) if self._alterable() else None
        if table is None:
            return None
        column = table.extras.pop(self._rng.randrange(len(table.extras)))
        return (f"ALTER TABLE {table.name} DROP COLUMN {column}",)

    def _drop_table(self) -> tuple[str, ...] | None:
        table = self._pick(lambda t: not t.shape.steady and t.name not in self._broken)
        if table is None:
            return None
        del self._tables[table.name]
        return (f"DROP TABLE {table.name}",)

    def _create_table(self) -> tuple[str, ...] | None:
        gone = [shape for shape in self._shapes.values() if shape.name not in self._tables]
        return tuple(self._create(self._rng.choice(gone))) if gone else None

    def _create(self, shape: Shape) -> list[str]:
        table = self._tables[shape.name] = _Table(name=shape.name, shape=shape)
        self.forgotten.discard(shape.name)
        inherits = shape.ends.startswith("INHERITS")
        columns = [f"{name} {kind}".strip() for name, kind in zip(shape.key_columns, shape.key_types, strict=True)]
        if not inherits:
            loose = self.database == "sqlite" and shape.name == "book"  # SQLite lets a key be NULL
            columns = columns if loose else [f"{column} NOT NULL" for column in columns]
            columns += ["n INTEGER", "note TEXT", *([shape.extra] if shape.extra else [])]
        if shape.is_keyed:
            columns.append(f"PRIMARY KEY ({', '.join(shape.key_columns)})")
        columns += [shape.clauses] if shape.clauses else []
        statements = [f"CREATE TABLE {shape.name} ({', '.join(columns)}) {shape.ends}".strip()]
        if shape.parts:
            self._parts[shape.name] = [SPAN * part for part in range(shape.parts)]
            statements += [_partition(shape.name, low) for low in self._parts[shape.name]]
        size = self._rng.randint(shape.size * 3 // 4, shape.size)
        numbers = [SPACING * i + SPAN * (i % shape.parts) if shape.parts else SPACING * i for i in range(size)]
        if shape.name == "loose":  # the four kinds of a key side by side
            numbers = list(range(4, size + 4))
        return [*statements, *self._insert(table, numbers)]

    def _rename_table(self) -> tuple[str, ...] | None:
        table = self._pick(lambda t: t.name == t.shape.name and not t.shape.steady and t.name not in self._broken)
        if table is None or f"{table.name}_away" in self._tables or not self._alterable():
            return None
        return self._rename(table, f"{table.name}_away")

    def _rename_back(self) -> tuple[str, ...] | None:
        away = self._pick(lambda t: t.name.endswith("_away") and t.name not in self._broken)
        if away is None or away.shape.name in self._tables or not self._alterable():
            return None
        self.forgotten.discard(away.shape.name)
        return self._rename(away, away.shape.name)

    def _rename(self, table: _Table, name: str) -> tuple[str, ...]:
        old = table.name
        del self._tables[old]
        table.name = name
        self._tables[name] = table
        return (f"ALTER TABLE {old} RENAME TO {name}",)

    # Partitions.

    def _detach(self) -> tuple[str, ...] | None:
        parent = self._pick(lambda t: bool(t.shape.parts and self._parts[t.name]))
        if parent is None:
            return None
        low = self._rng.choice(self._parts[parent.name])
        self._parts[parent.name].remove(low)
        moved = [n for n in parent.rows if low <= n < low + SPAN]
        name = _part_name(parent.name, low)
        shape = Shape(
            name=name,
            key_columns=("id",),
            key_types=("INTEGER",),
            key=parent.shape.key,
            size=20,
            steady=True,
            alters=False,
        )
        self._tables[name] = _Table(name=name, shape=shape, rows={n: parent.rows.pop(n) for n in moved}, low=low)
        return (f"ALTER TABLE {parent.name} DETACH PARTITION {name}",)

    def _attach(self) -> tuple[str, ...] | None:
        part = self._detached()
        if part is None:
            return None
        del self._tables[part.name]
        parent = self._tables["event"]
        parent.rows |= part.rows
        self._parts["event"].append(part.low)
        bounds = f"FOR VALUES FROM ({part.low}) TO ({part.low + SPAN})"
        return (f"ALTER TABLE event ATTACH PARTITION {part.name} {bounds}",)

    def _detached(self) -> _Table | None:
        return self._pick(lambda t: t.name.startswith("event_p") and t.name not in self._broken)

    def _drop_partition(self) -> tuple[str, ...] | None:
        """One that is attached, with the rows that the parent shows, or one that is not."""
        part = self._detached()
        if part is not None:
            del self._tables[part.name]
            return (f"DROP TABLE {part.name}",)
        if not self._parts.get("event"):
            return None
        low = self._rng.choice(self._parts["event"])
        self._parts["event"].remove(low)
        parent = self._tables["event"]
        parent.rows = {n: count for n, count in parent.rows.items() if not low <= n < low + SPAN}
        return (f"DROP TABLE {_part_name('event', low)}",)

    def _create_partition(self) -> tuple[str, ...] | None:
        if "event" not in self._parts:
            return None
        taken = {*self._parts["event"], *(t.low for t in self._tables.values() if t.name.startswith("event_p"))}
        free = [low for low in range(0, 4 * SPAN, SPAN) if low not in taken]
        if not free or len(taken) >= 3:
            return None
        low = self._rng.choice(free)
        self._parts["event"].append(low)
        fill = self._insert(self._tables["event"], range(low, low + self._rng.randint(1, 20)))
        return (_partition("event", low), *fill)


def _partition(parent: str, low: int) -> str:
    return f"CREATE TABLE {_part_name(parent, low)} PARTITION OF {parent} FOR VALUES FROM ({low}) TO ({low + SPAN})"


def _part_name(parent: str, low: int) -> str:
    return f"{parent}_p{low // SPAN}"


def _listing(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
