"""Wiring: the operator's parts put together, once, here."""

import asyncio
import functools
import logging
import signal

from edgeherd import __version__, logs
from edgeherd.clock import Clock
from edgeherd.cluster import lease
from edgeherd.cluster.client import ApiClient
from edgeherd.cluster.elector import Elector, Leadership, NoElection, own_identity
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
    """Run the operator until it is told to stop. With leader election it stands by until it leads.

    Raises:
        ApiError: there is no usable Kubernetes configuration, or the API server does not list our kinds.
        LeaseLostError: it does not lead any more.
    """
    logs.configure(settings.log_level)
    stop = _stop_by_signal()
    async with _election(settings) as leadership:
        await _run(settings, leadership, stop)


async def _run(settings: Settings, leadership: Leadership, stop: asyncio.Event) -> None:
    async with await ApiClient.configured(settings.kubeconfig, fence=leadership.fence) as api:
        key_workers = Workers(processes=ssh.KEY_PROCESSES, seconds=ssh.KEY_SECONDS)
        file_workers = Workers(processes=config_editor.PROCESSES, seconds=config_editor.SECONDS)
        await file_workers.start()
        clock, index, queue = Clock(), DeviceIndex(), WorkQueue(settings.capacity)
        cluster, connector = (
            KubernetesCluster(api, clock=clock),
            ssh.SshConnector(key_workers.run, fence=leadership.fence),
        )
        hubs = HubClients(
            cluster,
            namespace=settings.namespace,
            factory=functools.partial(azure.client_of, on_trouble=queue.add, fence=leadership.fence),
        )
        logins = SshLogins(
            cluster,
            connect=connector.connect,
            host_key=connector.host_key,
            cluster_networks=settings.cluster_networks,
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
        controller = Controller(queue, kinds, workers=settings.capacity.passes)
        if not await leadership.acquired(stop):
            return
        async with leadership.held():
            await _fill(index, cluster)
            ready = asyncio.Event()
            announcement = asyncio.create_task(_announce(ready, settings))
            try:
                await controller.run(login=api.connection, ready=ready)
            finally:
                announcement.cancel()
                hubs.close()


def _election(settings: Settings) -> Elector | NoElection:
    if not settings.leader_election:
        return NoElection()
    open_lease = functools.partial(
        lease.opened, settings.kubeconfig, namespace=settings.namespace, name=lease.LEASE_NAME
    )
    return Elector(open_lease, identity=own_identity())


def _stop_by_signal() -> asyncio.Event:
    """What SIGTERM and SIGINT set, until kopf takes them."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _fill(index: DeviceIndex, cluster: Cluster) -> None:
    """Before the first pass: whoever comes first in the list must not take what an older one has."""
    for connection in await cluster.hub_connections():
        index.update_hub(connection)
    for device in await cluster.edge_devices():
        index.update(device)


async def _announce(ready: asyncio.Event, settings: Settings) -> None:
    await ready.wait()
    _log.info("edgeherd %s watches EdgeDevices; hub Secrets are in namespace %s", __version__, settings.namespace)
