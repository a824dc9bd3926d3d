"""How many requests a hub gets, and whose come first.

One hub has one throttle for everybody (100 registry operations a minute and unit in S1: devguide-quotas-throttling), so
all devices of a HubConnection share one budget: namespaces in turn, writes of a namespace before its reads, and after a
429 nobody for a while. Nobody waits here for long: who would, is told when to come back, so that one hub that is busy, or that
hangs, cannot hold every worker, and one busy namespace not every place in the line.
"""

import asyncio
import bisect
import collections
import contextlib
from collections.abc import AsyncIterator

from aiolimiter import AsyncLimiter

from edgeherd.hub.port import BusyError, ThrottledError
from edgeherd.shares import may_take

FIRST_PAUSE = 10.0
"""Seconds without requests after a 429: the hub's own message asks for ten."""

LONGEST_PAUSE = 60.0

MOST_WAITING = 16
"""Requests that may wait or be under way at the same time; below the number of workers, which other hubs need too."""


RESERVED = 8
"""So many of them no namespace can take that waits with as many already (see `shares.may_take`): one alone gets eight."""


class Budget:
    """Admits requests to one hub. For one event loop."""

    def __init__(self, operations_per_minute: int, *, at_once: int) -> None:
        self._per_second = operations_per_minute / 60
        self._limiter = AsyncLimiter(operations_per_minute, 60)
        self._turns = _Turns()
        self._places = asyncio.Semaphore(at_once)
        self._under_way: collections.Counter[str] = collections.Counter()
        self._pause = 0.0
        self._paused_until = 0.0
        self._dispatching: asyncio.Task[None] | None = None

    @property
    def remaining(self) -> int:
        """How many requests would be let through at once; none while the hub wants to be left alone."""
        if self._paused_until > asyncio.get_running_loop().time():
            return 0
        amounts = range(1, int(self._limiter.max_rate) + 1)
        return bisect.bisect(amounts, False, key=lambda amount: not self._limiter.has_capacity(amount))

    @contextlib.asynccontextmanager
    async def admitted(self, tenant: str, *, write: bool) -> AsyncIterator[None]:
        """Wait for one's turn, and have it until the end of the block.

        Raises:
            ThrottledError: the hub asked to be left alone not long ago.
            BusyError: there are too many before this one, or too many of its own namespace.
        """
        loop = asyncio.get_running_loop()
        if (left := self._paused_until - loop.time()) > 0:
            raise ThrottledError("Throttled", "The hub asked for fewer requests.", retry_after=left)
        waiting = len(self._turns) + self._under_way.total()
        held = self._turns.of(tenant) + self._under_way[tenant]
        if not may_take(held=held, free=MOST_WAITING - waiting, reserve=RESERVED):
            message = "The budget of the HubConnection is used up."
            raise BusyError("BudgetSpent", message, retry_after=waiting / self._per_second)
        turn: asyncio.Future[None] = loop.create_future()
        self._turns.add(tenant, turn, write=write)
        if self._dispatching is None or self._dispatching.done():
            self._dispatching = asyncio.create_task(self._dispatch())
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._under_way[tenant] -= 1
                self._under_way += collections.Counter()  # without those who have none
                self._places.release()
            else:
                self._turns.drop(tenant, turn)

    def throttled(self) -> None:
        """The hub said 429: nobody asks it anything for 10 s, then 20 s, up to a minute."""
        self._pause = min(max(FIRST_PAUSE, self._pause * 2), LONGEST_PAUSE)
        self._paused_until = asyncio.get_running_loop().time() + self._pause

    def served(self) -> None:
        """The hub did what it was asked."""
        self._pause = 0.0

    async def _dispatch(self) -> None:
        while self._turns:
            await self._places.acquire()
            await self._limiter.acquire()
            served = self._turns.next()
            if served is None:
                self._places.release()
                return
            tenant, turn = served
            self._under_way[tenant] += 1
            turn.set_result(None)


class _Line:
    """Who waits of one namespace: writes, which somebody waits for, before reads."""

    def __init__(self) -> None:
        self.writes: collections.deque[asyncio.Future[None]] = collections.deque()
        self.reads: collections.deque[asyncio.Future[None]] = collections.deque()

    def __len__(self) -> int:
        return len(self.writes) + len(self.reads)

    def next(self) -> asyncio.Future[None]:
        return (self.writes or self.reads).popleft()

    def drop(self, turn: asyncio.Future[None]) -> None:
        for queue in (self.writes, self.reads):
            if turn in queue:
                queue.remove(turn)


class _Turns:
    """Who waits, namespace by namespace. Writes of one do not come before reads of another: they could for ever."""

    def __init__(self) -> None:
        self._lines: collections.OrderedDict[str, _Line] = collections.OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def of(self, tenant: str) -> int:
        """How many of a namespace wait."""
        return len(self._lines.get(tenant, ()))

    def add(self, tenant: str, turn: asyncio.Future[None], *, write: bool) -> None:
        line = self._lines.setdefault(tenant, _Line())
        (line.writes if write else line.reads).append(turn)

    def drop(self, tenant: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(tenant)
        if line is not None:
            line.drop(turn)
            if not line:
                del self._lines[tenant]

    def next(self) -> tuple[str, asyncio.Future[None]] | None:
        """The first of the namespace whose turn it is, and that namespace, which goes to the end of the line."""
        while self._lines:
            tenant, line = self._lines.popitem(last=False)
            turn = line.next()
            if line:
                self._lines[tenant] = line
            if not turn.done():
                return tenant, turn
        return None
