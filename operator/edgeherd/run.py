"""Wiring: the operator's parts put together, once, here."""

import functools
import logging

from edgeherd import __version__, logs
from edgeherd.clock import Clock
from edgeherd.cluster.client import ApiClient
from edgeherd.cluster.objects import KubernetesCluster
from edgeherd.controller.controller import Controller, Kind, stop_on_signal
from edgeherd.controller.event_handler import EventHandler
from edgeherd.controller.index import DeviceIndex
from edgeherd.controller.source import Source
from edgeherd.controller.watch import WatchSession, watched
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
        ApiError: there is no usable Kubernetes configuration.
        NoWatchError: nothing could be watched for so long that another process may do better.
    """
    logs.configure(settings.log_level)
    stop = stop_on_signal()
    async with await ApiClient.configured(settings.kubeconfig) as api:
        _log.info("edgeherd %s starts; hub Secrets are in namespace %s", __version__, settings.namespace)
        key_workers = Workers(processes=ssh.KEY_PROCESSES, seconds=ssh.KEY_SECONDS)
        file_workers = Workers(processes=config_editor.PROCESSES, seconds=config_editor.SECONDS)
        clock, index, queue = Clock(), DeviceIndex(), WorkQueue(settings.capacity)
        cluster = KubernetesCluster(api, clock=clock, namespaces=settings.watch_namespaces)
        connector = ssh.SshConnector(key_workers.run)
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
            "EdgeDevice": Kind(reconcile=devices.reconcile, forget=handler.forget),
            "HubConnection": Kind(reconcile=hub_connections.reconcile, forget=handler.forget),
        }
        source = Source(
            cluster,
            index,
            gone=handler.gone,
            start=functools.partial(WatchSession, watched(handler), api),
            clock=clock,
            namespaces=settings.watch_namespaces,
        )
        try:
            await Controller(queue, kinds, workers=settings.capacity.passes).run(source, stop)
        finally:
            hubs.close()
