"""Wiring: the operator's parts put together, once, here."""

import asyncio
import functools
import logging

from edgeherd import __version__, logs
from edgeherd.cluster.client import ApiClient
from edgeherd.cluster.objects import KubernetesCluster
from edgeherd.controller.controller import Controller
from edgeherd.controller.event_handler import EventHandler
from edgeherd.controller.workqueue import WorkQueue
from edgeherd.device import ssh
from edgeherd.hub import azure
from edgeherd.reconcile.device import DeviceReconciler
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.hub_connection import HubConnectionReconciler
from edgeherd.reconcile.index import DeviceIndex
from edgeherd.settings import Settings

_log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Run the operator until it is told to stop.

    Raises:
        ApiError: there is no usable Kubernetes configuration.
    """
    logs.configure(settings.log_level)
    executor = azure.pool()
    async with await ApiClient.configured(settings.kubeconfig) as api:
        cluster, index, queue = KubernetesCluster(api), DeviceIndex(), WorkQueue()
        client_of = functools.partial(azure.client_of, executor=executor, on_trouble=queue.add)
        hubs = HubClients(cluster, namespace=settings.namespace, factory=client_of)
        connector = ssh.SshConnector()
        devices = DeviceReconciler(
            cluster=cluster, hubs=hubs, connect=connector.connect, host_key=connector.host_key, index=index
        )
        reconcile = {
            "EdgeDevice": devices.run,
            "HubConnection": HubConnectionReconciler(cluster=cluster, hubs=hubs).run,
        }
        ready = asyncio.Event()
        announce = asyncio.create_task(_announce(ready, settings))
        try:
            operator = Controller(queue, reconcile, workers=settings.workers)
            await operator.run(EventHandler(queue, index), login=api.connection, ready=ready)
        finally:
            announce.cancel()
            executor.shutdown(wait=False, cancel_futures=True)


async def _announce(ready: asyncio.Event, settings: Settings) -> None:
    await ready.wait()
    _log.info("edgeherd %s watches EdgeDevices; hub Secrets are in namespace %s", __version__, settings.namespace)
