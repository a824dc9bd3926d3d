"""Who is next for one of a number of places: namespaces take turns, and no one fills them all. No clock, no I/O.

What matters more comes first; among equals the namespace with the fewest passes at work, and among those the one that
was served longest ago. Within a namespace the same holds between lanes (the jump hosts of its devices), and a lane has a
limit of its own. A key that may not be worked on now waits here, where it costs nothing: no worker and no connection.
A pass costs most at its beginning, so a namespace may have only few that have just begun: a hundred that begin together
would keep the one processor busy for all.
Every operation is O(log n) in the number of keys.
"""

import dataclasses
import heapq
import itertools
from typing import Generic, TypeVar

from edgeherd.model import Key, Priority
from edgeherd.shares import may_take

_Name = TypeVar("_Name", str, Key)
_Rank = TypeVar("_Rank", tuple[int, int], tuple[int, int, int])


class _Ranking(Generic[_Name, _Rank]):
    """Names by rank, the lowest first. What is outdated stays in the heap until it comes to the top."""

    def __init__(self) -> None:
        self._heap: list[tuple[_Rank, _Name]] = []
        self._ranks: dict[_Name, _Rank] = {}

    def set(self, name: _Name, rank: _Rank | None) -> None:
        """Give a name a rank, or (None) take it out."""
        if rank is None:
            self._ranks.pop(name, None)
        elif self._ranks.get(name) != rank:
            self._ranks[name] = rank
            heapq.heappush(self._heap, (rank, name))

    def first(self) -> tuple[_Rank, _Name] | None:
        """The name with the lowest rank, and its rank."""
        while self._heap:
            rank, name = self._heap[0]
            if self._ranks.get(name) == rank:
                return rank, name
            heapq.heappop(self._heap)
        return None


@dataclasses.dataclass(slots=True)
class _Lane:
    """Keys of a namespace that share a way to their devices."""

    turn: int
    running: int = 0
    keys: _Ranking[Key, tuple[int, int]] = dataclasses.field(default_factory=_Ranking)
    """By priority, then by when they came."""


@dataclasses.dataclass(slots=True)
class _Namespace:
    turn: int
    running: int = 0
    young: int = 0
    """How many of those have just begun."""
    lanes: dict[str, _Lane] = dataclasses.field(default_factory=dict)
    order: _Ranking[str, tuple[int, int, int]] = dataclasses.field(default_factory=_Ranking)
    """The lanes that may start one more, by the priority of their first key, by passes at work, by turn."""


class FairQueue:
    """Keys that wait for a place, and the places."""

    def __init__(self, places: int, *, reserve: int, lane_places: int, young_places: int) -> None:
        """All is free.

        Args:
            places: how many keys may be worked on at the same time.
            reserve: how many of the places no namespace can take that holds as many already.
            lane_places: how many keys of a lane may be worked on at the same time; the lane '' has no limit.
            young_places: how many keys of a namespace may be at their beginning at the same time.
        """
        self._free = places
        self._reserve = reserve
        self._lane_places = lane_places
        self._young_places = young_places
        self._namespaces: dict[str, _Namespace] = {}
        self._turns: dict[Priority, _Ranking[str, tuple[int, int]]] = {priority: _Ranking() for priority in Priority}
        """The namespaces that want a place, by their best priority; in it by passes at work, then by turn."""
        self._waiting: dict[Key, tuple[Priority, str]] = {}
        self._running: dict[Key, str] = {}
        self._young: set[Key] = set()
        self._count = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Key, priority: Priority, lane: str = "") -> None:
        """Let a key wait. One that waits already moves up if it matters more now, and else keeps its place."""
        if key in self._waiting:
            known, old_lane = self._waiting[key]
            if known <= priority:
                return
            self._namespaces[key.namespace].lanes[old_lane].keys.set(key, None)
            self._rank(key.namespace, old_lane)
        # Who comes anew is at the end of the line, or somebody who always has just one key would always be first.
        namespace = self._namespaces.setdefault(key.namespace, _Namespace(next(self._count)))
        namespace.lanes.setdefault(lane, _Lane(next(self._count))).keys.set(key, (priority, next(self._count)))
        self._waiting[key] = (priority, lane)
        self._rank(key.namespace, lane)

    def take(self) -> Key | None:
        """The next key, which holds a place until `release`; None while no key may have one."""
        name = self._next()
        return None if name is None else self._start(name)

    def may_take(self) -> bool:
        """Whether a key waits that may have a place now."""
        return self._next() is not None

    def _next(self) -> str | None:
        """The namespace whose key is next."""
        for names in self._turns.values():
            first = names.first()
            if first is None:
                continue
            (held, _), name = first
            # If not the one with the fewest passes at work, then none of this priority; but one of a lower might.
            if may_take(held=held, free=self._free, reserve=self._reserve):
                return name
        return None

    def grown(self, key: Key) -> None:
        """The work on a key has been going on for a while: it is not at its beginning any more."""
        self._young.remove(key)
        self._namespaces[key.namespace].young -= 1
        self._rank(key.namespace, self._running[key])

    def release(self, key: Key) -> None:
        """Give back the key's place."""
        if key in self._young:
            self.grown(key)
        lane = self._running.pop(key)
        namespace = self._namespaces[key.namespace]
        self._free += 1
        namespace.running -= 1
        namespace.lanes[lane].running -= 1
        self._rank(key.namespace, lane)

    def _start(self, name: str) -> Key:
        namespace = self._namespaces[name]
        _, lane_name = _known(namespace.order.first())
        lane = namespace.lanes[lane_name]
        _, key = _known(lane.keys.first())
        lane.keys.set(key, None)
        del self._waiting[key]
        self._running[key] = lane_name
        self._young.add(key)
        self._free -= 1
        namespace.running += 1
        namespace.young += 1
        lane.running += 1
        namespace.turn = lane.turn = next(self._count)
        self._rank(name, lane_name)
        return key

    def _rank(self, name: str, lane_name: str) -> None:
        """Something changed in a lane: put it, and its namespace, where they belong now."""
        namespace = self._namespaces[name]
        lane = namespace.lanes[lane_name]
        head = lane.keys.first()
        may_start = head is not None and (not lane_name or lane.running < self._lane_places)
        namespace.order.set(lane_name, (head[0][0], lane.running, lane.turn) if head and may_start else None)
        if head is None and not lane.running:
            del namespace.lanes[lane_name]
        best = namespace.order.first() if namespace.young < self._young_places else None
        for priority, names in self._turns.items():
            wants = best is not None and best[0][0] == priority
            names.set(name, (namespace.running, namespace.turn) if wants else None)
        if not namespace.lanes:
            del self._namespaces[name]


_T = TypeVar("_T")


def _known(value: _T | None) -> _T:
    assert value is not None  # noqa: S101 - only what wants a place is asked
    return value
