"""One campaign of the sync fuzz: transactions on a source, runs that go well and runs that do not, and comparisons."""

import random
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.harness import Connector, Setting
from tests.sync_fuzz.product import (
    Copies,
    Outcome,
    differences,
    ended_for_all,
    forget,
    held_scopes,
    ingest_once,
    points_of,
    unexplained,
)
from tests.sync_fuzz.steps import FOLDER, TABLES, Step, World

EVENTS = {
    "plain": 9, "allowed": 4, "killed": 14, "refused": 2, "broken": 3, "full": 1, "keep": 2, "old_index": 2, "old_state": 1,
    "settle": 3,
}  # fmt: skip
QUICK_EVENTS = {**dict.fromkeys(EVENTS, 1), "plain": 2, "killed": 4}
_UPDATES = ("update_spread", "update_clustered", "rewrite", "rewrite_unseen")
_LOSSES = ("delete_many", "delete_all", "truncate")
_FIRST = (TABLES, FOLDER)  # sources that have documents which can never be read
_ATTEMPTS = 3  # at a run that follows all deletions
_SHOWN = 300  # characters of a statement


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts over campaigns; the names are the keys of the lane's result."""

    transactions: int = 0
    kills: int = 0
    lost: int = 0
    duplicate: int = 0
    stale: int = 0
    runs: int = 0
    refused: int = 0
    broken: int = 0
    restored_indexes: int = 0
    restored_states: int = 0
    settles: int = 0
    identity_errors: int = 0
    errors: int = 0

    @property
    def is_bad(self) -> bool:
        return bool(self.lost or self.duplicate or self.stale or self.identity_errors or self.errors)

    @property
    def is_idle(self) -> bool:
        """Whether something that should have been tried never was."""
        tried = (self.kills, self.refused, self.broken, self.restored_indexes, self.restored_states, self.settles)
        return not all(tried)


