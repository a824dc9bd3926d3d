"""What feeds the work queue: both kinds listed, then watched, for as long as the process runs.

    WaitingForCRDs -> Listing -> Watching
          ^             |  ^        |
          |             v  |        v
          +----------- Failed <-----+      tried again with back-off; the process ends after ten minutes of it

How a watch is done is in `watch.py`; here is when one is begun, what is made sure before, and what becomes of objects
whose deletion no event told of.
"""

import asyncio
import contextlib
import dataclasses
import enum
import logging
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import NoReturn, Protocol

from edgeherd.clock import Clock
from edgeherd.cluster.errors import ApiError, ForbiddenError
from edgeherd.controller.index import DeviceIndex
from edgeherd.model import EdgeDevice, HubConnection, Key

_log = logging.getLogger(__name__)


class Phase(enum.StrEnum):
    """What the source is at."""

    WAITING_FOR_CRDS = "WaitingForCRDs"
    LISTING = "Listing"
    WATCHING = "Watching"
    FAILED = "Failed"
    """It does not watch, for a reason that is tried again."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """What the source is at, since when (seconds of the monotonic clock), and why: a sentence, or nothing."""

    phase: Phase
    since: float
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds. Pauses have jitter: they are between half of what is said here and all of it."""

    first_pause: float = 1.0
    longest_pause: float = 30.0
    """Between two attempts; it doubles up to here."""
    crd_pause: float = 5.0
    """The longest pause between two looks for the CRDs: an administrator waits for it."""
    steady: float = 60.0
    """After a watch of so long the pauses begin anew."""
    sweep_after: float = 5.0
    """From a list that kopf reads anew until who was deleted is looked for, so that one look does for both kinds."""
    refused_pause: float = 60.0
    """Until a namespace is asked for again that may not be listed."""
    give_up: float = 600.0
    """Without a watch for so long, though the CRDs are there, the process ends: another one may do better."""


