"""What a process of the operator is told from outside: environment variables, read once."""

import dataclasses
import ipaddress
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Self

from edgeherd.controller.workqueue import Capacity

_FROM_KUBELET = ("KUBERNETES_SERVICE_HOST", "POD_IPS", "NODE_IP")
"""The API server's address, the Pod's own and its node's. The first is in every Pod, and on AKS it is a name; the others come
from the downward API (manifests/base)."""

_NAMESPACE = re.compile("[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LONGEST_NAMESPACE = 63
"""Kubernetes: "Object Names and IDs", RFC 1123 label names."""

_NAMESPACE_FILE = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator's settings."""

    namespace: str
    """Where the Secrets of HubConnections are: the operator's own namespace."""
    kubeconfig: str | None
    """A kubeconfig file; None inside of a Pod."""
    watch_namespaces: tuple[str, ...]
    """The namespaces whose EdgeDevices are looked after; none are all. HubConnections belong to no namespace."""
    cluster_networks: tuple[str, ...]
    """The cluster's own networks, as far as they are known: no manifest leads there unless a HubConnection names them."""
    capacity: Capacity
    """Passes at once, and how namespaces share them."""
    log_level: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """From the variables that the README lists: EDGEHERD_* and KUBECONFIG.

        What the kubelet says of the cluster is read too: KUBERNETES_SERVICE_HOST, POD_IPS and NODE_IP.

        Raises:
            ValueError: a value cannot be used; the text names the variable.
        """
        level = environment.get("EDGEHERD_LOG_LEVEL", "INFO").upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError(f"EDGEHERD_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not '{level}'")
        return cls(
            namespace=environment.get("EDGEHERD_NAMESPACE") or _own_namespace(),
            kubeconfig=environment.get("KUBECONFIG") or None,
            watch_namespaces=_watch_namespaces(environment),
            cluster_networks=_cluster_networks(environment),
            capacity=_capacity(environment),
            log_level=level,
        )


def _watch_namespaces(environment: Mapping[str, str]) -> tuple[str, ...]:
    listed = _items(environment, "EDGEHERD_WATCH_NAMESPACES")
    for name in listed:
        if len(name) > _LONGEST_NAMESPACE or not _NAMESPACE.fullmatch(name):
            message = f"EDGEHERD_WATCH_NAMESPACES must list names of namespaces with commas between, not '{name}'"
            raise ValueError(message)
    return tuple(dict.fromkeys(listed))


def _cluster_networks(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The networks that the administrator lists, and the addresses that every Pod knows; names among them are left out."""
    listed = _items(environment, "EDGEHERD_CLUSTER_NETWORKS")
    for network in listed:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            message = f"EDGEHERD_CLUSTER_NETWORKS must list networks in CIDR form with commas between, not '{network}'"
            raise ValueError(message) from None
    own = [network for name in _FROM_KUBELET for item in _items(environment, name) for network in _of_address(item)]
    return tuple(dict.fromkeys([*listed, *own]))


def _items(environment: Mapping[str, str], name: str) -> list[str]:
    return [item.strip() for item in environment.get(name, "").split(",") if item.strip()]


def _of_address(text: str) -> list[str]:
    """The network that is this address alone; none for a name."""
    try:
        return [str(ipaddress.ip_network(text))]
    except ValueError:
        return []


def _capacity(environment: Mapping[str, str]) -> Capacity:
    """From EDGEHERD_WORKERS, EDGEHERD_RESERVED_WORKERS, EDGEHERD_SLOW_WORKERS and EDGEHERD_PASSES_PER_JUMP_HOST.

    Without a value of their own, a quarter of the workers is reserved, and a quarter as many are for slow devices.
    """
    workers = _number(environment, "EDGEHERD_WORKERS", Capacity().workers, least=1, most=512)
    return Capacity(
        workers=workers,
        reserved_workers=_number(environment, "EDGEHERD_RESERVED_WORKERS", workers // 4, least=0, most=workers - 1),
        slow_workers=_number(environment, "EDGEHERD_SLOW_WORKERS", max(1, workers // 4), least=1, most=512),
        per_jump_host=_number(
            environment, "EDGEHERD_PASSES_PER_JUMP_HOST", Capacity().per_jump_host, least=1, most=512
        ),
    )


def _number(environment: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise ValueError(f"{name} must be a number from {least} to {most}, not '{text}'")
    return int(text)


def _own_namespace() -> str:
    try:
        return _NAMESPACE_FILE.read_text().strip()
    except OSError:
        return "edgeherd-system"
