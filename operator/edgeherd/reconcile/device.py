"""One pass over one EdgeDevice: the list of steps, forward, or backward when it is deleted, and one status at the end."""

import dataclasses
import logging
import random
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from edgeherd import conditions, fitting
from edgeherd.cluster.errors import ApiError, ContentRefusedError
from edgeherd.device.port import DeviceError
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.hub.port import HubError
from edgeherd.model import FINALIZER, Condition, EdgeDevice, Key, Priority, Status
from edgeherd.reconcile import deletion, requeue
from edgeherd.reconcile.errors import from_device_error, from_hub_error, from_refused_content
from edgeherd.reconcile.requeue import Outage, Requeue
from edgeherd.reconcile.step import Context, Dependencies, Event, Step
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
        self._steps = tuple(step(dependencies) for step in STEPS)
        self._outages: dict[Key, Outage] = {}

    async def reconcile(self, key: Key) -> Requeue | None:
        """Look at the device and take the next step.

        Returns:
            When it shall be looked at again; None when only a change of the object can matter.

        Raises:
            ApiError: the API server refused; a ConflictError among them only asks to look again.
        """
        device = await self._cluster.edge_device(key.namespace, key.name)
        if device is None:
            self._forget(key)
            return None
        if device.deleting:
            return await self._delete(device)
        if device.suspend:
            await self._pause(device)
            return None
        if FINALIZER not in device.finalizers:
            device = await self._cluster.add_finalizer(device)
        if not device.status.conditions:
            device = await self._init_status(device)
        context = Context(device)
        try:
            error = await self._forward(context)
        except ApiError:
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
        except (ReconcileError, HubError, DeviceError, ContentRefusedError) as exc:
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
            if await deletion.is_to_undo(self._dependencies, context):
                for step in reversed(self._steps):
                    await self._timed(step, context, step.delete(context))
        except (ReconcileError, HubError, DeviceError) as exc:
            error = _meaning(exc, device)
        else:
            await self._emit(device, context.events)
            await self._cluster.remove_finalizer(device)
            return None
        await self._emit(device, context.events)
        await self._say_blocked(device, error)
        due = requeue.after(error, interval=0, spread=1)
        return Requeue(due.after, Priority.DELETE, slow=context.device_seconds >= requeue.SLOW_SECONDS)

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
        for step in self._steps:
            step.forget(key)

    async def _pause(self, device: EdgeDevice) -> None:
        """A suspended device keeps what was last said of it; nothing is looked at, so no outage goes on."""
        self._outages.pop(device.key, None)
        said = conditions.paused(device.status.conditions, device.generation, at=self._clock.now(), steps=CONDITIONS)
        await self._put_status(device, dataclasses.replace(device.status, conditions=said))

    async def _init_status(self, device: EdgeDevice) -> EdgeDevice:
        """The first status of a new object: every condition is there, as Unknown, before anything is done."""
        begun = conditions.begun(device.generation, at=self._clock.now(), steps=CONDITIONS)
        stored = await self._put_status(device, dataclasses.replace(device.status, conditions=begun))
        return dataclasses.replace(device, status=stored)

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
        stored = await self._put_status(device, status)
        await self._emit(device, _transitions(device.status, stored, error))
        return rested

    async def _put_status(self, device: EdgeDevice, status: Status) -> Status:
        """Write a status if it differs; what is stored then.

        One that is refused must not leave an earlier one that says all is well.
        """
        status = fitting.fit(status)
        if status == device.status:
            return status
        try:
            await self._cluster.put_status(device, status)
        except ContentRefusedError as exc:
            _log.error("EdgeDevice %s/%s: the API server refuses the status: %s", device.namespace, device.name, exc)
            message = (
                f"The API server refuses the status of this pass ({fitting.cut(exc.message, 512)}). What else is in the "
                "status is older. Install the CRDs of the operator's version; if they are, report a bug of edgeherd."
            )
            said = conditions.refused(device.status.conditions, device.generation, message, at=self._clock.now())
            status = fitting.fit(dataclasses.replace(device.status, conditions=said))
            if status != device.status:
                await self._cluster.put_status(device, status)
        return status

    async def _say_blocked(self, device: EdgeDevice, error: ReconcileError) -> None:
        """Say what blocks the deletion; a status that cannot be written is no reason to stop trying."""
        hint = f" To leave the hub as it is, annotate the object with edgeherd.io/force-delete={device.uid}."
        for_a_human = isinstance(error, Stalled) or error.reason == "HubNotFound"
        told = Stalled(error.reason, error.message + hint) if for_a_human else error
        said = conditions.deleting(device.status.conditions, device.generation, told, at=self._clock.now())
        status = fitting.fit(dataclasses.replace(device.status, conditions=said))
        if status == device.status:
            return
        before = device.status.condition("Deleting")
        if before is None or before.reason != error.reason:
            await self._emit(device, [Event("DeletionBlocked", error.message, warning=True)])
        try:
            await self._put_status(device, status)
        except ApiError as exc:
            if exc.status != 404:
                raise

    async def _emit(self, device: EdgeDevice, events: Iterable[Event]) -> None:
        for event in events:
            await self._cluster.event(device, warning=event.warning, reason=event.reason, message=event.message)


def _condition(type_: str, status: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message)


def _meaning(
    error: ReconcileError | HubError | DeviceError | ContentRefusedError, device: EdgeDevice
) -> ReconcileError:
    match error:
        case HubError():
            return from_hub_error(error)
        case DeviceError():
            return from_device_error(error, device)
        case ContentRefusedError():
            return from_refused_content(error)
        case _:
            return error


def _cost(context: Context, error: ReconcileError | None) -> float:
    """How long the device kept the pass waiting. A restart of the daemon takes its time, and is what was wanted."""
    return 0.0 if error is not None and error.reason == "DaemonRestarted" else context.device_seconds


def _transitions(old: Status, new: Status, error: ReconcileError | None) -> list[Event]:
    """An Event where the summary moved: to health, away from it, or to what a human must fix."""
    before, after = old.condition("Ready"), new.condition("Ready")
    if after is None:
        return []
    was_ready = before is not None and before.status == "True"
    if after.status == "True":
        return [] if was_ready else [Event("Ready", after.message)]
    is_news = before is None or before.reason != after.reason
    if is_news and (was_ready or isinstance(error, Stalled)):
        return [Event(after.reason, after.message, warning=True)]
    return []
