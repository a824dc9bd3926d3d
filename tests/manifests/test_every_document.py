"""Every document below `manifests/` is one that an API server takes, with no field that it does not know."""

import pathlib

import pytest
from cluster_lab import Cluster

from kustomize import ROOT, Body, built, of_kind, overlay

MANIFESTS = ROOT / "manifests"
FOLDERS = sorted(str(path.parent.relative_to(ROOT)) for path in MANIFESTS.rglob("kustomization.yaml"))
COMPONENT_OF = {"manifests/components/watch-secrets-namespaced": "manifests/namespaced/watched-namespace"}
"""What a component belongs to, where that is not base."""
NOT_BUILT_IN = {"manifests/components/pod-monitor"}
"""Those whose kind no API server knows by itself."""


def documents(folder: str, scratch: pathlib.Path) -> list[Body]:
    """What a folder builds; of a component, with what it belongs to."""
    if "/components/" not in folder:
        return built(folder)
    return built(overlay(scratch, [COMPONENT_OF.get(folder, "manifests/base")], [folder]))


def test_no_document_is_left_out(tmp_path: pathlib.Path) -> None:
    """Each YAML file is in a kustomization, which is built below."""
    files = {path for path in MANIFESTS.rglob("*.yaml") if path.name != "kustomization.yaml"}
    said = {
        path.parent / line.strip().removeprefix("- ")
        for path in MANIFESTS.rglob("kustomization.yaml")
        for line in path.read_text().splitlines()
        if line.strip().endswith(".yaml")
    }
    assert files == said
    assert len(FOLDERS) == len({folder for folder in FOLDERS if documents(folder, tmp_path / folder)})


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_simulator_takes_every_document(simulated_cluster: Cluster, tmp_path: pathlib.Path, folder: str) -> None:
    """But for kinds that it does not have."""
    bodies = [body for body in documents(folder, tmp_path) if body["kind"] not in {"PriorityClass", "PodMonitor"}]
    check(simulated_cluster, bodies)


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder not in NOT_BUILT_IN])
def test_the_real_server_takes_every_document(real_cluster: Cluster, tmp_path: pathlib.Path, folder: str) -> None:
    """With admission, and with the rules of the CRDs."""
    check(real_cluster, documents(folder, tmp_path))


def test_an_unknown_field_is_refused(real_cluster: Cluster) -> None:
    """The test above can fail."""
    (account,) = of_kind(built("manifests/base"), "ServiceAccount")
    done = real_cluster.run(
        *_DRY_RUN, "-n", "default", send=[{**account, "metadata": {"name": "x"}, "automount": True}]
    )
    assert done.returncode == 1
    assert b'unknown field "automount"' in done.stderr


_DRY_RUN = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")


def check(cluster: Cluster, bodies: list[Body]) -> None:
    """A dry run on the server. Namespaces are there already: in a dry run nothing can be put into one that is not."""
    if any(body["apiVersion"].startswith("edgeherd.io/") for body in bodies):
        cluster.kubectl("apply", "-f", "-", send=built("crds"))
    wanted = {body["metadata"]["name"] for body in of_kind(bodies, "Namespace")}
    wanted |= {body["metadata"].get("namespace", "default") for body in bodies}
    for name in wanted - {"default"}:
        cluster.run("create", "namespace", name)
    said = cluster.kubectl(*_DRY_RUN, send=bodies)
    assert len(said.splitlines()) == len(bodies)
