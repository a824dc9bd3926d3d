"""The work queue: which object is looked at next. Nothing here knows what a pass does.

A key is in the queue at most once, and is never worked on twice at the same time: what arrives meanwhile marks it
dirty, and one more pass follows. Failures back off per key, with jitter. Whose turn it is, is in `fair_queue.py`.

Devices that took long when they were last looked at have few places of their own: however many hang, in however many
namespaces, those that answer do not wait behind them.
"""

import asyncio
import collections
import dataclasses
import heapq
import itertools
import random
import time
from typing import Protocol

from edgeherd.controller.fair_queue import FairQueue
from edgeherd.model import Key, Priority

FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0

YOUNG_SECONDS = 3.0
"""So long a pass counts as one that has just begun: then it has made its requests, and waits for its device."""


@dataclasses.dataclass(order=True, slots=True)
class _Due:
    at: float
    order: int
    key: Key = dataclasses.field(compare=False)
    priority: Priority = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many passes may be at work at the same time. Passes mostly wait: for the hub, and for devices."""

    workers: int = 64
    reserved_workers: int = 16
    """So many of them no namespace can take that has as many passes at work already (see `shares.may_take`)."""
    slow_workers: int = 16
    """Beside `workers`, for devices that took long when they were last looked at; a quarter of them is reserved."""
    per_jump_host: int = 16
    """Passes of one namespace over devices behind the same jump host, in each of the two groups."""

    @property
    def young(self) -> int:
        """Passes of one namespace that have just begun, in each of the two groups. Quick ones are not slowed down by it."""
        return max(1, self.workers // 8)

    @property
    def passes(self) -> int:
        """All together."""
        return self.workers + self.slow_workers


class Observer(Protocol):
    """Hears what happens in the queue. Its calls return at once and raise nothing."""

    def added(self, key: Key) -> None:
        """The key waits for a place; it may have waited already."""

    def taken(self, key: Key) -> None:
        """A pass over the key begins."""

    def done(self, key: Key) -> None:
        """The pass has ended."""

    def retried(self, key: Key) -> None:
        """The pass failed: the key comes back after a while."""


class _Nobody:
    def added(self, key: Key) -> None:
        del key

    taken = done = retried = added


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """Whether the queue moves."""

    may_take: bool
    """A key waits, and there is a place for it."""
    still_seconds: float
    """Since something was last taken or done, or began to wait in an empty queue."""
    longest_seconds: float
    """How long the pass has been going on that began first; 0 without any."""


class WorkQueue:
    """Keys to look at, by priority, now or later. For one event loop."""

    def __init__(self, capacity: Capacity = Capacity(), observer: Observer | None = None) -> None:
        limits = {"lane_places": capacity.per_jump_host, "young_places": capacity.young}
        self._usual = FairQueue(capacity.workers, reserve=capacity.reserved_workers, **limits)
        self._slow = FairQueue(capacity.slow_workers, reserve=capacity.slow_workers // 4, **limits)
        self._observer: Observer = _Nobody() if observer is None else observer
        self._moved_at = 0.0
        self._busy: dict[Key, tuple[FairQueue, asyncio.TimerHandle]] = {}
        """In the order in which their passes began, each three seconds before its timer."""
        self._dirty: dict[Key, Priority] = {}
        self._hung: set[Key] = set()
        self._lanes: dict[Key, str] = {}
        self._later: list[_Due] = []
        self._due: dict[Key, _Due] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._failures: dict[Key, int] = {}
        self._order = itertools.count()
        self._getters: collections.deque[asyncio.Future[None]] = collections.deque()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._usual) + len(self._slow)

    @property
    def state(self) -> QueueState:
        """Whether it moves."""
        now = time.monotonic()
        _, first = next(iter(self._busy.values()), (None, None))
        return QueueState(
            may_take=self._usual.may_take() or self._slow.may_take(),
            still_seconds=now - self._moved_at,
            longest_seconds=0.0 if first is None else now - (first.when() - YOUNG_SECONDS),
        )

    async def idle(self) -> None:
        """Wait until no pass is at work."""
        await self._idle.wait()

    def put_behind(self, key: Key, jump_host: str) -> None:
        """The key's device is behind this jump host; '' is none. It counts from when the key is next added."""
        if jump_host:
            self._lanes[key] = jump_host
        else:
            self._lanes.pop(key, None)

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """Look at the key as soon as there is a place for it. A waiting, later date is dropped."""
        self._due.pop(key, None)
        self._observer.added(key)
        if not len(self):
            self._moved_at = time.monotonic()
        if key in self._busy:
            self._dirty[key] = min(priority, self._dirty.get(key, priority))
            return
        group = self._slow if key in self._hung else self._usual
        group.add(key, priority, self._lanes.get(key, ""))
        self._wake()

    def add_after(self, key: Key, seconds: float, priority: Priority = Priority.DRIFT) -> None:
        """Look at the key in `seconds`, or earlier if an earlier date is set already."""
        at = asyncio.get_running_loop().time() + max(0.0, seconds)
        planned = self._due.get(key)
        if planned is not None and planned.at <= at:
            return
        due = _Due(at=at, order=next(self._order), key=key, priority=priority)
        self._due[key] = due
        heapq.heappush(self._later, due)
        self._set_timer()

    def add_rate_limited(self, key: Key) -> float:
        """Look at a key again after it failed: 1, 2, 4 ... 300 s, with jitter. Returns the seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 16))
        delay *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads load; no secret
        self._observer.retried(key)
        self.add_after(key, delay, Priority.CHANGE)
        return delay

    def forget(self, key: Key) -> None:
        """Forget the failures of a key that is at work, and that it took long."""
        self._failures.pop(key, None)
        self._hung.discard(key)

    def remember_slow(self, key: Key) -> None:
        """The key that is at work took long: the next time it gets a place among such, until `forget`."""
        self._hung.add(key)

    async def get(self) -> Key:
        """The next key, when there is one that may be worked on. The caller must call `done` afterwards."""
        while True:
            for group in (self._usual, self._slow):
                key = group.take()
                if key is not None:
                    self._moved_at = time.monotonic()
                    self._observer.taken(key)
                    grown = asyncio.get_running_loop().call_later(YOUNG_SECONDS, self._grow, group, key)
                    self._busy[key] = (group, grown)
                    self._idle.clear()
                    self._wake()  # one place that comes back can make room for two namespaces
                    return key
            await self._woken()

    def done(self, key: Key) -> None:
        """The pass over the key has ended, well or not."""
        group, grown = self._busy.pop(key)
        grown.cancel()
        group.release(key)
        self._moved_at = time.monotonic()
        self._observer.done(key)
        if not self._busy:
            self._idle.set()
        priority = self._dirty.pop(key, None)
        if priority is not None:
            self.add(key, priority)
        else:
            self._wake()

    def _grow(self, group: FairQueue, key: Key) -> None:
        group.grown(key)
        self._moved_at = time.monotonic()
        self._wake()

    async def _woken(self) -> None:
        """Wait until something may have become possible."""
        getter = asyncio.get_running_loop().create_future()
        self._getters.append(getter)
        try:
            await getter
        except asyncio.CancelledError:
            if getter.done() and not getter.cancelled():
                self._wake()  # it was ours to take; now it is another's
            raise

    def _wake(self) -> None:
        """One worker is enough, and it wakes the next one; waking all for each key costs more than the passes."""
        while len(self) and self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _set_timer(self) -> None:
        at = self._later[0].at
        if self._timer is None or at < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(at, self._promote)

    def _promote(self) -> None:
        """What was planned for later is due."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0].at <= now:
            due = heapq.heappop(self._later)
            if self._due.get(due.key) is due:
                self.add(due.key, due.priority)
        if self._later:
            self._set_timer()
