"""The scene of the demo and of the e2e tests: namespaces, Secrets, and the samples pointed at the stand-ins."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from edgeherd_sim.demo.stage import Kubectl

OPERATOR_NAMESPACE = "edgeherd-system"
TEAM_NAMESPACE = "plant-a"
CRDS = ("edgedevices.edgeherd.io", "hubconnections.edgeherd.io")

Device = Mapping[str, Any]
"""One device as `edgeherd sim devices --output json` lists it: name, host, port, user, hostKey, root."""


def repository() -> pathlib.Path:
    """The clone that this runs from: the CRDs and manifests are there.

    Raises:
        FileNotFoundError: this is not a clone.
    """
    root = pathlib.Path(__file__).resolve().parents[3]
    if not (root / "crds" / "kustomization.yaml").is_file():
        raise FileNotFoundError("The demo needs a clone of the repository: it applies the manifests that are there.")
    return root


def operator_environment(
    kubeconfig: pathlib.Path, hub: Mapping[str, Any], *, namespace: str = OPERATOR_NAMESPACE
) -> dict[str, str]:
    """What the operator is told: the cluster, its namespace, and the authority of the hub's certificate."""
    return {
        "KUBECONFIG": str(kubeconfig),
        "EDGEHERD_NAMESPACE": namespace,
        "REQUESTS_CA_BUNDLE": str(hub["caFile"]),
    }


async def install(kubectl: Kubectl) -> None:
    """Install the CRDs, and wait until the API server serves them."""
    await kubectl("apply", "-k", str(repository() / "crds"))
    await kubectl("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{name}" for name in CRDS))


async def put_hub_secret(
    kubectl: Kubectl, folder: pathlib.Path, connection_string: str, *, namespace: str, name: str
) -> None:
    """The administrator's Secret with the hub's policy. The connection string goes through a file: arguments show in `ps`."""
    await create_secret(kubectl, folder, (namespace, name), "Opaque", {"connectionString": connection_string})


async def put_ssh_secret(
    kubectl: Kubectl, folder: pathlib.Path, private_key: bytes, *, namespace: str, name: str
) -> None:
    """The team's Secret with the SSH login of its devices."""
    data = {"ssh-privatekey": private_key.decode()}
    await create_secret(kubectl, folder, (namespace, name), "kubernetes.io/ssh-auth", data)


async def create_secret(
    kubectl: Kubectl, folder: pathlib.Path, where: tuple[str, str], kind: str, data: Mapping[str, str]
) -> None:
    """Create a Secret, `where` being its namespace and name, through files that are gone afterwards."""
    namespace, name = where
    files = []
    for key, value in data.items():
        file = folder / f"{namespace}.{name}.{key}"
        file.touch(mode=0o600)
        file.write_text(value)
        files.append((key, file))
    try:
        arguments = [f"--from-file={key}={file}" for key, file in files]
        await kubectl("-n", namespace, "create", "secret", "generic", name, f"--type={kind}", *arguments)
    finally:
        for _, file in files:
            file.unlink()


def write_samples(folder: pathlib.Path, hub: Mapping[str, Any], devices: Sequence[Device]) -> pathlib.Path:
    """A kustomization of `manifests/samples` with the addresses of the stand-ins, for `kubectl apply -k`."""
    target = folder / "samples"
    target.mkdir(exist_ok=True)
    hub_patch = [
        {"op": "replace", "path": "/spec/hostName", "value": hub["hostName"]},
        {"op": "add", "path": "/spec/port", "value": hub["port"]},
        # The simulated devices are on loopback, which is refused unless it is named.
        {"op": "add", "path": "/spec/allowedCIDRs", "value": ["127.0.0.0/8"]},
    ]
    patches = [{"target": {"kind": "HubConnection", "name": "contoso"}, "patch": json.dumps(hub_patch)}]
    for device in devices:
        ssh = [
            {"op": "replace", "path": "/spec/ssh/host", "value": device["host"]},
            {"op": "add", "path": "/spec/ssh/port", "value": device["port"]},
            {"op": "replace", "path": "/spec/ssh/hostKeys", "value": [device["hostKey"]]},
        ]
        patches.append({"target": {"kind": "EdgeDevice", "name": device["name"]}, "patch": json.dumps(ssh)})
    samples = os.path.relpath(repository() / "manifests" / "samples", target.resolve())
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [samples],
        "patches": patches,
    }
    (target / "kustomization.yaml").write_text(json.dumps(kustomization, indent=2))
    return target
