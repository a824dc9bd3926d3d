"""The running operator: watches feed the queue, workers take from it, and both end together."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.controller import watch
from edgeherd.controller.event_handler import EventHandler
from edgeherd.controller.workqueue import Priority, WorkQueue
from edgeherd.model import Key

_log = logging.getLogger(__name__)

Reconcile = Callable[[Key], Awaitable[float | None]]

PASS_SECONDS = 600.0
"""No pass may take longer: every wait in it is bounded, and this bounds their sum."""

STOP_SECONDS = 20.0
"""How long passes at work may go on after SIGTERM; below the Pod's grace period of 30 s."""

_AT_ONCE_SECONDS = 60.0
"""What is due sooner than this is somebody waiting, not a look for drift."""


class Controller:
    """Queue and workers around one reconcile function per kind."""

    def __init__(self, queue: WorkQueue, reconcile: Mapping[str, Reconcile], *, workers: int) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._workers = workers
        self._stopping = False

    async def run(
        self, handler: EventHandler, *, login: Callable[[], Awaitable[Mapping[str, Any]]], ready: asyncio.Event
    ) -> None:
        """Run until SIGTERM or SIGINT (kopf takes the signals), or until the watch fails.

        The workers start first: kopf cancels every task that was created after it.
        """
        workers = [asyncio.create_task(self._work(), name=f"worker-{number}") for number in range(self._workers)]
        stop = asyncio.Event()
        try:
            await watch.watch(on_device=handler.on_device, on_hub=handler.on_hub, login=login, ready=ready, stop=stop)
        finally:
            await self._finish(workers)

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
        try:
            async with asyncio.timeout(PASS_SECONDS):
                after = await self._reconcile[key.kind](key)
        except ConflictError:
            self._queue.add_after(key, 0.2, Priority.CHANGE)
        except ApiError as exc:
            delay = self._queue.add_rate_limited(key)
            _log.warning("%s: the API server refused a request, retry in %.0f s: %s", _name(key), delay, exc)
        except Exception:  # noqa: BLE001 - a bug of one device must not stop the others
            delay = self._queue.add_rate_limited(key)
            _log.exception("%s: a bug ended the pass, retry in %.0f s", _name(key), delay)
        else:
            self._queue.forget(key)
            if after is not None:
                priority = Priority.CHANGE if after < _AT_ONCE_SECONDS else Priority.DRIFT
                self._queue.add_after(key, after, priority)


def _name(key: Key) -> str:
    return f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"
