"""Leader election beside the operator's work: a thread with an event loop and a client of its own.

Of its own, because the main loop may stand still for longer than the Lease allows (TLS handshakes, a list of ten thousand
objects), and because somebody has to end the process where that loop hangs.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, Self

from edgeherd.clock import Clock, since_boot
from edgeherd.cluster.lease import (
    LEADING_SECONDS,
    LEASE_SECONDS,
    Candidate,
    LeaseLostError,
    Leases,
)
from edgeherd.fence import OPEN, Fence, LeaseFence

END_SECONDS = LEASE_SECONDS - LEADING_SECONDS
"""How long a process that lost its Lease may take to end cleanly."""

_log = logging.getLogger(__name__)

Open = Callable[[], AbstractAsyncContextManager[Leases]]


class Leadership(Protocol):
    """Whether this process leads, as the rest of the operator sees it."""

    @property
    def fence(self) -> Fence:
        """What every write outside must pass."""

    @property
    def is_leading(self) -> bool:
        """Whether it leads now."""

    @property
    def is_lost(self) -> bool:
        """Whether it led and does not any more, so that the process is about to end."""

    @property
    def transitions(self) -> int:
        """How often the Lease has changed hands."""

    async def acquired(self, stop: asyncio.Event) -> bool:
        """Wait until this process leads; False when `stop` was set before."""

    def held(self) -> AbstractAsyncContextManager[None]:
        """A block that is for the leader alone.

        Raises:
            LeaseLostError: what was in the block was cancelled, because the Lease was lost.
        """


class NoElection:
    """There is one process, and it leads. Implements `Leadership`."""

    fence = OPEN
    is_leading = True
    is_lost = False
    transitions = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """There is nothing to let go of."""

    async def acquired(self, stop: asyncio.Event) -> bool:
        """See `Leadership`."""
        return not stop.is_set()

    def held(self) -> AbstractAsyncContextManager[None]:
        """See `Leadership`."""
        return contextlib.nullcontext()


def own_identity() -> str:
    """A name for the Lease that tells people which Pod it is, and is no other process's."""
    return f"{socket.gethostname()}_{secrets.token_hex(8)}"


class Elector:
    """Implements `Leadership`. Use as an async context manager: at its end the Lease is released.

    What was sent before may still be on its way then; what others could do at the same time is guarded by resourceVersions,
    etags and, on devices, hashes and a lock.
    """

    def __init__(self, leases: Open, *, identity: str, end: Callable[[], object] = lambda: os._exit(1)) -> None:
        """`leases` opens the Lease in the thread that uses it. `end` ends a process that does not end by itself in time."""
        self.fence = LeaseFence(LEADING_SECONDS)
        self._leases = leases
        self._identity = identity
        self._end = end
        self._candidate: Candidate | None = None
        self._stop = asyncio.Event()
        """For the thread's loop; what follows is for the main loop."""
        self._acquired = asyncio.Event()
        self._main: asyncio.AbstractEventLoop
        self._loop: asyncio.Future[asyncio.AbstractEventLoop]
        self._lost: asyncio.Future[LeaseLostError]
        self._ended: asyncio.Future[None]

    @property
    def is_leading(self) -> bool:
        """See `Leadership`."""
        return self._candidate is not None and self._candidate.is_leading

    @property
    def is_lost(self) -> bool:
        """See `Leadership`."""
        return self._lost.done()

    @property
    def transitions(self) -> int:
        """See `Leadership`."""
        return self._candidate.transitions if self._candidate is not None else 0

    async def __aenter__(self) -> Self:
        """Begin.

        Raises:
            ApiError: there is no usable Kubernetes configuration.
        """
        self._main = asyncio.get_running_loop()
        self._loop, self._lost, self._ended = (self._main.create_future() for _ in range(3))
        threading.Thread(target=self._run, name="elector", daemon=True).start()
        await self._loop
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed: the Lease was lost
            self._loop.result().call_soon_threadsafe(self._stop.set)
        await self._ended

    async def acquired(self, stop: asyncio.Event) -> bool:
        """See `Leadership`."""
        waits = [asyncio.create_task(event.wait()) for event in (self._acquired, stop)]
        either: list[asyncio.Future[Any]] = [self._lost, *waits]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._lost.done():
            raise self._lost.result()
        return not stop.is_set()

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """See `Leadership`. It works as `asyncio.timeout` does."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - every coroutine runs in one
        before, is_over = task.cancelling(), False

        def cancel(_: object) -> None:
            nonlocal is_over
            is_over = task.cancel()

        self._lost.add_done_callback(cancel)
        try:
            yield
        except asyncio.CancelledError:
            if not is_over or task.uncancel() > before:
                raise
        finally:
            self._lost.remove_done_callback(cancel)
        if self._lost.done():
            raise self._lost.result()

    # ---- in the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._elect())
        except Exception as exc:  # noqa: BLE001 - without an election nobody may lead, and nobody would ever take over
            lost = exc if isinstance(exc, LeaseLostError) else LeaseLostError(f"a bug ended the election: {exc!r}")
            self._lose(lost)
        finally:
            self._tell(self._ended.set_result, None)

    async def _elect(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            try:
                leases = await stack.enter_async_context(self._leases())
            except Exception as exc:  # noqa: BLE001 - whoever waits for it gets it
                self._tell(self._loop.set_exception, exc)
                return
            clock = Clock(monotonic=since_boot)
            self._candidate = Candidate(leases, self.fence, clock, identity=self._identity)
            self._tell(self._loop.set_result, asyncio.get_running_loop())
            await self._candidate.campaign(self._pause)

    async def _pause(self, seconds: float) -> bool:
        if self.is_leading and not self._acquired.is_set():
            self._tell(self._acquired.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return self._stop.is_set()

    def _lose(self, why: LeaseLostError) -> None:
        self.fence.close()
        _log.error("%s", why)
        self._tell(self._lost.set_result, why)
        # Not sys.exit, which ends a thread: the main loop may hang, and threads of libraries that wait for a name server
        # hold up the interpreter's end. The process has nothing to write any more, but devices, memory and a place among
        # the replicas that it holds.
        timer = threading.Timer(END_SECONDS, self._end)
        timer.daemon = True
        timer.start()

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the main loop is closed
            self._main.call_soon_threadsafe(function, *arguments)
