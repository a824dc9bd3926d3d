"""What precedes the steps backwards when an EdgeDevice is deleted: force, retain, suspend, and a hub that can be asked."""

from edgeherd.errors import Stalled, Waiting
from edgeherd.model import EdgeDevice, Origin, Secret
from edgeherd.reconcile import connection_secret
from edgeherd.reconcile.step import Context, Dependencies


async def is_to_undo(dependencies: Dependencies, context: Context) -> bool:
    """Whether the steps have anything to undo; if so, the context has all that they need for it.

    Raises:
        Waiting: not yet: the hub cannot be asked, or the object is suspended.
        Stalled: the hub's credential cannot be used.
    """
    device = context.device
    if device.force_delete == device.uid:
        text = "The finalizer was removed by force: identity and device are left as they are."
        context.event("DeletionForced", text, warning=True)
        return False
    context.secret = secret = await _own_secret(dependencies, device)
    known = device.status.identity.is_known
    if secret is None and not known:
        return False  # Keys and the record in the status come before anything is created: no credential is needed.
    if _retains(device, secret):
        text = f"The identity '{device.device_id}' stays in the hub, and the device keeps its configuration."
        context.event("IdentityRetained", text)
        return False
    if device.suspend:
        message = (
            "spec.suspend is true, so nothing is deleted in the hub. Set it to false, or deletionPolicy to 'Retain'."
        )
        raise Waiting("Paused", message, retry_after=60)
    hubs = dependencies.hubs
    # Whoever may not use a hub must not make it work, and a Secret that looks like ours costs nothing. What was created
    # while it was allowed is on record: one look and one deletion for each, and `IdentityStep.delete` has the proof.
    if not known and not await hubs.admits(device, await hubs.named(device.hub_name)):
        text = (
            f"HubConnection '{device.hub_name}' does not allow this EdgeDevice and nothing says that it ever did, so the hub "
            f"was not asked for '{device.device_id}'."
        )
        context.event("IdentityLeft", text, warning=True)
        return False
    context.hub = await hubs.for_release(device)
    return True


async def _own_secret(dependencies: Dependencies, device: EdgeDevice) -> Secret | None:
    try:
        return await connection_secret.read(dependencies.cluster, device)
    except Stalled:
        return None


def _retains(device: EdgeDevice, secret: Secret | None) -> bool:
    """Whether the identity stays when the EdgeDevice goes: as the spec says, else what was adopted stays."""
    origin = device.status.identity.origin or connection_secret.origin_of(secret) or Origin.CREATED
    policy = device.deletion_policy or ("Delete" if origin is Origin.CREATED else "Retain")
    return policy == "Retain"
