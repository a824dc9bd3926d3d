"""What is worth telling about a change of status: where it moved, not where it stands. Pure."""

from collections.abc import Collection

from edgeherd.errors import ReconcileError, Stalled
from edgeherd.model import Condition, Status
from edgeherd.reconcile.step import Event


def of_device(
    old: Status, new: Status, error: ReconcileError | None, *, told: Collection[str], planned: bool
) -> list[Event]:
    """The summary moved: to health, away from it, or to another reason.

    Args:
        old: the status before the pass.
        new: the status after it.
        error: what ended the pass early.
        told: the reasons of the pass's own Events, which need not be told twice.
        planned: whether the spec has changed since the status before: then a restart is what was asked for.
    """
    resumed = _resumed(old, new)
    before, after = old.condition("Ready"), new.condition("Ready")
    gave_up = isinstance(error, Stalled) and old.condition("Stalled") is None
    if after is None or after.reason in told or (_stands(before, after) and not gave_up):
        return resumed
    if after.status == "True":
        return [*resumed, Event("Ready", after.message)]
    was_ready = before is not None and before.status == "True"
    if was_ready or isinstance(error, Stalled):
        return [*resumed, Event(after.reason, after.message, warning=not (planned and after.reason == RESTARTED))]
    return [*resumed, Event(after.reason, after.message, log_only=True)]


RESTARTED = "DaemonRestarted"


def suspended(old: Status) -> list[Event]:
    """The object is suspended from now on."""
    before = old.condition("Paused")
    if before is not None and before.status == "True":
        return []
    return [Event("Suspended", "spec.suspend is true: nothing is done in the hub or on the device.")]


def of_hub(old: tuple[Condition, ...], new: tuple[Condition, ...]) -> list[Event]:
    """What moved on a HubConnection: its summary, or a hint that was not there."""
    known = {condition.type: condition for condition in old}
    return [
        Event(condition.reason, condition.message, warning=condition.type != "Ready" or condition.status != "True")
        for condition in new
        if condition.type not in {"Reconciling", "Stalled"} and not _stands(known.get(condition.type), condition)
    ]


def _resumed(old: Status, new: Status) -> list[Event]:
    before, after = old.condition("Paused"), new.condition("Paused")
    was_paused = before is not None and before.status == "True"
    if was_paused and after is not None and after.status == "False":
        return [Event("Resumed", after.message)]
    return []


def _stands(before: Condition | None, after: Condition) -> bool:
    """Neither the status nor the reason moved."""
    return before is not None and (before.status, before.reason) == (after.status, after.reason)