@dataclass(slots=True, kw_only=True)
class Campaign:
    """A world, the source that it is applied to, and an index and a state that follow it.

    apply: carries a step out; sources: as they are configured now; setting: the index and state, begun anew after a
    comparison that failed, so that each failure is told once.
    """

    label: str
    seed: str
    world: World
    apply: Callable[[Step], None]
    sources: Callable[[], Sequence[Connector]]
    setting: Setting
    copies: Path
    tally: Tally
    most_reports: int = 12
    kinds: Counter[str] = field(default_factory=Counter)
    _rng: random.Random = field(init=False)
    _last: deque[str] = field(init=False, default_factory=lambda: deque(maxlen=12))
    _kept: Copies | None = field(init=False, default=None)
    _boundaries: dict[str, int] = field(init=False, default_factory=dict)
    _reports: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"{self.seed} {self.label} events")

    def run(self, decks: int, events: Mapping[str, int]) -> None:
        """Deal each event as often as it is told, in a random order, so often over; then compare a last time."""
        self._do(self.world.create())
        self._begin()
        for _ in range(decks):
            deck = [event for event, times in events.items() for _ in range(times)]
            self._rng.shuffle(deck)
            for event in deck:
                for _ in range(self._rng.randint(1, 4)):
                    self._do(self.world.step())
                getattr(self, f"_{event}")()
        self._settle()

    def _begin(self) -> None:
        """A first load, and a copy of it."""
        for source in self.sources():
            self._ingest(source)
        self._keep()

    def _do(self, step: Step) -> None:
        if not step.statements:
            return
        self.kinds[step.kind] += 1
        self.tally.transactions += 1
        self._last.append(f"{self.tally.transactions} {step.kind}: {_short(step.statements)}")
        self.apply(step)

    # Events.

    def _plain(self) -> None:
        self._ingest(self._any_source())

    def _allowed(self) -> None:
        self._ingest(self._any_source(), allow_mass_delete=True)

    def _full(self) -> None:
        self._ingest(self._any_source(), full=True)

    def _killed(self) -> None:
        source = self._any_source()
        most = max(self._boundaries.get(source.name, 0), 6)
        self._ingest(source, kill_at=self._rng.randint(1, most), allow_mass_delete=self._rng.random() < 0.3)

    def _refused(self) -> None:
        """Lose so much that a run refuses to follow; the next one that may will."""
        self._do(self.world.step(_LOSSES))
        self._ingest(self.sources()[0])

    def _broken(self) -> None:
        """A run, or several, over a source of which a part cannot be read."""
        self._do(self.world.spoil())
        if self.world.trouble:
            self.tally.broken += 1
        self._ingest(self.sources()[0])
        if self._rng.random() < 0.6:
            self._do(self.world.mend())
            self._ingest(self.sources()[0])

    def _keep(self) -> Copies:
        self._kept = Copies(folder=self.copies)
        self._kept.keep(self.setting)
        self._note("kept copies of index and state")
        return self._kept

    def _old_index(self) -> None:
        kept = self._earlier(self.tally.restored_indexes)
        kept.restore_index(self.setting)
        self.tally.restored_indexes += 1
        self._note("an older index was put back")
        self._rng.choice((self._plain, self._killed))()

    def _old_state(self) -> None:
        kept = self._earlier(self.tally.restored_states)
        kept.restore_state(self.setting)
        self.tally.restored_states += 1
        self._note("an older state was put back")
        self._rng.choice((self._plain, self._killed))()

    def _earlier(self, times: int) -> Copies:
        """Copies of an earlier moment; every second time, of one since which rows were changed and their number was not."""
        if self._kept is None or times % 2 == 0:
            source = self.sources()[0]
            self._ingest(source, allow_mass_delete=True)
            self._keep()
            for _ in range(self._rng.randint(1, 3)):
                self._do(self.world.step(_UPDATES))
            self._ingest(source)
        return self._kept or self._keep()

    def _any_source(self) -> Connector:
        """The first source, mostly."""
        sources = self.sources()
        return sources[0] if self._rng.random() < 0.75 else self._rng.choice(sources)

    def _ingest(self, source: Connector, *, kill_at: int = 0, **flags: bool) -> Outcome:
        """One run, and a judgement of how it ended."""
        allowed = self._may_fail(source)
        outcome = ingest_once(self.setting, source, kill_at=kill_at, **flags)
        self.tally.runs += 1
        self.tally.kills += outcome.killed
        self.tally.refused += outcome.refused
        self._boundaries[source.name] = outcome.boundaries or self._boundaries.get(source.name, 0)
        ending = "killed" if outcome.killed else "refused" if outcome.refused else outcome.error[:80] or "done"
        self._note(f"run of {source.name} {flags or ''} kill_at={kill_at}: {ending}")
        for error in self._unexpected(source, outcome, allowed):
            self.tally.errors += 1
            self._report(f"run of {source.name}: {error}")
        return outcome

    def _may_fail(self, source: Connector) -> set[str]:
        """Scopes of a source that may end in an error: those in trouble, and those that are gone."""
        there = self.world.expected()[source.name].keys()
        gone = held_scopes(self.setting, source.name) - there if source.name == TABLES else set()
        return {*self.world.trouble, *self.world.missing(), *gone}

    def _unexpected(self, source: Connector, outcome: Outcome, allowed: set[str]) -> list[str]:
        """Errors of a run that nothing explains. A whole run may fail only where every table of it may."""
        scopes = self.world.expected()[source.name].keys()
        failed_whole = ended_for_all(outcome) and (len(scopes) == 1 or source.name == FOLDER)
        if failed_whole and (outcome.refused or scopes <= allowed):
            return []
        if outcome.refused and outcome.error:
            return [f"all of it was refused, for one table's sake: {outcome.error}"]
        return outcome.errors_beside(allowed)

    # Comparisons.

    def _settle(self) -> None:
        """Mend, forget what is gone, run until all is followed and once more; compare with a clean rebuild."""
        self._do(self.world.mend())
        self._note("settling")
        self.tally.settles += 1
        bad = False
        for source in self.sources():
            bad |= self._bring_in_step(source.name)
        clean = self.setting.anew()
        for source in self.sources():
            outcome = ingest_once(clean, source)
            self.tally.runs += 1
            bad |= self._judge(source.name, "clean rebuild", outcome, self._identities(source.name, outcome))
        bad |= self._compare(points_of(clean), points_of(self.setting))
        clean.drop()
        if bad:
            self._note("a new index and state")
            self.setting.drop()
            self.setting, self._kept = self.setting.anew(), None
            self._begin()

    def _source(self, name: str) -> Connector:
        return next(source for source in self.sources() if source.name == name)

    def _bring_in_step(self, name: str) -> bool:
        """Run until nothing is left to be done, and once more. Returns whether something was wrong."""
        there = self.world.expected()[name].keys()
        for _ in range(_ATTEMPTS):
            for table in sorted(held_scopes(self.setting, name) - there) if name == TABLES else ():
                forget(self.setting, name, table)
            self.world.forgotten |= self.world.missing()
            outcome = ingest_once(self.setting, self._source(name), allow_mass_delete=True)
            self.tally.runs += 1
            if outcome.is_done:
                break
        self._note(f"run of {name} until it was done: {outcome.error or 'done'}")
        bad = self._judge(name, "run with allow_mass_delete", outcome, self._identities(name, outcome))
        again = ingest_once(self.setting, self._source(name))
        self.tally.runs += 1
        faults = [*self._identities(name, again), *_not_idle(again)]
        return self._judge(name, "run over what is in step", again, faults) or bad

    def _judge(self, name: str, what: str, outcome: Outcome, faults: Sequence[str]) -> bool:
        if not outcome.is_done:
            self.tally.errors += 1
            errors = [line.error for line in outcome.lines or () if line.error]
            self._report(f"{what} of {name} failed: {outcome.error} {errors}")
            return True
        self.tally.identity_errors += len(faults)
        if faults:
            self._report(f"{what} of {name}: {'; '.join(faults)}")
        return bool(faults)

    def _identities(self, name: str, outcome: Outcome) -> list[str]:
        """Sums of a report that are not what they have to be."""
        if outcome.whole is None:
            return []
        expected = self.world.expected()[name]
        whole, lines = outcome.whole, outcome.lines
        faults = [] if whole.adds_up else [f"it does not add up: {whole}"]
        documents, aside = sum(expected.values()), self.world.quarantined() if name in _FIRST else 0
        if whole.quarantined != aside:
            faults.append(f"{whole.quarantined} quarantined where {aside} cannot be read")
        if whole.read - whole.quarantined != documents:
            faults.append(f"{whole.read} read and {whole.quarantined} quarantined of {documents} documents")
        if name != TABLES:
            return faults
        if lines is None:
            return [*faults, "the report has no tables"]
        faults += [f"it does not add up: {line}" for line in lines if not line.adds_up]
        found = {line.table: line.read - line.quarantined for line in lines}
        faults += [
            f"{table}: {found.get(table)} read and well of {expected.get(table)} rows"
            for table in sorted(found.keys() | expected.keys())
            if found.get(table) != expected.get(table)
        ]
        for count in ("read", "added", "updated", "unchanged", "deleted", "quarantined"):
            if getattr(whole, count) != sum(getattr(line, count) for line in lines):
                faults.append(f"the tables' {count} do not make the source's")
        return faults

    def _compare(self, clean: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
        bad = False
        for name, expected in self.world.expected().items():
            rebuilt, here = clean.get(name, {}), found.get(name, {})
            wrong = unexplained(expected, rebuilt)
            self.tally.lost += sum(max(rows - documents, 0) for rows, documents in wrong.values())
            self.tally.stale += sum(max(documents - rows, 0) for rows, documents in wrong.values())
            different = differences(rebuilt, here)
            self.tally.lost += sum(d.lost for d in different.values())
            self.tally.duplicate += sum(d.duplicate for d in different.values())
            self.tally.stale += sum(d.stale for d in different.values())
            if wrong:
                self._report(f"a clean rebuild of {name} has other numbers (rows, documents): {wrong}")
            if different:
                self._report(f"{name} differs from a clean rebuild: {different}")
            bad = bad or bool(wrong or different)
        return bad

    # For people.

    def fail(self, err: Exception) -> None:
        """Print an error that ended the campaign."""
        self._report("".join(traceback.format_exception(err)).strip())

    def _note(self, text: str) -> None:
        self._last.append(text)

    def _report(self, text: str) -> None:
        """Print a failure, with what was done since the one before; after some of them, only the failure."""
        self._reports += 1
        print(f"FAILED seed={self.seed!r} {self.label}, transaction {self.tally.transactions}: {text}", flush=True)
        if self._reports <= self.most_reports:
            print("".join(f"    {line}\n" for line in self._last), end="", flush=True)
            self._last.clear()


def _not_idle(outcome: Outcome) -> list[str]:
    """What a run did over a source that had not changed."""
    whole = outcome.whole
    if whole is None or not (outcome.embedded or whole.added or whole.updated or whole.deleted):
        return []
    return [f"nothing had changed, and it embedded {outcome.embedded} texts: {whole}"]


def _short(statements: Sequence[Any]) -> str:
    texts = [statement if isinstance(statement, str) else repr(statement) for statement in statements[:4]]
    more = f" … {len(statements) - 4} more" if len(statements) > 4 else ""
    return "; ".join(text[:_SHOWN] + ("…" if len(text) > _SHOWN else "") for text in texts) + more
