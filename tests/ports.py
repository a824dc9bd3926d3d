"""Which methods of the ports change something outside: all that are not listed here as reads."""

import inspect

from edgeherd.cluster.port import Cluster
from edgeherd.device.port import Session
from edgeherd.hub.port import Hub

READS: dict[type, frozenset[str]] = {
    Cluster: frozenset(
        {"edge_device", "edge_devices", "hub_connections", "hub_connection", "namespace_labels", "secret"}
        | {"secret_version", "secret_versions"}
    ),
    Hub: frozenset({"get", "twin", "agent_connected", "probe", "edge_devices"}),
    Session: frozenset({"observe"}),
}


def methods(port: type) -> set[str]:
    """All that can be asked."""
    return {name for name, _ in inspect.getmembers(port, inspect.isfunction) if not name.startswith("_")}


def writes(port: type) -> list[str]:
    """What must pass the fence: a new method does, until somebody lists it as a read."""
    return sorted(methods(port) - READS[port])
