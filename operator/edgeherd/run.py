"""Wiring: the operator's parts put together, once, here."""

import asyncio
import functools
import logging

from edgeherd import __version__, logs
from edgeherd.clock import Clock
from edgeherd.cluster.client import ApiClient
from edgeherd.cluster.objects import KubernetesCluster
from edgeherd.cluster.port import Cluster
from edgeherd.controller.controller import Controller, Kind
from edgeherd.controller.event_handler import EventHandler
from edgeherd.controller.index import DeviceIndex
from edgeherd.controller.workqueue import WorkQueue
from edgeherd.device import ssh
from edgeherd.hub import azure
from edgeherd.reconcile import config_editor
from edgeherd.reconcile.claims import Claims
from edgeherd.reconcile.device import DeviceReconciler
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.hub_connection import HubConnectionReconciler
from edgeherd.reconcile.ssh_logins import SshLogins
from edgeherd.reconcile.step import Dependencies
from edgeherd.settings import Settings
from edgeherd.worker import Workers

_log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Run the operator until it is told to stop.

    Raises:
        ApiError: there is no usable Kubernetes configuration, or the API server does not list our kinds.
    """
    logs.configure(settings.log_level)
    async with await ApiClient.configured(settings.kubeconfig) as api:
        key_workers = Workers(processes=ssh.KEY_PROCESSES, seconds=ssh.KEY_SECONDS)
        file_workers = Workers(processes=config_editor.PROCESSES, seconds=config_editor.SECONDS)
        await file_workers.start()
        clock, index, queue = Clock(), DeviceIndex(), WorkQueue(settings.capacity)
        cluster, connector = KubernetesCluster(api, clock=clock), ssh.SshConnector(key_workers.run)
        hubs = HubClients(
            cluster,
            namespace=settings.namespace,
            factory=functools.partial(azure.client_of, on_trouble=queue.add),
        )
        logins = SshLogins(
            cluster,
            connect=connector.connect,
            host_key=connector.host_key,
            cluster_networks=settings.cluster_networks,
            clock=clock,
        )
        devices = DeviceReconciler(
            Dependencies(
                cluster=cluster,
                hubs=hubs,
                ssh=logins,
                editor=config_editor.ConfigEditor(file_workers.run),
                claims=Claims(cluster, hubs, index, clock),
                clock=clock,
            )
        )
        hub_connections = HubConnectionReconciler(cluster=cluster, hubs=hubs, clock=clock)
        handler = EventHandler(queue, index)
        kinds = {
            "EdgeDevice": Kind(plural="edgedevices", on_event=handler.on_device, reconcile=devices.reconcile),
            "HubConnection": Kind(
                plural="hubconnections", on_event=handler.on_hub, reconcile=hub_connections.reconcile
            ),
        }
        await _fill(index, cluster)
        ready = asyncio.Event()
        announcement = asyncio.create_task(_announce(ready, settings))
        try:
            await Controller(queue, kinds, workers=settings.capacity.passes).run(login=api.connection, ready=ready)
        finally:
            announcement.cancel()
            hubs.close()


async def _fill(index: DeviceIndex, cluster: Cluster) -> None:
    """Before the first pass: whoever comes first in the list must not take what an older one has."""
    for connection in await cluster.hub_connections():
        index.update_hub(connection)
    for device in await cluster.edge_devices():
        index.update(device)


async def _announce(ready: asyncio.Event, settings: Settings) -> None:
    await ready.wait()
    _log.info("edgeherd %s watches EdgeDevices; hub Secrets are in namespace %s", __version__, settings.namespace)
