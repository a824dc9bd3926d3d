"""One pass over one EdgeDevice: the list of steps, forward, or backward when it is deleted, and one status at the end."""

import dataclasses
import logging
import random
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from edgeherd import conditions, fitting
from edgeherd.cluster.errors import ApiError, ContentRefusedError, ForbiddenError
from edgeherd.device.port import DeviceError
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.fence import NotLeadingError
from edgeherd.hub.port import HubError
from edgeherd.model import FINALIZER, Condition, EdgeDevice, Key, Priority, Status
from edgeherd.reconcile import deletion, requeue, transitions
from edgeherd.reconcile.errors import from_api_error, from_device_error, from_hub_error
from edgeherd.reconcile.reporter import Reporter
from edgeherd.reconcile.requeue import Gone, Outage, Requeue
from edgeherd.reconcile.step import Context, Dependencies, Event, Step, Undone
from edgeherd.reconcile.steps.configuration import ConfigurationStep
from edgeherd.reconcile.steps.connection import ConnectionStep
from edgeherd.reconcile.steps.health import HealthStep
from edgeherd.reconcile.steps.identity import IdentityStep
from edgeherd.reconcile.steps.secret import SecretStep

_log = logging.getLogger(__name__)

STEPS: tuple[type[Step], ...] = (
    IdentityStep,
    SecretStep,
    ConnectionStep,
    ConfigurationStep,
    HealthStep,
)
"""What is done, in this order; a deletion goes through it from the end. Each step hands on what the next ones need."""

CONDITIONS = tuple(step.condition for step in STEPS)
"""The types of the steps' conditions."""

_ON_DEVICE = frozenset({ConnectionStep.condition, ConfigurationStep.condition})
"""Steps whose time is the device's. Who waits for a busy hub or API server is not slow himself."""

_T = TypeVar("_T")


