"""One pass over one HubConnection: can its hub be used?"""

import random

from edgeherd import conditions
from edgeherd.clock import Clock
from edgeherd.cluster.port import Cluster
from edgeherd.errors import ReconcileError, Stalled
from edgeherd.hub.port import HubError, RefusedError
from edgeherd.model import Condition, HubConnection, Key
from edgeherd.reconcile import requeue
from edgeherd.reconcile.errors import from_hub_error
from edgeherd.reconcile.hub_clients import HubClients, is_ambiguous
from edgeherd.reconcile.requeue import Gone, Requeue

HEALTHY_SECONDS = 300.0


class HubConnectionReconciler:
    """Says on a HubConnection whether its credential works."""

    def __init__(self, *, cluster: Cluster, hubs: HubClients, clock: Clock) -> None:
        self._cluster = cluster
        self._hubs = hubs
        self._clock = clock

    async def reconcile(self, key: Key) -> Requeue | Gone:
        """Probe the hub and write what came of it. Returns when it shall be looked at again."""
        connection = await self._cluster.hub_connection(key.name)
        if connection is None:
            self._hubs.forget(key.name)
            return Gone()
        error: ReconcileError | None = None
        try:
            hub = (await self._hubs.open(connection)).on_behalf_of("")
            await hub.probe()
        except HubError as exc:
            error = from_hub_error(exc)
            if isinstance(exc, RefusedError):
                error = Stalled(error.reason, error.message)
        except ReconcileError as exc:
            error = exc
        observed = conditions.observed_generation(connection.generation, connection.observed_generation, error)
        told = conditions.of_hub(
            connection.conditions,
            connection.generation,
            error,
            at=self._clock.now(),
            hints=_hints(connection),
        )
        if (told, observed) != (connection.conditions, connection.observed_generation):
            await self._cluster.put_hub_status(connection, told, observed)
        spread = random.uniform(0.9, 1.1)  # noqa: S311 - spreads load; no secret
        return requeue.after(error, interval=HEALTHY_SECONDS, spread=spread)


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
