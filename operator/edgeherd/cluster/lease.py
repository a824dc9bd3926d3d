"""Leader election on a Lease, attempt by attempt. The thread that makes the attempts is in `elector.py`.

As client-go does it (tools/leaderelection): whoever writes its name into the Lease leads and renews it; who finds another
name there waits until that has not been renewed for as long as it says, by its own clock, and never by the times in the Lease:
clocks of machines differ. Every write is guarded by the resourceVersion, so of two that write at once one is refused.

Not `kubernetes.aio.leaderelection`: version 37 goes on with its work when the API server is away, and sends times without a
fraction at whole seconds, which the server refuses.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from edgeherd.clock import Clock
from edgeherd.cluster.client import ApiClient, Body, path
from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.fence import LeaseFence, NotLeadingError

LEASE_NAME = "edgeherd"

LEASE_SECONDS = 15
"""For so long without a renewal others leave the Lease to who holds it."""

LEADING_SECONDS = 10.0
"""For so long after a renewal was sent its holder leads. The rest is for what it sent just before: to arrive, or to be lost."""

RENEW_SECONDS = 2.0
RETRY_SECONDS = 0.5
STANDBY_SECONDS = 1.0
"""Between the beginnings of two attempts: by who leads after one that went well and after one that failed, and by others."""

ATTEMPT_SECONDS = 3.0
"""For one attempt: where a connection hangs there is time for another one."""

LONGEST_SECONDS = 300.0
"""Whatever a Lease says, it is left to nobody for longer without a sign of life."""

_log = logging.getLogger(__name__)

Pause = Callable[[float], Awaitable[bool]]
"""Lets so many seconds pass; True when it is time to stop."""


class LeaseLostError(Exception):
    """The Lease was ours and is not any more, or may not be for long."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the Lease is lost: {why}. Another operator may lead by now, so this one ends.")


class Leases(Protocol):
    """One Lease. Every method may raise any `ApiError`."""

    async def read(self) -> Body | None:
        """The Lease as it is now; None when there is none."""

    async def create(self, spec: Body) -> Body:
        """Create it; the Lease as it is now. A ConflictError when there is one."""

    async def replace(self, lease: Body) -> Body:
        """Write this Lease; as it is now. A ConflictError when it was changed since it was read."""


