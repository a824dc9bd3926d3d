"""Wiring: the operator's parts put together, once, here."""

import asyncio
import concurrent.futures
import logging

from edgeherd import __version__, logs
from edgeherd.clock import Clock
from edgeherd.cluster.client import ApiClient
from edgeherd.cluster.objects import KubernetesCluster
from edgeherd.controller.controller import Controller, Kind
from edgeherd.controller.event_handler import EventHandler
from edgeherd.controller.index import DeviceIndex
from edgeherd.controller.workqueue import WorkQueue
from edgeherd.device import ssh
from edgeherd.hub import azure
from edgeherd.model import HubConnection
from edgeherd.reconcile import config_editor
from edgeherd.reconcile.device import DeviceReconciler
from edgeherd.reconcile.hub_clients import ClientFactory, HubClients, HubCredentials
from edgeherd.reconcile.hub_connection import HubConnectionReconciler
from edgeherd.reconcile.ssh_logins import SshLogins
from edgeherd.reconcile.step import Dependencies
from edgeherd.settings import Settings
from edgeherd.worker import Workers

_log = logging.getLogger(__name__)


def _factory(executor: concurrent.futures.ThreadPoolExecutor, queue: WorkQueue) -> ClientFactory:
    def opened(connection: HubConnection, login: HubCredentials) -> azure.HubClient:
        return azure.HubClient(
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
    async with await ApiClient.configured(settings.kubeconfig) as api:
        key_workers = Workers(processes=ssh.KEY_PROCESSES, seconds=ssh.KEY_SECONDS)
        file_workers = Workers(processes=config_editor.PROCESSES, seconds=config_editor.SECONDS)
        await file_workers.start()
        clock, index, queue, connector = Clock(), DeviceIndex(), WorkQueue(), ssh.SshConnector(key_workers.run)
        cluster = KubernetesCluster(api, clock=clock)
        hubs = HubClients(cluster, namespace=settings.namespace, factory=_factory(executor, queue))
        logins = SshLogins(cluster, connect=connector.connect, host_key=connector.host_key)
        editor = config_editor.ConfigEditor(file_workers.run)
        devices = DeviceReconciler(
            Dependencies(cluster=cluster, hubs=hubs, ssh=logins, editor=editor, claimants=index, clock=clock)
        )
        hub_connections = HubConnectionReconciler(cluster=cluster, hubs=hubs, clock=clock)
        handler = EventHandler(queue, index)
        kinds = {
            "EdgeDevice": Kind(plural="edgedevices", on_event=handler.on_device, reconcile=devices.reconcile),
            "HubConnection": Kind(
                plural="hubconnections", on_event=handler.on_hub, reconcile=hub_connections.reconcile
            ),
        }
        ready = asyncio.Event()
        announcement = asyncio.create_task(_announce(ready, settings))
        try:
            await Controller(queue, kinds, workers=settings.workers).run(login=api.connection, ready=ready)
        finally:
            announcement.cancel()
            executor.shutdown(wait=False, cancel_futures=True)


async def _announce(ready: asyncio.Event, settings: Settings) -> None:
    await ready.wait()
    _log.info("edgeherd %s watches EdgeDevices; hub Secrets are in namespace %s", __version__, settings.namespace)
