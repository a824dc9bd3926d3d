"""What every API server has from the start."""

from edgeherd_sim.kube.api import Address, Api, Options

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def seed(api: Api) -> None:
    """Create the standard namespaces."""
    kind = api.kinds.built_in("", "namespaces")
    for name in _NAMESPACES:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        api.create(Address(kind=kind), body, Options(manager="kube-apiserver"))
