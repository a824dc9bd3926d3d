"""The one door to kopf: its watches feed the work queue, and nothing else of it is used.

kopf keeps no state on the objects (null storages), posts no events, sets no finalizer and runs no change handler
(measured: handlers cost 2.3 times the CPU, and write annotations that GitOps tools see).

It runs in a thread with an event loop of its own. When it ends, by itself or because it is told to, it cancels every
task of its loop that is younger than it is, takes up to 5 s for that, and a stall of it would stall all in its loop; in the
main thread it would take the signals too. So one run of it is a session that may be ended, left behind and begun anew.
"""

import asyncio
import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import aiohttp
import kopf

from edgeherd.cluster.client import CONNECTIONS, ApiClient, Exchange, path
from edgeherd.cluster.objects import EDGE_DEVICES, HUB_CONNECTIONS
from edgeherd.controller.coverage import Coverage, went_well
from edgeherd.controller.event_handler import EventHandler
from edgeherd.controller.source import Listener, WatchEndedError
from edgeherd.model import GROUP, VERSION

OnEvent = Callable[[str, Mapping[str, Any]], None]
"""Takes the type of a watch event ('' for what was listed) and the object."""

PAUSES = (1.0, 2.0, 4.0)
"""Between kopf's attempts at a request. After the last one a refusal ends the session; a lost connection is tried anew."""

BEAT_SECONDS = 1.0
HANG_SECONDS = 60.0
"""A thread that shows no life for so long is taken for dead."""

STUCK_SECONDS = 30.0
"""A session that does not watch all kinds, and no request of which goes well, is given up after so long.

For short outages kopf goes on from where it was; after this it is cheaper to list anew than to go on waiting: its own
pauses are fixed, and it would not say what it waits for."""

CLOSE_SECONDS = 2.0
"""How long the end of a session is waited for. kopf takes milliseconds when it is cancelled."""

LONGEST_SENTENCE = 300

