"""The collection that questions are asked of, and how a re-index is followed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rag.errors import IndexMoved
from rag.fakes import HashEmbedder
from rag.lazy import Lazy
from rag.retrieval.likeness import NO_SCALE, Scale
from service.collection import Binding, Collection
from tests.unit.service.conftest import binding


class Named(HashEmbedder):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def bound(name: str, **parts: Any) -> Binding:
    return binding((f"Text of {name}.",), embedder=Named(name), **parts)


def leave(binding: Binding) -> None:
    """A re-index has put another collection in the place of this one."""
    index: Any = binding.index
    index.leave()


class Reindexed:
    """A collection, and the one that a re-index puts in its place. rebound: how often it was opened anew."""

    def __init__(self, *, follows: bool = True) -> None:
        self.old, self.new = bound("old"), bound("new")
        self.rebound = 0
        self.collection = Collection(lambda: self.old, self._rebind if follows else None)

    def move(self) -> None:
        leave(self.old)

    def _rebind(self) -> Binding:
        self.rebound += 1
        return self.new


def used(binding: Binding) -> str:
    """The embedder's name, once its collection has answered."""
    binding.index.count()
    return binding.embedder.name


def test_a_collection_is_opened_once_and_when_it_is_asked_for() -> None:
    opened: list[str] = []

    def bind() -> Binding:
        opened.append("once")
        return bound("old")

    collection = Collection(bind)
    assert opened == []
    assert collection.current() is collection.current()
    assert opened == ["once"]


def test_work_whose_collection_was_replaced_is_done_once_more_with_the_new_one() -> None:
    case = Reindexed()
    case.collection.current()
    case.move()
    assert case.collection.use(used) == "new"
    assert case.collection.current() is case.new


def test_work_is_done_twice_at_most() -> None:
    case, tries = Reindexed(), 0

    def always(binding: Binding) -> None:
        nonlocal tries
        tries += 1
        raise IndexMoved("again")

    with pytest.raises(IndexMoved, match="again"):
        case.collection.use(always)
    assert tries == 2


def test_without_a_file_to_read_a_re_index_is_not_followed() -> None:
    case = Reindexed(follows=False)
    case.collection.current()
    case.move()
    with pytest.raises(IndexMoved):
        case.collection.use(used)
    assert case.collection.follow() is case.old


def test_another_error_is_raised_as_it_is_and_nothing_is_opened_anew() -> None:
    case = Reindexed()
    with pytest.raises(ZeroDivisionError):
        case.collection.use(lambda binding: 1 // 0)
    assert case.rebound == 0


def test_follow_goes_over_once_the_alias_stands_for_another_collection() -> None:
    case = Reindexed()
    case.collection.current()
    assert case.collection.follow() is case.old
    case.move()
    assert case.collection.follow() is case.new
    assert case.collection.follow() is case.new
    assert case.rebound == 1


def test_follow_opens_a_collection_that_was_not_open_yet_as_it_is_configured() -> None:
    case = Reindexed()
    case.move()
    assert case.collection.follow() is case.old
    assert case.rebound == 0


def test_index_encoders_and_scale_change_together_while_a_search_is_under_way() -> None:
    case, begun, moved = Reindexed(), threading.Event(), threading.Event()
    case.collection.current()

    def search(binding: Binding) -> tuple[str, object]:
        embedder = binding.embedder.name
        begun.set()
        assert moved.wait(5)
        return embedder, binding.index

    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(case.collection.use, search)
        assert begun.wait(5)
        case.move()
        case.collection.follow()
        moved.set()
        assert under_way.result(5) == ("old", case.old.index)
    assert case.collection.use(search) == ("new", case.new.index)


def test_a_search_whose_collection_goes_under_its_hands_is_answered_whole_by_the_new_one() -> None:
    case, begun, moved = Reindexed(), threading.Event(), threading.Event()
    pairs: list[tuple[str, object]] = []

    def search(binding: Binding) -> str:
        pairs.append((binding.embedder.name, binding.index))
        begun.set()
        assert moved.wait(5)
        return used(binding)

    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(case.collection.use, search)
        assert begun.wait(5)
        case.move()
        case.collection.follow()
        moved.set()
        assert under_way.result(5) == "new"
    assert pairs == [("old", case.old.index), ("new", case.new.index)]
    assert case.rebound == 1


def test_threads_whose_work_the_same_move_broke_open_the_new_collection_once() -> None:
    case, together = Reindexed(), threading.Barrier(4)
    case.collection.current()
    case.move()

    def work(binding: Binding) -> str:
        if binding is case.old:
            together.wait(5)
        return used(binding)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: case.collection.use(work), range(4))) == ["new"] * 4
    assert case.rebound == 1


def test_a_collection_that_cannot_be_opened_anew_is_tried_again_by_the_next() -> None:
    fails = [True]

    def rebind() -> Binding:
        if fails.pop() if fails else False:
            raise IndexMoved("no configuration")
        return new

    old, new = bound("old"), bound("new")
    collection = Collection(lambda: old, rebind)
    collection.current()
    leave(old)
    with pytest.raises(IndexMoved, match="no configuration"):
        collection.use(used)
    assert collection.use(used) == "new"


def test_models_that_were_let_go_are_loaded_again_when_they_are_needed() -> None:
    made: list[Binding] = []

    def bind() -> Binding:
        made.append(bound("old"))
        return made[-1]

    collection = Collection(bind)
    collection.current()
    collection.release()
    assert len(made) == 1
    assert collection.current() is made[1]


def test_a_binding_names_its_encoders_and_measures_its_scale_when_it_is_asked() -> None:
    measured: list[str] = []
    scale = Scale(floor=0.1, top=0.9)

    def measure() -> dict[str, Scale]:
        measured.append("once")
        return {"de": scale, "": NO_SCALE}

    made = bound("old", likeness=Lazy(measure))
    assert (made.encoders.embedder, made.encoders.dim, made.encoders.sparse) == ("old", 32, "terms")
    assert measured == []
    assert (made.scale("de"), made.scale("xx")) == (scale, NO_SCALE)
    assert measured == ["once"]
