"""One pass over one HubConnection: can its hub be used?"""

import random

from edgeherd import conditions
from edgeherd.cluster.port import Cluster
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.hub.port import HubError, RefusedError
from edgeherd.model import Key
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.steps.identity import from_hub_error

HEALTHY_SECONDS = 300.0
STALLED_SECONDS = 60.0


class HubConnectionReconciler:
    """Says on a HubConnection whether its credential works."""

    def __init__(self, *, cluster: Cluster, hubs: HubClients) -> None:
        self._cluster = cluster
        self._hubs = hubs

    async def run(self, key: Key) -> float | None:
        """Probe the hub and write what came of it. Returns seconds until the next look."""
        connection = await self._cluster.hub_connection(key.name)
        if connection is None:
            self._hubs.forget(key.name)
            return None
        ended_by: ReconcileError | None = None
        try:
            hub = (await self._hubs.open(connection)).on_behalf_of("")
            await hub.probe()
        except HubError as exc:
            ended_by = from_hub_error(exc)
            if isinstance(exc, RefusedError):
                ended_by = Stalled(ended_by.reason, ended_by.message)
        except ReconcileError as exc:
            ended_by = exc
        observed = conditions.observed_generation(connection.generation, connection.observed_generation, ended_by)
        told = conditions.of_hub(connection.conditions, connection.generation, ended_by, at=conditions.now())
        if (told, observed) != (connection.conditions, connection.observed_generation):
            await self._cluster.put_hub_status(connection, told, observed)
        if ended_by is None:
            return HEALTHY_SECONDS * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
        return ended_by.retry_after if isinstance(ended_by, Waiting) else STALLED_SECONDS
