"""The scene of the demo and of the e2e tests: namespaces, Secrets, and the samples pointed at the stand-ins."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from edgeherd.demo.stage import Kubectl

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


def operator_environment(kubeconfig: pathlib.Path, hub: Mapping[str, Any]) -> dict[str, str]:
    """What the operator is told: the cluster, its namespace, and the authority of the hub's certificate."""
    return {
        "KUBECONFIG": str(kubeconfig),
        "EDGEHERD_NAMESPACE": OPERATOR_NAMESPACE,
        "REQUESTS_CA_BUNDLE": str(hub["caFile"]),
    }


async def install(kubectl: Kubectl) -> None:
    """Install the CRDs, and wait until the API server serves them."""
    await kubectl("apply", "-k", str(repository() / "crds"))
    await kubectl("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{name}" for name in CRDS))


async def put_hub_secret(kubectl: Kubectl, name: str, connection_string: str, folder: pathlib.Path) -> None:
    """The administrator's Secret. The connection string goes through a file: arguments show in `ps`."""
    await _create_secret(kubectl, OPERATOR_NAMESPACE, name, "Opaque", {"connectionString": connection_string}, folder)


async def put_ssh_secret(kubectl: Kubectl, namespace: str, name: str, private_key: str, folder: pathlib.Path) -> None:
    """The team's Secret with the SSH login of its devices."""
    await _create_secret(kubectl, namespace, name, "kubernetes.io/ssh-auth", {"ssh-privatekey": private_key}, folder)


async def _create_secret(
    kubectl: Kubectl, namespace: str, name: str, kind: str, data: Mapping[str, str], folder: pathlib.Path
) -> None:
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