class KubernetesLease:
    """The Lease of that name. Implements `Leases`."""

    def __init__(self, api: ApiClient, *, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    async def read(self) -> Body | None:
        """See `Leases`."""
        return await self._api.find(self._path(self._name))

    async def create(self, spec: Body) -> Body:
        """See `Leases`."""
        metadata = {"name": self._name, "namespace": self._namespace}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        return await self._write("POST", self._path(), body)

    async def replace(self, lease: Body) -> Body:
        """See `Leases`."""
        return await self._write("PUT", self._path(self._name), lease)

    async def _write(self, method: str, where: str, body: Body) -> Body:
        return await self._api.request(method, where, body=body, content_type="application/json")

    def _path(self, name: str = "") -> str:
        return path("coordination.k8s.io", "v1", "leases", namespace=self._namespace, name=name)


@contextlib.asynccontextmanager
async def opened(kubeconfig: str | None, *, namespace: str, name: str) -> AsyncIterator[KubernetesLease]:
    """That Lease, through a client of its own, which no fence stops. Raises what `ApiClient.configured` raises."""
    async with await ApiClient.configured(kubeconfig) as api:
        yield KubernetesLease(api, namespace=namespace, name=name)


@dataclasses.dataclass(frozen=True, slots=True)
class _Record:
    """A Lease as somebody wrote it; that may be anybody, so whatever is in it, it can be read."""

    holder: str
    """Nobody when it is empty: it was released."""
    seconds: float
    transitions: int
    sign: tuple[str, ...]
    """Differs after every renewal."""

    @classmethod
    def of(cls, lease: Body) -> "_Record":
        spec, metadata = lease.get("spec") or {}, lease.get("metadata") or {}
        holder = str(spec.get("holderIdentity") or "")
        seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
        return cls(
            holder=holder,
            seconds=min(seconds if isinstance(seconds, int) and seconds > 0 else LEASE_SECONDS, LONGEST_SECONDS),
            transitions=transitions if isinstance(transitions, int) else 0,
            sign=(holder, str(spec.get("renewTime")), str(metadata.get("resourceVersion"))),
        )


_NONE = _Record.of({})
_INT32 = 2**31 - 1


class Candidate:
    """One process's part in the election. For one event loop; what it shows may be read by any thread."""

    def __init__(self, leases: Leases, fence: LeaseFence, clock: Clock, *, identity: str) -> None:
        """`identity` must be no other process's, now or ever. `fence` must go by the same clock."""
        self.is_leading = False
        self.transitions = 0
        """How often the Lease has changed hands, as it says itself."""
        self._leases = leases
        self._fence = fence
        self._clock = clock
        self._identity = identity
        self._ours: Body | None = None
        """The Lease as we last wrote it; None where somebody may have changed it since."""
        self._seen = _NONE
        self._seen_at = 0.0
        self._trouble = ""

    async def campaign(self, pause: Pause) -> None:
        """Attempt after attempt, until `pause` says that it is time to stop; then the Lease is released, if it is ours.

        Raises:
            LeaseLostError: it was leading, and is not any more. Nothing passes the fence from then on.
        """
        over = False
        try:
            while not over:
                began = self._clock.monotonic()
                renewed = await self._try()
                wait = STANDBY_SECONDS if not self.is_leading else RENEW_SECONDS if renewed else RETRY_SECONDS
                over = await pause(max(0.0, began + wait - self._clock.monotonic()))
        except LeaseLostError:
            self._resign()
            raise
        if self._resign():
            await self._release()

    def _resign(self) -> bool:
        """Nothing passes the fence any more. Returns whether it was leading."""
        was_leading, self.is_leading = self.is_leading, False
        self._fence.close()
        return was_leading

    async def _try(self) -> bool:
        """One attempt, whose failure is one whatever it was; whether the Lease is ours by it."""
        seconds = ATTEMPT_SECONDS
        if self.is_leading:
            seconds = min(seconds, self._fence.seconds_left)
            self._require_time()
        try:
            async with asyncio.timeout(seconds):
                won = await self._attempt()
        except LeaseLostError:
            raise
        except ConflictError as exc:
            won = False
            _log.debug("another one wrote the Lease meanwhile: %s", exc)
        except Exception as exc:  # noqa: BLE001 - a bug must not end the election either, while the Lease is ours
            self._ours = None
            self._complain(exc)
            won = False
        else:
            self._trouble = ""
        if self.is_leading:
            self._require_time()
        return won

    def _require_time(self) -> None:
        if not self._fence.seconds_left:
            raise LeaseLostError(f"it could not be renewed for {LEADING_SECONDS:.0f} s")

    def _complain(self, exc: Exception) -> None:
        """Once for a trouble, not with every attempt."""
        trouble = str(exc) if isinstance(exc, ApiError) else type(exc).__name__
        if trouble != self._trouble:
            _log.warning("the Lease cannot be %s: %s", "renewed" if self.is_leading else "had", trouble)
        self._trouble = trouble

    async def _attempt(self) -> bool:
        if self._ours is not None:
            try:
                return await self._write(self._ours)
            except ApiError as exc:
                self._ours = None
                if not exc.status:
                    raise
                # Changed, or gone, which the server answers with a 500: what is there now tells.
        lease = await self._leases.read()
        now = self._clock.monotonic()
        if lease is not None:
            self._observe(_Record.of(lease), now)
        if self.is_leading and self._seen.holder != self._identity:
            raise LeaseLostError(f"it is held by '{self._seen.holder}'" if self._seen.holder else "somebody emptied it")
        # A Lease that was deleted under its holder is left to it for as long as it would have been.
        if self._seen.holder not in {"", self._identity} and now < self._seen_at + self._seen.seconds:
            return False
        return await self._write(lease)

    def _observe(self, record: _Record, now: float) -> None:
        is_news = record.holder not in {"", self._identity, self._seen.holder}
        if is_news and not self.is_leading:
            _log.info("'%s' holds the Lease; this operator stands by", record.holder)
        if record.sign != self._seen.sign:
            self._seen, self._seen_at = record, now
        self.transitions = record.transitions

    async def _write(self, lease: Body | None) -> bool:
        """Write our name and the present time into the Lease."""
        before = _Record.of(lease or {})
        changes_hands = lease is not None and before.holder != self._identity
        now = self._clock.now_micro()
        acquired = now if before.holder != self._identity else ((lease or {}).get("spec") or {}).get("acquireTime", now)
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": acquired,
            "renewTime": now,
            "leaseTransitions": min(before.transitions + changes_hands, _INT32),
        }
        sent_at = self._clock.monotonic()
        if lease is None:
            self._ours = await self._leases.create(spec)
        else:
            self._ours = await self._leases.replace({**lease, "spec": spec})
        try:
            self._fence.renewed(sent_at)
        except NotLeadingError:
            raise LeaseLostError(f"it took more than {LEADING_SECONDS:.0f} s to renew it") from None
        self._observe(_Record.of(self._ours), sent_at)
        if not self.is_leading:
            self.is_leading = True
            _log.info("this operator leads, as '%s'", self._identity)
        return True

    async def _release(self) -> None:
        """Say that nobody leads, if it is still ours, so that the next one need not wait."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                if self._ours is None or not await self._empty(self._ours):
                    await self._empty(await self._leases.read())
        except (ApiError, TimeoutError) as exc:
            _log.warning("the Lease could not be released, and runs out by itself: %s", exc or type(exc).__name__)

    async def _empty(self, lease: Body | None) -> bool:
        """Take our name out of the Lease if it is in it; False when somebody changed it meanwhile."""
        if lease is None or _Record.of(lease).holder != self._identity:
            return True
        spec = {**lease["spec"], "holderIdentity": "", "renewTime": self._clock.now_micro()}
        try:
            await self._leases.replace({**lease, "spec": spec})
        except ConflictError:
            return False
        _log.info("the Lease was released")
        return True
