"""Wiring: the operator's parts put together, once, here."""

import asyncio
import concurrent.futures
import logging

from edgeherd import __version__, logs
from edgeherd.cluster.client import Cluster
from edgeherd.cluster.objects import Objects
from edgeherd.controller.controller import Operator
from edgeherd.controller.event_handler import Feeder
from edgeherd.controller.workqueue import WorkQueue
from edgeherd.device import ssh
from edgeherd.hub import azure
from edgeherd.model import HubConnection
from edgeherd.reconcile.device import DevicePass
from edgeherd.reconcile.hub_clients import ClientFactory, Hubs, Login
from edgeherd.reconcile.hub_connection import HubPass
from edgeherd.reconcile.index import Rivals
from edgeherd.settings import Settings

_log = logging.getLogger(__name__)


def _factory(executor: concurrent.futures.ThreadPoolExecutor, queue: WorkQueue) -> ClientFactory:
    def opened(connection: HubConnection, login: Login) -> azure.Registry:
        return azure.Registry(
            login,
            port=connection.port,
            operations_per_minute=connection.registry_operations_per_minute,
            executor=executor,
            on_trouble=lambda: queue.add(connection.key),
        )

    return opened


async def run(settings: Settings) -> None:
    """Run the operator until it is told to stop.

    Raises:
        ApiError: there is no usable Kubernetes configuration.
    """
    logs.configure(settings.log_level)
    executor = azure.pool()
    async with await Cluster.configured(settings.kubeconfig) as cluster:
        objects, rivals, queue = Objects(cluster), Rivals(), WorkQueue()
        hubs = Hubs(objects, namespace=settings.namespace, factory=_factory(executor, queue))
        door = ssh.SshDoor()
        devices = DevicePass(objects=objects, hubs=hubs, connect=door.connect, host_key=door.host_key, rivals=rivals)
        reconcile = {"EdgeDevice": devices.run, "HubConnection": HubPass(objects=objects, hubs=hubs).run}
        ready = asyncio.Event()
        announce = asyncio.create_task(_announce(ready, settings))
        try:
            operator = Operator(queue, reconcile, workers=settings.workers)
            await operator.run(Feeder(queue, rivals), login=cluster.connection, ready=ready)
        finally:
            announce.cancel()
            executor.shutdown(wait=False, cancel_futures=True)


async def _announce(ready: asyncio.Event, settings: Settings) -> None:
    await ready.wait()
    _log.info("edgeherd %s watches EdgeDevices; hub Secrets are in namespace %s", __version__, settings.namespace)