_OUTSIDE = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What the network and the other side may do to a watch, answers that are no JSON included; all other errors are bugs."""

_log = logging.getLogger(__name__)


class _NoDiffBase(kopf.DiffBaseStorage):
    """Remembers nothing on the object."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        del body, extra_fields
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        del body
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is kept."""


class _NoProgress(kopf.ProgressStorage):
    """Remembers nothing on the object."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        """Nothing is kept."""

    def purge(self, **_: Any) -> None:
        """Nothing was kept."""

    def touch(self, **_: Any) -> None:
        """Nothing is kept."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def settings() -> kopf.OperatorSettings:
    """Kopf's settings for a watch that neither writes nor stalls."""
    chosen = kopf.OperatorSettings()
    chosen.persistence.diffbase_storage = _NoDiffBase()
    chosen.persistence.progress_storage = _NoProgress()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.watching.server_timeout = 600
    chosen.watching.chunk_size = 500
    chosen.networking.connect_timeout = 10
    chosen.networking.request_timeout = 60
    chosen.networking.error_backoffs = PAUSES
    # It would kill the process ten minutes after a session that was ended.
    chosen.process.ultimate_exiting_timeout = None
    return chosen


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A kind that is watched, and what takes its events: see `OnEvent`."""

    plural: str
    namespaced: bool
    on_event: OnEvent

    def paths(self, namespaces: Sequence[str]) -> tuple[str, ...]:
        """What is watched, one path for each namespace; none of them are all."""
        chosen = namespaces if self.namespaced and namespaces else ("",)
        return tuple(path(GROUP, VERSION, self.plural, namespace=namespace) for namespace in chosen)


def watched(handler: EventHandler) -> tuple[Watched, ...]:
    """Both kinds."""
    return (
        Watched(plural=EDGE_DEVICES, namespaced=True, on_event=handler.on_device),
        Watched(plural=HUB_CONNECTIONS, namespaced=False, on_event=handler.on_hub),
    )


class WatchSession:
    """One run of kopf, from its first list until it ends or is closed. To be made in an event loop, which hears of it."""

    def __init__(
        self, watched: Iterable[Watched], api: ApiClient, listener: Listener, namespaces: Sequence[str]
    ) -> None:
        """Start it. `namespaces` are those to watch EdgeDevices in; none are all."""
        self._home = asyncio.get_running_loop()
        self._cause: asyncio.Future[Exception] = self._home.create_future()
        self._left: asyncio.Future[None] = self._home.create_future()
        self._closed = False
        self._own = asyncio.new_event_loop()
        self._run = _Run(tuple(watched), api, listener, tuple(namespaces), tell=self._tell, loop=self._own)
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)
        self._thread.start()

    async def ended(self) -> Exception:
        """Wait until the session ends by itself. A `WatchEndedError` or `ApiError`, or else a bug."""
        while True:
            done, _ = await asyncio.wait({self._cause}, timeout=BEAT_SECONDS)
            if done:
                return self._cause.result()
            if time.monotonic() - self._run.beat > HANG_SECONDS:
                return WatchEndedError("the watch's thread hangs")

    async def close(self) -> None:
        """End it. Nothing is heard of it any more; a thread that does not end in time is left behind."""
        self._closed = True
        with contextlib.suppress(RuntimeError):  # it ended already
            self._own.call_soon_threadsafe(self._run.end, None)
        done, _ = await asyncio.wait({self._left}, timeout=CLOSE_SECONDS)
        if done:
            self._thread.join(CLOSE_SECONDS)
        else:
            _log.debug("a watch does not end, and is left behind")

    def _work(self) -> None:
        """The thread."""
        if not _log.isEnabledFor(logging.DEBUG):
            # What ends kopf is told once, in a sentence; it logs each step of it, with tracebacks.
            logging.getLogger("kopf").setLevel(logging.CRITICAL)
        try:
            with asyncio.Runner(loop_factory=lambda: self._own) as runner:
                runner.run(self._run.until_end(self._set_cause))
        except Exception as exc:  # noqa: BLE001 - it is judged by who waits for the end
            self._tell(self._set_cause, exc)
        with contextlib.suppress(RuntimeError):
            self._home.call_soon_threadsafe(self._left.set_result, None)

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Have something called in the event loop of home; to be used in the thread."""
        with contextlib.suppress(RuntimeError):  # that loop is closed: the process ends
            self._home.call_soon_threadsafe(self._hear, callback, arguments)

    def _hear(self, callback: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self._closed:
            return
        try:
            callback(*arguments)
        except Exception:  # noqa: BLE001 - one object must not keep the others from being watched
            _log.exception("a bug: an event of the watch could not be taken")

    def _set_cause(self, cause: Exception) -> None:
        if not self._cause.done():
            self._cause.set_result(cause)


class _Run:
    """What happens in the thread, in its event loop. `tell` has a function called in the other one."""

    def __init__(
        self,
        watched: tuple[Watched, ...],
        api: ApiClient,
        listener: Listener,
        namespaces: tuple[str, ...],
        *,
        tell: Callable[..., None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._watched = watched
        self._api = api
        self._listener = listener
        self._namespaces = namespaces
        self._tell = tell
        self._coverage = Coverage(each for kind in watched for each in kind.paths(namespaces))
        self._end: asyncio.Future[Exception | None] = loop.create_future()
        self._logged_in = False
        self.beat = self._progress = time.monotonic()
        """When the event loop was seen alive."""

    def end(self, cause: Exception | None) -> None:
        """End kopf, and say why if that was not asked for."""
        if not self._end.done():
            self._end.set_result(cause)

    async def until_end(self, set_cause: Callable[[Exception], None]) -> None:
        """Kopf until it ends, is given up, or is told to end. The cause is told before kopf is ended, which may take long."""
        asyncio.get_running_loop().set_exception_handler(lambda _, context: _log.debug("kopf: %s", context["message"]))
        # Each watch has a connection for itself.
        async with self._api.session(self._observe, connections=CONNECTIONS + len(self._coverage)) as session:
            work = [asyncio.create_task(each) for each in (self._kopf(session), self._tick())]
            for task in work:
                task.add_done_callback(self._ended_by_itself)
            cause = await self._end
            if cause is not None:
                self._tell(set_cause, cause)
            # kopf would end itself, but gives all that it started 5 s, and closes the session before.
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.wait(others, timeout=CLOSE_SECONDS)

    def _ended_by_itself(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, _OUTSIDE) or type(error).__module__.startswith("kopf."):
            error = WatchEndedError(_sentence(error), status=getattr(error, "status", 0))
        self.end(error if isinstance(error, Exception) else WatchEndedError("kopf ended without a word"))

    async def _kopf(self, session: aiohttp.ClientSession) -> None:
        """Kopf, until the first of its tasks ends, which is why it does."""
        tasks = await kopf.spawn_tasks(
            registry=self._registry(session),
            settings=settings(),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            standalone=True,
        )
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def _registry(self, session: aiohttp.ClientSession) -> kopf.OperatorRegistry:
        """Handlers that pass every event on."""
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            if self._logged_in:
                # kopf closed the session, and would ask for another one at once, for ever.
                self.end(WatchEndedError(self._coverage.trouble or "the session with the API server was closed"))
                await asyncio.Event().wait()
            self._logged_in = True
            return kopf.AiohttpSession(server=self._api.server, aiohttp_session=session)

        def register(kind: Watched) -> None:
            @kopf.on.event(GROUP, VERSION, kind.plural, registry=registry)
            async def event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's names
                self._tell(kind.on_event, type or "", body)

        for kind in self._watched:
            register(kind)
        return registry

    def _observe(self, exchange: Exchange) -> None:
        """A request went well, or not. Those that the end of the session cancels tell nothing."""
        if self._end.done():
            return
        coverage = self._coverage
        was_complete = coverage.complete
        if coverage.take(exchange):
            self._tell(self._listener.relisted)
        if went_well(exchange):
            self._progress = time.monotonic()
        if coverage.ends_with(exchange):
            self.end(WatchEndedError(coverage.trouble, status=exchange.status))
        elif coverage.complete and not was_complete:
            self._tell(self._listener.opened)
        elif was_complete and not coverage.complete:
            self._tell(self._listener.interrupted, coverage.trouble)

    async def _tick(self) -> None:
        """Show that the event loop lives, and give up when nothing goes on."""
        while self._coverage.complete or time.monotonic() - self._progress < STUCK_SECONDS:
            self.beat = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
        raise WatchEndedError(self._coverage.trouble or "kopf does not watch all kinds")


def _sentence(error: BaseException | None) -> str:
    """What an error of kopf says, on one line."""
    text = " ".join(str(getattr(error, "message", None) or error).split())
    return f"{type(error).__name__}: {text[:LONGEST_SENTENCE]}"