class WatchEndedError(Exception):
    """A session ended by what is not in our hands: the text says why. `status` is the HTTP status, 0 for anything else."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NoWatchError(Exception):
    """No watch could be established for so long that the process is to end; the text says why."""


class Listener(Protocol):
    """Hears how a session goes."""

    def opened(self) -> None:
        """All watches are open now."""

    def interrupted(self, trouble: str) -> None:
        """One of them is not any more; it is tried again."""

    def relisted(self) -> None:
        """A list was read anew, because too much was missed: who was deleted meanwhile is in no event."""


class Session(Protocol):
    """A watch of both kinds, from its start until it ends."""

    async def ended(self) -> Exception:
        """Wait until it ends by itself. A `WatchEndedError` or `ApiError`, or else a bug."""

    async def close(self) -> None:
        """End it."""


class Objects(Protocol):
    """What is read of the cluster. Every method may raise any `ApiError`."""

    async def missing_crds(self) -> tuple[str, ...]:
        """The names of our CRDs that the API server does not serve now."""

    async def hub_connections(self) -> list[HubConnection]:
        """All HubConnections."""

    def edge_devices_in(self, namespace: str) -> AsyncIterator[EdgeDevice]:
        """The EdgeDevices of a namespace, or of all when it is empty."""


class Source:
    """Keeps both kinds watched. A `Listener` of its own sessions."""

    def __init__(
        self,
        objects: Objects,
        index: DeviceIndex,
        *,
        gone: Callable[[Key], None],
        going: Callable[[Key], None],
        start: Callable[[Listener, Sequence[str]], Session],
        clock: Clock,
        namespaces: Sequence[str] = (),
        timing: Timing = Timing(),
    ) -> None:
        """`start` begins a session, in these namespaces or in all.

        `gone` hears of objects that are missing from a list, `going` of HubConnections that are being deleted while nothing is
        watched.
        """
        self._objects = objects
        self._index = index
        self._gone = gone
        self._going = going
        self._start = start
        self._clock = clock
        self._namespaces = tuple(namespaces)
        self._timing = timing
        self._failures = 0
        self._lost_at = clock.monotonic()
        self._relisted = asyncio.Event()
        self._refused: tuple[str, ...] = ()
        self.listed = asyncio.Event()
        """Both kinds were read once. No pass may begin before: who comes first in a list must not take what an older one has."""
        self.state = SourceState(phase=Phase.LISTING, since=self._lost_at)

    async def run(self) -> NoReturn:
        """List and watch until it is cancelled.

        Raises:
            NoWatchError: it was tried for too long.
            Exception: a bug.
        """
        while True:
            try:
                missing = await self._objects.missing_crds()
                if missing:
                    await self._wait_for_crds(missing)
                    continue
                if self.state.phase is not Phase.FAILED:  # which it is until there is a watch again
                    self._enter(Phase.LISTING)
                await self._list()
                is_to_rest = await self._watch()
            except ApiError as exc:
                self._fail(exc)
                is_to_rest = True
            if is_to_rest:
                await self._pause(self._timing.longest_pause)

    # ---- a Listener

    def opened(self) -> None:
        """See `Listener`."""
        again = " again" if self.state.phase is Phase.FAILED else ""
        where = f"in the namespaces {', '.join(self._allowed)}" if self._namespaces else "in all namespaces"
        _log.info("watches EdgeDevices and HubConnections%s, %s", again, where)
        left_out = f"not in {', '.join(self._refused)}, where EdgeDevices may not be listed" if self._refused else ""
        self._enter(Phase.WATCHING, left_out)

    def interrupted(self, trouble: str) -> None:
        """See `Listener`."""
        _log.warning("a watch is interrupted, and tried again: %s", trouble)
        self._enter(Phase.FAILED, trouble)

    def relisted(self) -> None:
        """See `Listener`."""
        self._relisted.set()

    # ---- what the phases do

    async def _wait_for_crds(self, missing: Sequence[str]) -> None:
        """Until somebody installs them. That may be never, and is no failure of the process."""
        detail = f"the API server does not serve {' and '.join(missing)}"
        if self.state.phase is not Phase.WAITING_FOR_CRDS or self.state.detail != detail:
            _log.warning("waits for its CRDs: %s; kubectl apply -k crds installs them", detail)
        self._enter(Phase.WAITING_FOR_CRDS, detail)
        self._lost_at = self._clock.monotonic()
        await self._let_go()
        await self._pause(self._timing.crd_pause)

    async def _let_go(self) -> None:
        """Whoever deletes both CRDs waits for our finalizer on HubConnections, also when that of EdgeDevices went first."""
        with contextlib.suppress(ApiError):
            for connection in await self._objects.hub_connections():
                if connection.deleting:
                    self._going(connection.key)

    async def _list(self) -> None:
        """Read both kinds before they are watched. What was known and is not listed any more is gone.

        A namespace that may not be listed, as one that is deleted with its RoleBinding, keeps nothing of the others.
        """
        for connection in await self._sweep_hubs():
            self._index.update_hub(connection)
        refused = []
        for namespace in self._namespaces or ("",):
            try:
                await self._sweep_devices(namespace, take=self._index.update)
            except ForbiddenError as exc:
                refused.append(namespace)
                if len(refused) == max(1, len(self._namespaces)):
                    raise
                if namespace not in self._refused:
                    _log.warning("leaves namespace %s out, where EdgeDevices may not be listed: %s", namespace, exc)
        self._refused = tuple(refused)
        self.listed.set()

    @property
    def _allowed(self) -> tuple[str, ...]:
        return tuple(each for each in self._namespaces if each not in self._refused)

    async def _watch(self) -> bool:
        """One session, until it fails; or until there is a reason to begin a new one at once, which gives False."""
        self._relisted.clear()
        session = self._start(self, self._allowed)
        ending = asyncio.create_task(session.ended())
        work = (ending, asyncio.create_task(self._sweep_when_relisted()), asyncio.create_task(self._until_granted()))
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            if ending not in done:
                done.pop().result()
                return False
            self._fail(ending.result())
            return True
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await session.close()

    async def _sweep_when_relisted(self) -> NoReturn:
        """A while after kopf read a list anew, look for who was deleted meanwhile."""
        while True:
            await self._relisted.wait()
            await asyncio.sleep(self._timing.sweep_after)
            self._relisted.clear()
            try:
                await self._sweep_hubs()
                for namespace in self._allowed or ("",):
                    await self._sweep_devices(namespace)
            except ApiError as exc:
                _log.debug("who was deleted meanwhile is looked for again: %s", exc)
                self._relisted.set()

    async def _until_granted(self) -> None:
        """Until a namespace that was left out may be listed."""
        while True:
            await asyncio.sleep(self._timing.refused_pause)
            for namespace in self._refused:
                with contextlib.suppress(ApiError):
                    async for _ in self._objects.edge_devices_in(namespace):
                        break
                    return

    def _fail(self, cause: Exception) -> None:
        """Say why there is no watch; raise what is not to be tried again."""
        if not isinstance(cause, ApiError | WatchEndedError):
            raise cause
        detail = str(cause)
        is_news = self.state.phase is not Phase.FAILED or self.state.detail != detail
        # A CRD that was deleted is found by the next look, which says so in a sentence of its own.
        if is_news and (cause.status != 404 or self._failures):
            _log.warning("does not watch, and tries again: %s", detail)
        self._enter(Phase.FAILED, detail)
        lasted = self._clock.monotonic() - self._lost_at
        if lasted >= self._timing.give_up:
            raise NoWatchError(f"Nothing could be watched for {lasted / 60:.0f} minutes: {detail}")

    # ---- parts of them

    async def _sweep_hubs(self) -> list[HubConnection]:
        """All HubConnections; those that are gone are told."""
        before = self._index.known(HubConnection.__name__)
        listed = await self._objects.hub_connections()
        self._tell_gone(before.items() - {(each.key, each.uid) for each in listed})
        return listed

    async def _sweep_devices(self, namespace: str, take: Callable[[EdgeDevice], object] = lambda _: None) -> None:
        """Read the EdgeDevices of a namespace; those that are gone are told.

        `take` may not be given while they are watched: what the watch showed is newer than a long list.
        """
        before = self._index.known(EdgeDevice.__name__, namespace)
        listed = set()
        async for device in self._objects.edge_devices_in(namespace):
            listed.add((device.key, device.uid))
            take(device)
        self._tell_gone(before.items() - listed)

    def _tell_gone(self, missing: Collection[tuple[Key, str]]) -> None:
        """Unless the watch showed a namesake meanwhile, which is another object."""
        for key, uid in missing:
            if self._index.uid(key) == uid:
                self._gone(key)

    def _enter(self, phase: Phase, detail: str = "") -> None:
        if (self.state.phase, self.state.detail) == (phase, detail):
            return
        before, now = self.state, self._clock.monotonic()
        if before.phase is Phase.WATCHING:
            self._lost_at = now
        steady = before.phase is Phase.WATCHING and now - before.since >= self._timing.steady
        if steady or before.phase is Phase.WAITING_FOR_CRDS:
            self._failures = 0
        since = before.since if before.phase is phase else now
        self.state = SourceState(phase=phase, since=since, detail=detail)

    async def _pause(self, longest: float) -> None:
        pause = min(longest, self._timing.first_pause * 2 ** min(self._failures, 16))
        self._failures += 1
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load; no secret