class DeviceReconciler:
    """Makes one EdgeDevice true. Holds in memory only what may be forgotten."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._cluster = dependencies.cluster
        self._clock = dependencies.clock
        self._reporter = Reporter(dependencies.cluster, heard=dependencies.heard)
        self._steps = tuple(step(dependencies) for step in STEPS)
        self._outages: dict[Key, Outage] = {}
        self._undone: dict[Key, tuple[str, dict[str, Condition]]] = {}
        """What the steps that are through with a deletion said, and the uid: it may not be in the status yet."""

    async def reconcile(self, key: Key) -> Requeue | Gone | None:
        """Look at the device and take the next step.

        Returns:
            When it shall be looked at again; None when only a change of the object can matter.

        Raises:
            ApiError: the API server refused; a ConflictError among them only asks to look again.
            NotLeadingError: another operator may lead by now; nothing is recorded of it.
        """
        device = await self._cluster.edge_device(key.namespace, key.name)
        if device is None:
            self._forget(key)
            return Gone()
        if device.deleting:
            return await self._delete(device)
        if device.suspend:
            await self._pause(device)
            return None
        if not device.status.conditions:
            device = await self._init_status(device)
        context = Context(device)
        try:
            error = await self._forward(context)
        except (ApiError, NotLeadingError):
            raise
        except Exception:
            await self._record_bug(context)
            raise
        finally:
            await self._emit(device, context.events)
        return await self._update_status(context, error)

    async def _forward(self, context: Context) -> ReconcileError | None:
        """Step by step, until one is not done. Returns what ended it early."""
        device = context.device
        try:
            async with context.resources:
                for step in self._steps:
                    context.at = step.condition
                    done = await self._timed(step, context, step.reconcile(context))
                    context.conditions[context.at] = _condition(context.at, "True", done.reason, done.message)
        except (ReconcileError, HubError, DeviceError, ApiError) as exc:
            error = self._with_deadline(device, _meaning(exc, device))
        else:
            self._outages.pop(device.key, None)
            return None
        about = error.condition or context.at
        if about != context.at:
            context.conditions[context.at] = conditions.pending(context.at, about)
        status = "False" if error.observed else "Unknown"
        context.conditions[about] = _condition(about, status, error.reason, error.message)
        return error

    async def _delete(self, device: EdgeDevice) -> Requeue | None:
        """The steps backward, then the finalizer. The identity must be gone, or known to stay, before the object is."""
        if FINALIZER not in device.finalizers:
            return None
        context = Context(device)
        try:
            left = self._to_undo(context)
            if any(step.undone for step in left) and await deletion.is_to_undo(self._dependencies, context):
                for step in left:
                    undone = await self._timed(step, context, step.delete(context))
                    if undone is not None:
                        await self._report(context, step, undone)
            await self._emit(device, context.take_events())
            await self._cluster.remove_finalizer(context.device)
        except (ReconcileError, HubError, DeviceError, ApiError) as exc:
            await self._emit(device, context.take_events())  # steps that are through do not tell it again
            error = _meaning(exc, device)
        else:
            self._reporter.note(device.key, Event("Deleted", "The finalizer was removed: nothing holds the object."))
            return None
        await self._say_blocked(context, error)
        due = requeue.after(error, interval=0, spread=1)
        return Requeue(due.after, Priority.DELETE, slow=context.device_seconds >= requeue.SLOW_SECONDS)

    def _to_undo(self, context: Context) -> list[Step]:
        """The steps that are not through yet, from the last one on. Those that are keep what they said."""
        device = context.device
        uid, through = self._undone.get(device.key, ("", {}))
        if uid == device.uid:
            context.conditions |= through
        said = {c.type: c.reason for c in (*device.status.conditions, *context.conditions.values())}
        return [step for step in reversed(self._steps) if said.get(step.condition) not in step.undone]

    async def _report(self, context: Context, step: Step, undone: Undone) -> None:
        """A step is through. What it left behind is said before the object is gone: nobody hears of it later."""
        type_, device = step.condition, context.device
        context.conditions[type_] = _condition(type_, "False", undone.reason, undone.message)
        self._undone[device.key] = device.uid, dict(context.conditions)
        context.event(undone.reason, undone.message, warning=undone.leftover)
        if undone.leftover:
            await self._put_deleting(context, Waiting(undone.reason, undone.message))

    async def _timed(self, step: Step, context: Context, work: Awaitable[_T]) -> _T:
        """The step's work, whose time counts if it waits for the device."""
        began = self._clock.monotonic()
        try:
            return await work
        finally:
            if step.condition in _ON_DEVICE:
                context.device_seconds += self._clock.monotonic() - began

    def _with_deadline(self, device: EdgeDevice, error: ReconcileError) -> ReconcileError:
        """The error, or what becomes of it when it lasts too long."""
        now = self._clock.monotonic()
        outage = requeue.outage(self._outages.get(device.key), error, now)
        self._outages[device.key] = outage
        return requeue.with_deadline(device, error, outage, now)

    def _forget(self, key: Key) -> None:
        """The device is gone."""
        self._outages.pop(key, None)
        self._reporter.status_written(key)
        self._undone.pop(key, None)
        for step in self._steps:
            step.forget(key)

    async def _pause(self, device: EdgeDevice) -> None:
        """A suspended device keeps what was last said of it; nothing is looked at, so no outage goes on."""
        self._outages.pop(device.key, None)
        said = conditions.paused(device.status.conditions, device.generation, at=self._clock.now(), steps=CONDITIONS)
        await self._put_status(device, dataclasses.replace(device.status, conditions=said))
        await self._emit(device, transitions.suspended(device.status))

    async def _init_status(self, device: EdgeDevice) -> EdgeDevice:
        """The first status of a new object: every condition is there, as Unknown, before anything is done."""
        begun = conditions.begun(device.generation, at=self._clock.now(), steps=CONDITIONS)
        return await self._put_status(device, dataclasses.replace(device.status, conditions=begun))

    async def _record_bug(self, context: Context) -> None:
        """A bug must show where the user looks, not in the operator's log alone."""
        message = "An error in edgeherd itself; the operator's log has the traceback. It is tried again."
        error = Waiting("InternalError", message)
        context.conditions[context.at] = _condition(context.at, "Unknown", error.reason, error.message)
        await self._update_status(context, error)

    async def _update_status(self, context: Context, error: ReconcileError | None) -> Requeue:
        """Write the status if it differs, and say when to come back."""
        device = context.device
        spread = random.uniform(0.9, 1.1)  # noqa: S311 - spreads load; no secret
        due = requeue.after(error, interval=device.interval_seconds, spread=spread)
        rested = requeue.after_rest(due, seconds=_cost(context, error), spread=spread)
        outage = self._outages.get(device.key)
        if error and outage and requeue.in_grace(device, error, outage, self._clock.monotonic()):
            await self._put_status(device, dataclasses.replace(device.status, identity=context.status.identity))
            return dataclasses.replace(due, slow=rested.slow)
        status = dataclasses.replace(
            context.status,
            observed_generation=conditions.observed_generation(
                device.generation, device.status.observed_generation, error
            ),
            conditions=conditions.summarise(
                context.conditions,
                old=device.status.conditions,
                generation=device.generation,
                ended_by=error,
                at=self._clock.now(),
                steps=CONDITIONS,
                hints=context.hints,
            ),
            last_handled_reconcile_at=device.requested_at,
        )
        now = await self._put_status(device, status)
        planned = device.status.observed_generation != device.generation
        told = {event.reason for event in context.events}
        await self._emit(device, transitions.of_device(device.status, now.status, error, told=told, planned=planned))
        return rested

    async def _put_status(self, device: EdgeDevice, status: Status) -> EdgeDevice:
        """Write a status if it differs; the object as it is then.

        One whose content is refused must not leave an earlier one that says all is well. Without the right to write it
        there is nobody to tell but the log.
        """
        try:
            now = await self._put_content(device, status)
        except ForbiddenError as exc:
            await self._reporter.status_refused(device, exc)
            return device
        self._reporter.status_written(device.key)
        return now

    async def _put_content(self, device: EdgeDevice, status: Status) -> EdgeDevice:
        status = fitting.fit(status)
        if status == device.status:
            return device
        try:
            return await self._cluster.put_status(device, status)
        except ContentRefusedError as exc:
            message = (
                f"The API server refuses the status of this pass ({fitting.cut(exc.message, 512)}). What else is in the "
                "status is older. Install the CRDs of the operator's version; if they are, report a bug of edgeherd."
            )
            said = conditions.refused(device.status.conditions, device.generation, message, at=self._clock.now())
            status = fitting.fit(dataclasses.replace(device.status, conditions=said))
            if status == device.status:
                return device
            _log.error("the API server refuses the status: %s", exc, extra={"key": device.key})
            return await self._cluster.put_status(device, status)

    async def _say_blocked(self, context: Context, error: ReconcileError) -> None:
        """Say what blocks the deletion, once in an Event."""
        device = context.device
        hint = f" To leave the hub as it is, annotate the object with edgeherd.io/force-delete={device.uid}."
        for_a_human = isinstance(error, Stalled) or error.reason == "HubNotFound"
        told = Stalled(error.reason, error.message + hint) if for_a_human else error
        before = device.status.condition("Deleting")
        is_news = before is None or before.reason != error.reason
        if is_news and self._reporter.writes_status(device.key):
            await self._emit(device, [Event("DeletionBlocked", error.message, warning=True)])
        await self._put_deleting(context, told)

    async def _put_deleting(self, context: Context, error: ReconcileError) -> None:
        """Write what the deletion waits for, if it is news. An object that is gone needs no status."""
        device = context.device
        said = conditions.deleting(
            device.status.conditions,
            device.generation,
            error,
            at=self._clock.now(),
            reported=context.conditions.values(),
        )
        try:
            context.device = await self._put_status(device, dataclasses.replace(device.status, conditions=said))
        except ApiError as exc:
            if exc.status != 404:
                raise

    async def _emit(self, device: EdgeDevice, events: Iterable[Event]) -> None:
        await self._reporter.report(device, events)


def _condition(type_: str, status: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message)


def _meaning(error: ReconcileError | HubError | DeviceError | ApiError, device: EdgeDevice) -> ReconcileError:
    match error:
        case HubError():
            return from_hub_error(error)
        case DeviceError():
            return from_device_error(error, device)
        case ApiError():
            return from_api_error(error)
        case _:
            return error


def _cost(context: Context, error: ReconcileError | None) -> float:
    """How long the device kept the pass waiting. A restart of the daemon takes its time, and is what was wanted."""
    return 0.0 if error is not None and error.reason == "DaemonRestarted" else context.device_seconds
