"""From the list of a hub's devices to manifests that change nothing in the hub. Pure."""

from collections.abc import Collection, Iterable, Mapping

from edgeherd.hub.port import Listed, Owner
from edgeherd.hubtool.manifests import (
    NO_ID,
    PLACEHOLDER,
    Address,
    Certificate,
    Found,
    LeftOut,
    Plan,
    edge_device,
    object_name,
    usable_id,
)

_CERTIFICATE_PATHS = (f"/{PLACEHOLDER}/certificate.pem", f"/{PLACEHOLDER}/private-key.pem")
"""The hub knows thumbprints; where the certificate is, only the device does."""

WRONG_AUTHENTICATION: Mapping[str, str] = {
    "certificateAuthority": "it authenticates by a certificate authority, which an EdgeDevice cannot",
    "selfSigned": "the hub has no thumbprint of it, so it cannot connect",
}


def plan(
    listed: Iterable[Listed],
    managed: Mapping[str, str],
    *,
    address: Address,
    namespace: str,
    hub: str,
    taken: Collection[str] = (),
    uids: Collection[str] = (),
) -> Plan:
    """A manifest for each device that no EdgeDevice manages.

    Args:
        listed: the hub's edge devices.
        managed: by device id, the EdgeDevice that manages it.
        address: how they are reached.
        namespace: where the manifests go.
        hub: the HubConnection.
        taken: the names that EdgeDevices of the namespace have.
        uids: of all EdgeDevices of the cluster.
    """
    names, bodies, left_out, notes = set(taken), [], [], []
    for device in listed:
        if device.device_id in managed:
            continue
        if (why := _obstacle(device)) is not None:
            left_out.append(LeftOut(device_id=device.device_id, why=why))
            continue
        name = object_name(device.device_id, names)
        bodies.append(edge_device(_found(device), address, name=name, namespace=namespace, hub=hub))
        notes += _notes(device, uids)
    return Plan(bodies=tuple(bodies), left_out=tuple(left_out), notes=tuple(notes))


def _obstacle(device: Listed) -> str | None:
    if not usable_id(device.device_id):
        return NO_ID
    if device.authentication == "sas" or device.thumbprints is not None:
        return None
    return WRONG_AUTHENTICATION.get(device.authentication, f"it authenticates by '{device.authentication}'")


def _found(device: Listed) -> Found:
    certificate = None
    if device.thumbprints is not None:
        path, key_path = _CERTIFICATE_PATHS
        certificate = Certificate(thumbprints=device.thumbprints, path=path, key_path=key_path)
    return Found(device_id=device.device_id, enabled=device.enabled, certificate=certificate)


def _notes(device: Listed, uids: Collection[str]) -> list[str]:
    kept = [
        *([f"its parent {device.parent}"] if device.parent else []),
        *([f"its tags {', '.join(device.tags)}"] if device.tags else []),
        *([f"its deployments {', '.join(device.deployments)}"] if device.deployments else []),
    ]
    found = [f"{device.device_id}: {' and '.join(kept)} stay in the hub as they are; the manifest does not have them"]
    if not kept:
        found = []
    if device.thumbprints is not None:
        found.append(f"{device.device_id}: say where its certificate and private key are, in spec.identity.x509")
    return [*found, *_claimed(device.device_id, device.owner, uids)]


def _claimed(device_id: str, owner: Owner | None, uids: Collection[str]) -> list[str]:
    """Who else says that it is theirs: an operator of another cluster will not let go."""
    if owner is None or owner.uid in uids:
        return []
    whose = f"EdgeDevice '{owner.namespace}/{owner.name}'"
    return [f"{device_id}: its twin says that it belongs to {whose}, which is not in this cluster"]
