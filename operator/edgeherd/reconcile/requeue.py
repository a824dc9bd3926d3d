"""When an object is looked at again, and how long something may fail before it shows. Pure."""

import dataclasses

from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.model import EdgeDevice, Priority

GRACE_SECONDS = 50.0
"""How long a healthy device may be out of sight before its status says so (Cluster API's remote connection probe)."""

DEADLINE_SECONDS = 600.0
"""After this long out of reach a device is Stalled: kstatus counts insufficient progress as such."""

STALLED_SECONDS = 60.0
"""How often what only a human can fix is looked at, because the fix may happen where nobody tells us."""

UNREACHABLE = "DeviceUnreachable"
"""The reason of a connection that failed."""

SLOW_SECONDS = 8.0
"""From here on a look at a device was a long one: just below the first time-out of a connection (10 s)."""

COST_FACTOR = 10.0
"""A device rests so many times as long as it kept a worker, so that no one has a worker for more than a tenth of the time."""

LONGEST_REST_SECONDS = 1200.0
"""Ten times the longest look (120 s): somebody who repaired the device waits no longer for it to be noticed."""

_BLIPS = frozenset({UNREACHABLE, "HubUnavailable", "HubThrottled", "HubBudgetSpent", "HubChanging"})
"""What may pass by itself within the grace."""


@dataclasses.dataclass(frozen=True, slots=True)
class Requeue:
    """Look again in `after` seconds; `slow` when this look took long."""

    after: float
    priority: Priority
    slow: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Gone:
    """The object is not there any more: nothing of it needs to be remembered."""


@dataclasses.dataclass(frozen=True, slots=True)
class Outage:
    """Since when a device is in trouble, in seconds of the monotonic clock."""

    since: float
    unreachable_since: float | None = None
    """Since when every connection failed; None while the trouble is another."""


def outage(before: Outage | None, error: ReconcileError, now: float) -> Outage:
    """The outage after one more pass that ended early."""
    since = before.since if before is not None else now
    if error.reason != UNREACHABLE:
        return Outage(since)
    known = before.unreachable_since if before is not None else None
    return Outage(since, now if known is None else known)


def with_deadline(device: EdgeDevice, error: ReconcileError, trouble: Outage, now: float) -> ReconcileError:
    """A device that stays out of reach is Stalled in the end, and still looked at; a new operator does not take it back."""
    if error.reason != UNREACHABLE or trouble.unreachable_since is None:
        return error
    stalled = device.status.condition("Stalled")
    stays = stalled is not None and stalled.reason == UNREACHABLE
    if not stays and now - trouble.unreachable_since < DEADLINE_SECONDS:
        return error
    return Stalled(error.reason, error.message, condition=error.condition)


def with_patience(error: Waiting, waited: float) -> Waiting:
    """A daemon that is on its way is looked at again after half as long as it took so far: 1 s at first, then up to 30.

    edgeAgent takes a second where its image is there, and minutes where it has to be pulled over a thin line.
    """
    after = min(max(waited / 2, 1.0), 30.0)
    return Waiting(error.reason, error.message, retry_after=after, observed=error.observed, condition=error.condition)


def in_grace(device: EdgeDevice, error: ReconcileError, trouble: Outage, now: float) -> bool:
    """Whether a device that was healthy at this generation may still be called so."""
    ready = device.status.condition("Ready")
    healthy = ready is not None and ready.status == "True" and ready.observed_generation == device.generation
    asked = device.requested_at != device.status.last_handled_reconcile_at
    return error.reason in _BLIPS and healthy and not asked and now - trouble.since < GRACE_SECONDS


def after(error: ReconcileError | None, *, interval: float, spread: float) -> Requeue:
    """When the next look is due.

    Args:
        error: what ended the pass early, if anything did.
        interval: seconds between two looks at what is healthy.
        spread: what the interval is multiplied by, so that not all are looked at at once.
    """
    match error:
        case None:
            return Requeue(interval * spread, Priority.DRIFT)
        case Waiting():
            # What is not there, and may never be, does not come before what somebody changed.
            is_away = error.reason == UNREACHABLE or not error.observed
            return Requeue(error.retry_after, Priority.DRIFT if is_away else Priority.CHANGE)
        case _:
            return Requeue(STALLED_SECONDS, Priority.DRIFT)


def after_rest(due: Requeue, *, seconds: float, spread: float) -> Requeue:
    """The same, or later when the device kept the pass waiting for long: in proportion to what it cost.

    It does not matter how the look ended: a device may also take its time to say that it is well. When it answers in
    time again, all is as if it always had; and a change of the object does not wait for the rest to be over.

    Args:
        due: when it would be looked at.
        seconds: how long the pass waited for the device.
        spread: what the rest is multiplied by, so that devices that hung together do not come back together.
    """
    if seconds < SLOW_SECONDS:
        return due
    rest = min(COST_FACTOR * seconds, LONGEST_REST_SECONDS) * spread
    return Requeue(max(due.after, rest), Priority.DRIFT, slow=True)
