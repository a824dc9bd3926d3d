"""The smallest EdgeDevice and HubConnection, as the API server has them."""

import copy
from typing import Any

from edgeherd import resource
from edgeherd.model import EdgeDevice, HubConnection

Body = dict[str, Any]

_DEVICE: Body = {
    "metadata": {
        "name": "press-01",
        "namespace": "plant-a",
        "uid": "u1",
        "generation": 1,
        "resourceVersion": "5",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"hubRef": {"name": "contoso"}, "ssh": {"host": "h", "user": "u", "credentialsSecretRef": {"name": "s"}}},
}
_HUB: Body = {
    "metadata": {"name": "contoso", "uid": "h1", "generation": 1, "resourceVersion": "7"},
    "spec": {"hostName": "h", "auth": {}, "allowedNamespaces": {"from": "All"}},
}


def edge_device(**metadata: Any) -> EdgeDevice:
    """EdgeDevice plant-a/press-01, with other metadata."""
    return resource.edge_device(_with(_DEVICE, metadata))


def hub_connection(**metadata: Any) -> HubConnection:
    """HubConnection contoso, with other metadata."""
    return resource.hub_connection(_with(_HUB, metadata))


def _with(body: Body, metadata: Body) -> Body:
    made = copy.deepcopy(body)
    made["metadata"] |= metadata
    return made
