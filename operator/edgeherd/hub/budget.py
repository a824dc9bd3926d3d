"""How many requests a hub gets, and whose come first.

One hub has one throttle for everybody (100 registry operations a minute and unit in S1: devguide-quotas-throttling), so
all devices of a HubConnection share one budget: writes before reads, namespaces in turn, and after a 429 nobody for a
while. Nobody waits here for long: who would, is told when to come back, so that one hub that is busy, or that hangs,
cannot hold every worker.
"""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator

from aiolimiter import AsyncLimiter

from edgeherd.hub.port import BusyError, ThrottledError

FIRST_PAUSE = 10.0
"""Seconds without requests after a 429: the hub's own message asks for ten."""

LONGEST_PAUSE = 60.0

MOST_WAITING = 16
"""Requests that may wait or be under way at the same time; below the number of workers, which other hubs need too."""


class Budget:
    """Admits requests to one hub. For one event loop."""

    def __init__(self, operations_per_minute: int, *, at_once: int) -> None:
        self._per_second = operations_per_minute / 60
        self._limiter = AsyncLimiter(operations_per_minute, 60)
        self._writes, self._reads = _Turns(), _Turns()
        self._places = asyncio.Semaphore(at_once)
        self._under_way = 0
        self._pause = 0.0
        self._paused_until = 0.0
        self._dispatching: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def admitted(self, tenant: str, *, write: bool) -> AsyncIterator[None]:
        """Wait for one's turn, and have it until the end of the block.

        Raises:
            ThrottledError: the hub asked to be left alone not long ago.
            BusyError: there are too many before this one.
        """
        loop = asyncio.get_running_loop()
        if (left := self._paused_until - loop.time()) > 0:
            raise ThrottledError("Throttled", "The hub asked for fewer requests.", retry_after=left)
        waiting = len(self._writes) + len(self._reads) + self._under_way
        if waiting >= MOST_WAITING:
            message = "The budget of the HubConnection is used up."
            raise BusyError("BudgetSpent", message, retry_after=waiting / self._per_second)
        turn: asyncio.Future[None] = loop.create_future()
        queue = self._writes if write else self._reads
        queue.add(tenant, turn)
        if self._dispatching is None or self._dispatching.done():
            self._dispatching = asyncio.create_task(self._dispatch())
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._under_way -= 1
                self._places.release()
            else:
                queue.drop(tenant, turn)

    def throttled(self) -> None:
        """The hub said 429: nobody asks it anything for 10 s, then 20 s, up to a minute."""
        self._pause = min(max(FIRST_PAUSE, self._pause * 2), LONGEST_PAUSE)
        self._paused_until = asyncio.get_running_loop().time() + self._pause

    def served(self) -> None:
        """The hub did what it was asked."""
        self._pause = 0.0

    async def _dispatch(self) -> None:
        while self._writes or self._reads:
            await self._places.acquire()
            await self._limiter.acquire()
            turn = self._writes.next() or self._reads.next()
            if turn is None:
                self._places.release()
                return
            self._under_way += 1
            turn.set_result(None)


class _Turns:
    """Who waits, namespace by namespace."""

    def __init__(self) -> None:
        self._by_tenant: collections.OrderedDict[str, collections.deque[asyncio.Future[None]]] = (
            collections.OrderedDict()
        )

    def __len__(self) -> int:
        return sum(map(len, self._by_tenant.values()))

    def add(self, tenant: str, turn: asyncio.Future[None]) -> None:
        self._by_tenant.setdefault(tenant, collections.deque()).append(turn)

    def drop(self, tenant: str, turn: asyncio.Future[None]) -> None:
        queue = self._by_tenant.get(tenant)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._by_tenant[tenant]

    def next(self) -> asyncio.Future[None] | None:
        """The first of the namespace whose turn it is, which goes to the end of the line."""
        while self._by_tenant:
            tenant, queue = self._by_tenant.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._by_tenant[tenant] = queue
            if not turn.done():
                return turn
        return None
