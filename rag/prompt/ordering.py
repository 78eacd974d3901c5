"""The order in which passages stand in a prompt, so that vLLM's prefix cache holds as much of it as can be.

A cache hit needs the same tokens from the first on, so two prompts that share passages share cached tokens only where
they begin alike. For each replica, and within it for each tenant and template, a tree of the sequences sent lately is
kept; a new prompt begins with the longest path of passages that it has too, and the others follow by relevance
(which was measured to be better than by popularity: docs/benchmarks.md). Related: ContextPilot (arXiv 2511.03475),
RAGCache (2404.12457).
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_EVICTED_TOKENS = 256  # fewer cached tokens than predicted by more than this: the engine has thrown some away
_MOST_VISITS, _MOST_DEPTH = 300, 200  # of the tree for one prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A passage as it stands in a prompt: `key` is the same where the text is the same."""

    key: str
    tokens: int


@dataclass(slots=True, eq=False)
class _Node:
    key: str
    tokens: int
    parent: "_Node | None"
    children: dict[str, "_Node"] = field(default_factory=dict)
    hits: int = 0
    stamp: int = 0  # when it was last sent; a cache that evicts the least recently used drops the lowest first
    answered: bool = False


@dataclass(slots=True)
class _Replica:
    roots: dict[str, _Node] = field(default_factory=dict)
    nodes: OrderedDict[int, _Node] = field(default_factory=OrderedDict)  # least recently sent first
    tokens: int = 0
    clock: int = 0
    reports: bool = False  # whether the engine has ever said that tokens were cached


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """An order of blocks (indices into those given), and how many tokens of them the cache should hold."""

    order: tuple[int, ...]
    predicted_tokens: int
    replica: str = ""
    matched: tuple[tuple[_Node, int, bool], ...] = ()
    path: tuple[_Node, ...] = ()


class PrefixOrder:
    """Remembers what was sent to each replica. Safe to share between threads.

    capacity_tokens: about what a replica's cache holds; what was sent before that many tokens is forgotten.
    """

    def __init__(self, *, capacity_tokens: int = 1_000_000) -> None:
        self._capacity_tokens = capacity_tokens
        self._replicas: dict[str, _Replica] = {}
        self._lock = threading.Lock()

    def arrange(self, replica: str, namespace: str, blocks: Sequence[Block]) -> Arrangement:
        """Order blocks that are given best first, and remember the order as sent."""
        with self._lock:
            state = self._replicas.setdefault(replica, _Replica())
            root = state.roots.setdefault(namespace, _Node(key="", tokens=0, parent=None))
            places = {block.key: place for place, block in enumerate(blocks)}
            matched = _longest_path(root, places)
            order = [places.pop(node.key) for node in matched]
            order += sorted(set(range(len(blocks))) - set(order))
            before = tuple((node, node.stamp, node.answered) for node in matched)
            path = self._send(state, root, [blocks[place] for place in order])
        return Arrangement(
            order=tuple(order),
            predicted_tokens=sum(node.tokens for node in matched),
            replica=replica,
            matched=before,
            path=tuple(path),
        )

    def _send(self, state: _Replica, root: _Node, blocks: Sequence[Block]) -> list[_Node]:
        node, path = root, []
        state.clock += 1
        for block in blocks:
            child = node.children.get(block.key)
            if child is None:
                child = node.children[block.key] = _Node(key=block.key, tokens=block.tokens, parent=node)
                state.tokens += block.tokens
            child.hits += 1
            path.append(child)
            node = child
        for node in reversed(path):  # the deepest first, so that the oldest node is always a leaf
            node.stamp = state.clock
            state.nodes[id(node)] = node
            state.nodes.move_to_end(id(node))
        while state.tokens > self._capacity_tokens and len(state.nodes) > len(path):
            _drop_oldest(state)
        return path

    def answered(self, arrangement: Arrangement, *, cached_tokens: int, fixed_tokens: int) -> None:
        """Learn from an engine's report: what was predicted and not cached was evicted, and all older with it.

        fixed_tokens: of the prompt before its first block. An engine that reports no cached tokens teaches nothing.
        """
        with self._lock:
            state = self._replicas[arrangement.replica]
            state.reports = state.reports or cached_tokens > 0
            for node in arrangement.path:
                node.answered = True
            if not state.reports or cached_tokens + _EVICTED_TOKENS >= fixed_tokens + arrangement.predicted_tokens:
                return
            depth = fixed_tokens
            lost = 0
            for node, stamp, was_answered in arrangement.matched:
                depth += node.tokens
                if depth > cached_tokens + _EVICTED_TOKENS and was_answered:
                    lost = max(lost, stamp)
            while state.nodes and next(iter(state.nodes.values())).stamp <= lost:
                _drop_oldest(state)


def _longest_path(root: _Node, keys: Iterable[str]) -> list[_Node]:
    """The path among the wanted blocks that holds most tokens; the most used where two hold the same."""
    visits = _MOST_VISITS
    wanted = set(keys)

    def search(node: _Node, depth: int) -> tuple[int, int, list[_Node]]:
        nonlocal visits
        best: tuple[int, int, list[_Node]] = (0, 0, [])
        children = node.children
        shared = [children[key] for key in wanted & children.keys()] if depth <= _MOST_DEPTH else []
        for child in sorted(shared, key=_by_use) if len(shared) > 1 else shared:
            if visits <= 0:
                break
            visits -= 1
            wanted.discard(child.key)
            tokens, hits, path = search(child, depth + 1)
            wanted.add(child.key)
            if (tokens + child.tokens, hits + child.hits) > best[:2]:
                best = (tokens + child.tokens, hits + child.hits, [child, *path])
        return best

    return search(root, 0)[2]


def _by_use(node: _Node) -> tuple[int, str]:
    return -node.hits, node.key


def _drop_oldest(state: _Replica) -> None:
    _, node = state.nodes.popitem(last=False)
    state.tokens -= node.tokens
    if node.parent is not None:
        node.parent.children.pop(node.key, None)
