"""The running operator: the source feeds the queue, workers take from it, and both end together."""

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn, Protocol

from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.controller.workqueue import WorkQueue
from edgeherd.model import Key, Priority
from edgeherd.reconcile.requeue import Gone, Requeue

_log = logging.getLogger(__name__)

Reconcile = Callable[[Key], Awaitable[Requeue | Gone | None]]

PASS_SECONDS = 600.0
"""No pass may take longer: every wait in it is bounded, and this bounds their sum."""

STOP_SECONDS = 20.0
"""How long passes at work may go on after SIGTERM; below the Pod's grace period of 30 s."""


class Feed(Protocol):
    """What puts keys into the queue."""

    listed: asyncio.Event
    """Set when what there is was read once: no pass may begin before."""

    async def run(self) -> NoReturn:
        """Feed until it is cancelled; raises what makes that impossible for good."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind that is looked after: what makes one of its objects true, and what is to forget one that is gone."""

    reconcile: Reconcile
    forget: Callable[[Key], None]


def stop_on_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT; the second one ends the process at once. To be called in the main thread's event loop."""
    stop = asyncio.Event()

    def heard(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, heard, number)
    return stop


class Controller:
    """Queue and workers around the kinds, which are looked up by their names."""

    def __init__(self, queue: WorkQueue, kinds: Mapping[str, Kind], *, workers: int) -> None:
        self._queue = queue
        self._kinds = kinds
        self._workers = workers
        self._stopping = False

    async def run(self, feed: Feed, stop: asyncio.Event) -> None:
        """Run until `stop` is set, which passes at work may outlast by STOP_SECONDS.

        Raises:
            Exception: what ended the feed.
        """
        feeding = asyncio.create_task(feed.run(), name="feed")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        listed = asyncio.create_task(feed.listed.wait(), name="listed")
        workers: list[asyncio.Task[None]] = []
        try:
            await asyncio.wait({feeding, stopping, listed}, return_when=asyncio.FIRST_COMPLETED)
            if listed.done():
                workers = [asyncio.create_task(self._work(), name=f"worker-{each}") for each in range(self._workers)]
            await asyncio.wait({feeding, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
        finally:
            tasks = (feeding, stopping, listed)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, self._finish(workers), return_exceptions=True)

    async def _finish(self, workers: list[asyncio.Task[None]]) -> None:
        """Passes at work may end; nothing new begins."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._queue.idle()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        while not self._stopping:
            key = await self._queue.get()
            try:
                if not self._stopping:
                    await self._pass(key)
            finally:
                self._queue.done(key)

    async def _pass(self, key: Key) -> None:
        """One pass, and when the next one is due."""
        deadline = asyncio.timeout(PASS_SECONDS)
        try:
            async with deadline:
                requeue = await self._kinds[key.kind].reconcile(key)
        except ConflictError:
            self._queue.add_after(key, 0.2, Priority.CHANGE)
        except ApiError as exc:
            delay = self._queue.add_rate_limited(key)
            _log.warning("%s: the API server refused a request, retry in %.0f s: %s", _name(key), delay, exc)
        except Exception:  # noqa: BLE001 - a bug of one device must not stop the others
            if deadline.expired():
                self._queue.remember_slow(key)
            delay = self._queue.add_rate_limited(key)
            _log.exception("%s: a bug ended the pass, retry in %.0f s", _name(key), delay)
        else:
            self._queue.forget(key)
            match requeue:
                case Gone():
                    self._kinds[key.kind].forget(key)
                case Requeue():
                    if requeue.slow:
                        self._queue.remember_slow(key)
                    self._queue.add_after(key, requeue.after, requeue.priority)


def _name(key: Key) -> str:
    return f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"
