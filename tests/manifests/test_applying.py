"""The manifests are applied by `kubectl apply`, with `--server-side` or without, in one order or the other, and again."""

import dataclasses
import pathlib

import pytest
from cluster_lab import CLIENT_SIDE, SERVER_SIDE, Cluster

from kustomize import Body, built, overlay

COMPONENTS = ("selectable-fields", "watch-secrets", "network-policy")
"""Of base; `pod-monitor` needs a kind that only the Prometheus operator brings."""


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """What is applied, and who comes first."""

    sentence: str
    resources: tuple[str, ...]
    components: tuple[str, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]


CASES = (
    Case("everything, client-side first", ("base",), COMPONENTS, CLIENT_SIDE, SERVER_SIDE),
    Case("everything, server-side first", ("base",), COMPONENTS, SERVER_SIDE, CLIENT_SIDE),
    Case("namespaced, client-side first", ("namespaced",), (), CLIENT_SIDE, SERVER_SIDE),
    Case("namespaced, server-side first", ("namespaced",), (), SERVER_SIDE, CLIENT_SIDE),
)


def objects(case: Case, folder: pathlib.Path) -> list[Body]:
    """What kubectl is to apply."""
    resources = [f"manifests/{name}" for name in case.resources]
    return built(overlay(folder, resources, [f"manifests/components/{name}" for name in case.components]))


def spoken(output: str) -> list[str]:
    """What kubectl says of objects that it does not call unchanged.

    kubectl cannot tell that a PodDisruptionBudget is: its patch replaces the selector as a whole, whatever it is.
    """
    lines = [line for line in output.splitlines() if not line.endswith((" unchanged", " serverside-applied"))]
    return [line for line in lines if not line.startswith("poddisruptionbudget.policy/")]


def settled(cluster: Cluster, bodies: list[Body]) -> list[tuple[str, int, object]]:
    """What a controller does not write: of each object the generation, and what was applied last."""
    found = cluster.objects("get", "-f", "-", send=bodies)
    return [
        (
            f"{body['kind']} {body['metadata']['name']}",
            body["metadata"].get("generation", 0),
            {key: value for key, value in body.items() if key not in {"metadata", "status"}},
        )
        for body in found
    ]


def check(cluster: Cluster, bodies: list[Body], case: Case) -> None:
    """Each way twice: nobody conflicts, nothing changes the second time, and there is no difference left."""
    try:
        for how in (case.first, case.second):
            cluster.kubectl(*how, "-f", "-", send=bodies)
            before = settled(cluster, bodies)
            assert spoken(cluster.kubectl(*how, "-f", "-", send=bodies)) == []
            assert cluster.kubectl("diff", *how[1:], "-f", "-", send=bodies) == ""
            assert settled(cluster, bodies) == before
    finally:
        cluster.remove(bodies)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_the_real_server_takes_them_either_way(real_cluster: Cluster, tmp_path: pathlib.Path, case: Case) -> None:
    """With the server's defaults, its ownership of fields, and its controllers, which write too."""
    check(real_cluster, objects(case, tmp_path), case)


@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case.sentence)
def test_the_simulator_takes_them_either_way(simulated_cluster: Cluster, tmp_path: pathlib.Path, case: Case) -> None:
    """But for the PriorityClass, a kind that it does not have."""
    bodies = [body for body in objects(case, tmp_path) if body["kind"] != "PriorityClass"]
    check(simulated_cluster, bodies, case)


def test_a_default_that_is_not_spelled_out_is_noticed(real_cluster: Cluster, tmp_path: pathlib.Path) -> None:
    """The test above can fail: without the apiVersion of a fieldRef the server refuses the second way."""
    bodies = objects(CASES[0], tmp_path)
    (deployment,) = [body for body in bodies if body["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for variable in container["env"]:
        variable.get("valueFrom", {}).get("fieldRef", {}).pop("apiVersion", None)
    with real_cluster.applied(bodies):
        done = real_cluster.run(*SERVER_SIDE, "-f", "-", send=bodies)
    assert done.returncode == 1
    assert b"Apply failed with" in done.stderr
    assert b"conflict" in done.stderr
