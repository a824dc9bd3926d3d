"""Wiring: the operator's parts put together, once, here."""

import asyncio
import functools
import logging

from edgeherd import __version__
from edgeherd.clock import Clock
from edgeherd.cluster import lease
from edgeherd.cluster.client import ApiClient
from edgeherd.cluster.elector import Elector, Leadership, NoElection, own_identity
from edgeherd.cluster.objects import KubernetesCluster
from edgeherd.cluster.port import Cluster
from edgeherd.controller.controller import Controller, Kind, stop_on_signal
from edgeherd.controller.event_handler import EventHandler
from edgeherd.controller.fleet import Fleet
from edgeherd.controller.index import DeviceIndex
from edgeherd.controller.secret_poll import SecretPoll
from edgeherd.controller.source import Source
from edgeherd.controller.watch import WatchSession, watched
from edgeherd.controller.workqueue import WorkQueue
from edgeherd.device import ssh
from edgeherd.device.observed import observed
from edgeherd.fence import Fence
from edgeherd.hub import azure
from edgeherd.model import Priority
from edgeherd.reconcile import config_editor
from edgeherd.reconcile.claims import Claims
from edgeherd.reconcile.device import DeviceReconciler
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.hub_connection import HubConnectionReconciler
from edgeherd.reconcile.ssh_logins import SshLogins
from edgeherd.reconcile.step import Dependencies
from edgeherd.settings import Settings
from edgeherd.telemetry import logs
from edgeherd.telemetry.health import Role, State
from edgeherd.telemetry.metrics import Metrics, Sources
from edgeherd.telemetry.server import serving
from edgeherd.worker import Workers

_log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Run the operator until it is told to stop. With leader election it stands by until it leads.

    Raises:
        ApiError: there is no usable Kubernetes configuration.
        LeaseLostError: it does not lead any more.
        NoWatchError: nothing could be watched for so long that another process may do better.
    """
    logs.configure(settings.log_level, settings.log_format)
    stop = stop_on_signal()
    async with _election(settings) as leadership:
        await _run(settings, leadership, stop)


async def _run(settings: Settings, leadership: Leadership, stop: asyncio.Event) -> None:
    metrics = Metrics(version=__version__, workers=settings.capacity.passes)
    clock, index, fleet, queue = Clock(), DeviceIndex(), Fleet(), WorkQueue(settings.capacity, metrics.queue)
    async with await ApiClient.configured(settings.kubeconfig, fence=leadership.fence) as api:
        _log.info("edgeherd %s starts; hub Secrets are in namespace %s", __version__, settings.namespace)
        api.answered = metrics.api_answered
        cluster = KubernetesCluster(api, clock=clock, namespaces=settings.watch_namespaces)
        hubs = HubClients(
            cluster,
            namespace=settings.namespace,
            factory=functools.partial(
                azure.client_of, on_trouble=queue.add, fence=leadership.fence, answered=metrics.hub_answered
            ),
        )
        dependencies = Dependencies(
            cluster=cluster,
            hubs=hubs,
            ssh=_ssh(settings, cluster, metrics, leadership.fence, clock),
            editor=_editor(),
            claims=Claims(cluster, hubs, index, clock),
            clock=clock,
            heard=metrics.heard,
        )
        handler = EventHandler(queue, index, fleet)
        kinds = _kinds(dependencies, index, handler)
        controller = Controller(queue, kinds, workers=settings.capacity.passes, ended=metrics.reconciled)
        watching = functools.partial(WatchSession, watched(handler), api)
        where = settings.watch_namespaces
        going = functools.partial(queue.add, priority=Priority.DELETE)
        source = Source(cluster, index, gone=handler.gone, going=going, start=watching, clock=clock, namespaces=where)
        versions = dependencies.secret_versions
        secrets = SecretPoll(cluster, index, versions, on_change=queue.add, namespaces=where or ("",))
        state = functools.partial(_state, leadership, source, queue, clock)
        metrics.expose(Sources(fleet=fleet, budgets=lambda: hubs.budgets, state=state))
        ports = {"metrics_address": settings.metrics_address, "probe_address": settings.probe_address}
        async with serving(metrics=metrics, state=state, **ports):
            if not await leadership.acquired(stop):
                return
            async with leadership.held():
                polling = asyncio.create_task(secrets.run(), name="secret-poll")
                try:
                    await controller.run(source, stop)
                finally:
                    polling.cancel()
                    hubs.close()


def _election(settings: Settings) -> Elector | NoElection:
    if not settings.leader_election:
        return NoElection()
    open_lease = functools.partial(
        lease.opened, settings.kubeconfig, namespace=settings.namespace, name=lease.LEASE_NAME
    )
    return Elector(open_lease, identity=own_identity())


def _ssh(settings: Settings, cluster: Cluster, metrics: Metrics, fence: Fence, clock: Clock) -> SshLogins:
    workers = Workers(processes=ssh.KEY_PROCESSES, seconds=ssh.KEY_SECONDS)
    connector = ssh.SshConnector(workers.run, fence=fence)
    return SshLogins(
        cluster,
        connect=observed(connector.connect, metrics),
        host_key=connector.host_key,
        cluster_networks=settings.cluster_networks,
        clock=clock,
    )


def _editor() -> config_editor.ConfigEditor:
    workers = Workers(processes=config_editor.PROCESSES, seconds=config_editor.SECONDS)
    return config_editor.ConfigEditor(workers.run)


def _kinds(dependencies: Dependencies, index: DeviceIndex, handler: EventHandler) -> dict[str, Kind]:
    devices = DeviceReconciler(dependencies)
    hub_connections = HubConnectionReconciler(
        cluster=dependencies.cluster,
        hubs=dependencies.hubs,
        index=index,
        clock=dependencies.clock,
        heard=dependencies.heard,
    )
    return {
        "EdgeDevice": Kind(reconcile=devices.reconcile, forget=handler.forget),
        "HubConnection": Kind(reconcile=hub_connections.reconcile, forget=handler.forget),
    }


def _state(leadership: Leadership, source: Source, queue: WorkQueue, clock: Clock) -> State:
    """What probes and metrics are told."""
    feed = source.state
    return State(
        role=_role(leadership),
        phase=feed.phase if leadership.is_leading else "",
        phase_seconds=clock.monotonic() - feed.since,
        detail=feed.detail,
        queue=queue.state,
    )


def _role(leadership: Leadership) -> Role:
    if leadership.is_leading:
        return Role.LEADER
    return Role.LOST if leadership.is_lost else Role.STANDBY
