"""The way into a hub: an EdgeDevice has the finalizer from the moment it is let in, and a HubConnection stays for those that have it."""

from edgeherd.errors import ReconcileError, Stalled
from edgeherd.model import FINALIZER
from edgeherd.reconcile import connection_secret
from edgeherd.reconcile.step import Context, Dependencies


async def enter(dependencies: Dependencies, context: Context) -> None:
    """Hand on the hub, if the device may use it and comes first; nothing is done there before it has the finalizer.

    Raises:
        Waiting: the HubConnection or its Secret is not there, or the HubConnection is being deleted.
        Stalled: its rules forbid it, the credential cannot be used, or another EdgeDevice comes first.
    """
    device = context.device
    try:
        context.hub = await dependencies.hubs.for_device(device)
        await dependencies.claims.require_first(device, context.hub.connection)
        if FINALIZER not in device.finalizers:
            context.device = await dependencies.cluster.add_finalizer(device)
            # Whoever deletes the HubConnection looks for finalizers after it is marked; so one of both sees the other.
            context.hub = await dependencies.hubs.for_device(context.device)
    except ReconcileError:
        await _let_go(dependencies, context)
        raise


async def _let_go(dependencies: Dependencies, context: Context) -> None:
    """Who is not let in, and has nothing in the hub, must not hold the HubConnection, nor wait for it to be deleted itself."""
    device = context.device
    if FINALIZER not in device.finalizers or device.status.identity.is_known:
        return
    try:
        secret = await connection_secret.read(dependencies.cluster, device)
    except Stalled:
        secret = None
    if secret is None:
        context.device = await dependencies.cluster.remove_finalizer(device)
