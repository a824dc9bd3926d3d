"""Objects of the cluster, for the tests of a reconcile: the usual ones, and what a test says of them."""

import dataclasses
from typing import Any

from edgeherd import resource
from edgeherd.hub.port import Identity
from edgeherd.model import EdgeDevice, HubConnection, IdentityStatus, Status

HOST = "contoso.azure-devices.net"
ID = "press-01"


def edge_device(*, uid: str = "u1", status: Status | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> EdgeDevice:  # fmt: skip
    """An EdgeDevice; `spec` goes over the usual one."""
    ssh = {"host": "h", "user": "u", "credentialsSecretRef": {"name": "ssh"}}
    body = {
        "metadata": {
            "name": ID,
            "namespace": "plant-a",
            "uid": uid,
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": annotations or {},
        },
        "spec": {"hubRef": {"name": "contoso"}, "ssh": ssh, **spec},
    }
    device = resource.edge_device(body)
    return dataclasses.replace(device, status=status or Status())


def connection(**spec: Any) -> HubConnection:
    """A HubConnection to the hub."""
    auth = {"connectionStringSecretRef": {"name": "hub"}}
    usual = {"hostName": HOST, "auth": auth, "allowedNamespaces": {"from": "All"}}
    return resource.hub_connection(
        {"metadata": {"name": "contoso", "uid": "h", "generation": 1}, "spec": {**usual, **spec}}
    )


def with_identity(status: Status, identity: Identity, origin: Any) -> Status:
    """The status after a pass that got this far."""
    said = IdentityStatus(
        hub_host_name=HOST,
        device_id=identity.device_id,
        generation_id=identity.generation_id,
        etag=identity.etag,
        origin=origin,
        status="Enabled" if identity.enabled else "Disabled",
    )
    return dataclasses.replace(status, identity=said)
