"""The work queue: which object is looked at next. Nothing here knows what a pass does.

A key is in the queue at most once, and is never worked on twice at the same time: what arrives meanwhile marks it
dirty, and one more pass follows. Failures back off per key, with jitter.
"""

import asyncio
import dataclasses
import heapq
import itertools
import random

from edgeherd.model import Key, Priority

FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0


@dataclasses.dataclass(order=True, slots=True)
class _Due:
    at: float
    order: int
    key: Key = dataclasses.field(compare=False)
    priority: Priority = dataclasses.field(compare=False)


class WorkQueue:
    """Keys to look at, by priority, now or later. For one event loop."""

    def __init__(self) -> None:
        self._ready: list[tuple[Priority, int, Key]] = []
        self._queued: dict[Key, Priority] = {}
        self._busy: set[Key] = set()
        self._dirty: dict[Key, Priority] = {}
        self._later: list[_Due] = []
        self._due: dict[Key, _Due] = {}
        self._failures: dict[Key, int] = {}
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._queued)

    async def idle(self) -> None:
        """Wait until no pass is at work."""
        await self._idle.wait()

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """Look at the key as soon as a worker is free. A waiting, later date is dropped."""
        self._due.pop(key, None)
        if key in self._busy:
            self._dirty[key] = min(priority, self._dirty.get(key, priority))
            return
        if self._queued.get(key, Priority.DRIFT + 1) <= priority:
            return
        self._queued[key] = priority
        heapq.heappush(self._ready, (priority, next(self._order), key))
        self._wake.set()

    def add_after(self, key: Key, seconds: float, priority: Priority = Priority.DRIFT) -> None:
        """Look at the key in `seconds`, or earlier if an earlier date is set already."""
        at = asyncio.get_running_loop().time() + max(0.0, seconds)
        planned = self._due.get(key)
        if planned is not None and planned.at <= at:
            return
        due = _Due(at=at, order=next(self._order), key=key, priority=priority)
        self._due[key] = due
        heapq.heappush(self._later, due)
        self._wake.set()

    def add_rate_limited(self, key: Key) -> float:
        """Look at a key again after it failed: 1, 2, 4 ... 300 s, with jitter. Returns the seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 16))
        delay *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads load; no secret
        self.add_after(key, delay, Priority.CHANGE)
        return delay

    def forget(self, key: Key) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key, when there is one. The caller must call `done` afterwards."""
        loop = asyncio.get_running_loop()
        while True:
            self._promote(loop.time())
            while self._ready:
                priority, _, key = heapq.heappop(self._ready)
                if self._queued.get(key) == priority:
                    del self._queued[key]
                    self._busy.add(key)
                    self._idle.clear()
                    return key
            self._wake.clear()
            timeout = max(0.0, self._later[0].at - loop.time()) if self._later else None
            try:
                await asyncio.wait_for(self._wake.wait(), timeout)
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """The pass over the key has ended, well or not."""
        self._busy.discard(key)
        if not self._busy:
            self._idle.set()
        priority = self._dirty.pop(key, None)
        if priority is not None:
            self.add(key, priority)

    def _promote(self, now: float) -> None:
        while self._later and self._later[0].at <= now:
            due = heapq.heappop(self._later)
            if self._due.get(due.key) is due:
                self.add(due.key, due.priority)
