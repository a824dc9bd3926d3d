"""The running operator: watches feed the queue, workers take from it, and both end together."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping

from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.controller import watch
from edgeherd.controller.workqueue import WorkQueue
from edgeherd.model import Key, Priority
from edgeherd.reconcile.requeue import Requeue

_log = logging.getLogger(__name__)

Reconcile = Callable[[Key], Awaitable[Requeue | None]]
Ended = Callable[[Key, str, float], None]
"""Is told of each pass how it ended, in controller-runtime's words (success, requeue, requeue_after, error), and its seconds."""

PASS_SECONDS = 600.0
"""No pass may take longer: every wait in it is bounded, and this bounds their sum."""

STOP_SECONDS = 20.0
"""How long passes at work may go on after SIGTERM; below the Pod's grace period of 30 s."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind that is looked after: what hears of its objects, and what makes one of them true."""

    plural: str
    on_event: watch.OnEvent
    reconcile: Reconcile


class Controller:
    """Queue and workers around the kinds, which are looked up by their names."""

    def __init__(
        self, queue: WorkQueue, kinds: Mapping[str, Kind], *, workers: int, ended: Ended = lambda *_: None
    ) -> None:
        self._queue = queue
        self._kinds = kinds
        self._workers = workers
        self._ended = ended
        self._stopping = False

    async def run(self, *, login: watch.Login, ready: asyncio.Event) -> None:
        """Run until SIGTERM or SIGINT (kopf takes the signals), or until the watch fails.

        The workers start first: kopf cancels every task that was created after it.
        """
        workers = [asyncio.create_task(self._work(), name=f"worker-{number}") for number in range(self._workers)]
        stop = asyncio.Event()
        try:
            on_event = {kind.plural: kind.on_event for kind in self._kinds.values()}
            await watch.watch(on_event, login=login, ready=ready, stop=stop)
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
        began = asyncio.get_running_loop().time()
        result = await self._result_of_pass(key)
        self._ended(key, result, asyncio.get_running_loop().time() - began)

    async def _result_of_pass(self, key: Key) -> str:
        """See `Ended`."""
        deadline = asyncio.timeout(PASS_SECONDS)
        try:
            async with deadline:
                requeue = await self._kinds[key.kind].reconcile(key)
        except ConflictError:
            self._queue.add_after(key, 0.2, Priority.CHANGE)
            return "requeue"
        except ApiError as exc:
            delay = self._queue.add_rate_limited(key)
            _log.warning("the API server refused a request, retry in %.0f s: %s", delay, exc, extra={"key": key})
            return "error"
        except Exception:  # noqa: BLE001 - a bug of one device must not stop the others
            if deadline.expired():
                self._queue.remember_slow(key)
            delay = self._queue.add_rate_limited(key)
            _log.exception("a bug ended the pass, retry in %.0f s", delay, extra={"key": key})
            return "error"
        self._queue.forget(key)
        if requeue is None:
            return "success"
        if requeue.slow:
            self._queue.remember_slow(key)
        self._queue.add_after(key, requeue.after, requeue.priority)
        return "requeue_after"
