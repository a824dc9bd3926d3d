"""One pass over one HubConnection: can its hub be used, and may it go?"""

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from edgeherd import conditions
from edgeherd.clock import Clock
from edgeherd.cluster.errors import ApiError, ForbiddenError
from edgeherd.cluster.port import Cluster
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.hub.port import HubError, RefusedError
from edgeherd.model import IN_USE_FINALIZER, Condition, EdgeDevice, HubConnection, Key, Priority
from edgeherd.reconcile import requeue, transitions
from edgeherd.reconcile.errors import from_api_error, from_hub_error
from edgeherd.reconcile.hub_clients import HubClients, is_ambiguous
from edgeherd.reconcile.reporter import Reporter
from edgeherd.reconcile.requeue import Gone, Requeue
from edgeherd.reconcile.step import Event

HEALTHY_SECONDS = 300.0

IN_USE_SECONDS = 15.0
"""How often the EdgeDevices that a deletion waits for are counted anew. The end of the last one is heard of at once."""

NAMED = 3
"""So many of them are named: whoever may see a HubConnection looks after the whole cluster."""


class Index(Protocol):
    """Who uses which hub, as the watch saw it."""

    def users_of(self, name: str) -> tuple[Key, ...]:
        """The EdgeDevices that may have something in the hub of a HubConnection, by their names."""

    def update(self, device: EdgeDevice) -> tuple[Key, ...]:
        """A device was seen."""

    def delete(self, key: Key) -> tuple[Key, ...]:
        """An object is gone."""


class HubConnectionReconciler:
    """Says on a HubConnection whether its credential works, and lets it go when nobody needs it any more."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        hubs: HubClients,
        index: Index,
        clock: Clock,
        heard: Callable[[Key, str], None] = lambda *_: None,
    ) -> None:
        self._cluster = cluster
        self._hubs = hubs
        self._index = index
        self._clock = clock
        self._reporter = Reporter(cluster, heard=heard)

    async def reconcile(self, key: Key) -> Requeue | Gone | None:
        """Probe the hub and write what came of it. Returns when it shall be looked at again."""
        connection = await self._cluster.hub_connection(key.name)
        if connection is None:
            self._hubs.forget(key.name)
            self._reporter.status_written(key)
            self._reporter.note(key, Event("Deleted", "The HubConnection is gone."))
            return Gone()
        if connection.deleting:
            return await self._delete(connection)
        error: ReconcileError | None = None
        try:
            if IN_USE_FINALIZER not in connection.finalizers:
                connection = await self._cluster.add_hub_finalizer(connection)
            await (await self._hubs.open(connection)).on_behalf_of("").probe()
        except (ReconcileError, HubError, ApiError) as exc:
            error = _meaning(exc)
        told = conditions.of_hub(
            connection.conditions,
            connection.generation,
            error,
            at=self._clock.now(),
            hints=_hints(connection),
        )
        observed = conditions.observed_generation(connection.generation, connection.observed_generation, error)
        await self._put_status(connection, told, observed)
        spread = random.uniform(0.9, 1.1)  # noqa: S311 - spreads load; no secret
        return requeue.after(error, interval=HEALTHY_SECONDS, spread=spread)

    async def _delete(self, connection: HubConnection) -> Requeue | None:
        """Let it go, unless an EdgeDevice needs its credential: for its own deletion, or because it is to stay."""
        if IN_USE_FINALIZER not in connection.finalizers:
            return None
        try:
            await self._require_unused(connection)
            await self._cluster.remove_hub_finalizer(connection)
        except (Waiting, ApiError) as exc:
            error = _meaning(exc)
        else:
            return None
        told = conditions.deleting(
            connection.conditions, connection.generation, error, at=self._clock.now(), reported=_hints(connection)
        )
        await self._put_status(connection, told, connection.observed_generation)
        return Requeue(IN_USE_SECONDS, Priority.DELETE)

    async def _require_unused(self, connection: HubConnection) -> None:
        """Raises Waiting while EdgeDevices may have something in the hub, unless somebody forces it."""
        if connection.force_delete == connection.uid:
            text = "The finalizer was removed by force; its EdgeDevices lose the hub."
            await self._reporter.report(connection, [Event("DeletionForced", text, warning=True)])
        elif users := await self._users(connection):
            raise Waiting("InUse", _in_use(connection, users))

    async def _users(self, connection: HubConnection) -> Sequence[Key]:
        """The EdgeDevices that may have something in the hub.

        The watch may not have seen the end of one, nor the beginning of another; so one of those that it saw is looked at,
        and before it is believed that there is none, the API server is asked for all.
        """
        while users := self._index.users_of(connection.name):
            first = await self._cluster.edge_device(users[0].namespace, users[0].name)
            if first is not None and first.uses_hub and first.hub_name == connection.name:
                return users
            if first is None:
                self._index.delete(users[0])
            else:
                self._index.update(first)
        try:
            devices = await self._cluster.edge_devices()
        except ApiError as exc:
            if exc.status != 404:
                raise
            return ()  # their CRD was deleted, and with it all of them
        return sorted(device.key for device in devices if device.hub_name == connection.name and device.uses_hub)

    async def _put_status(self, connection: HubConnection, told: tuple[Condition, ...], observed: int) -> None:
        """Write the status if it differs."""
        before = (connection.conditions, connection.observed_generation, connection.last_handled_reconcile_at)
        if (told, observed, connection.requested_at) == before:
            return
        try:
            await self._cluster.put_hub_status(connection, told, observed, handled=connection.requested_at)
        except ForbiddenError as exc:
            await self._reporter.status_refused(connection, exc)
        else:
            self._reporter.status_written(connection.key)
            await self._reporter.report(connection, transitions.of_hub(connection.conditions, told))


def _meaning(error: ReconcileError | HubError | ApiError) -> ReconcileError:
    """What keeps the hub from being used, or the HubConnection from going."""
    match error:
        case RefusedError():
            meaning = from_hub_error(error)
            return Stalled(meaning.reason, meaning.message)
        case HubError():
            return from_hub_error(error)
        case ApiError():
            return from_api_error(error)
        case _:
            return error


def _in_use(connection: HubConnection, users: Sequence[Key]) -> str:
    """How many use it, who they are, and what to do."""
    names = ", ".join(f"{key.namespace}/{key.name}" for key in users[:NAMED])
    more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
    said = "1 EdgeDevice uses" if len(users) == 1 else f"{len(users)} EdgeDevices use"
    return (
        f"{said} this HubConnection: {names}{more}. It goes when the last of them is gone: delete them. To let it go at once "
        f"and leave their identities in the hub, annotate it with edgeherd.io/force-delete={connection.uid}."
    )


def _hints(connection: HubConnection) -> tuple[Condition, ...]:
    """What its administrator may not have thought of."""
    pattern = connection.device_id_pattern
    if pattern is None or not is_ambiguous(pattern):
        return ()
    message = (
        f"With '{pattern}' two namespaces may claim one device id, because names of namespaces hold letters, digits and '-': "
        "'plant' may take 'plant-a-press' from 'plant-a'. Put another character beside '{namespace}', as in '{namespace}.*'."
    )
    return (
        Condition(type="DeviceIdPatternAmbiguous", status="True", reason="SeparatorInNamespaceNames", message=message),
    )
