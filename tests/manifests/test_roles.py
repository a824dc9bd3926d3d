"""What the roles in the manifests grant, right by right. What a server makes of them is in `test_rights.py`."""

import pathlib

import pytest

from kustomize import Body, built, of_kind, overlay
from rights import granted

HUBS = {
    *(f"{verb} edgeherd.io/hubconnections" for verb in ("get", "list", "watch", "patch")),
    "patch edgeherd.io/hubconnections/status",
}
"""The operator's rights on what belongs to no namespace."""

DEVICES = {
    *(f"{verb} edgeherd.io/edgedevices" for verb in ("get", "list", "watch", "patch")),
    "patch edgeherd.io/edgedevices/status",
    "update edgeherd.io/edgedevices/finalizers",
    *(f"{verb} secrets" for verb in ("get", "create", "patch", "delete")),
    "get namespaces",
    "create events",
    "patch events",
}
"""Those in a namespace with EdgeDevices."""


def role(bodies: list[Body], kind: str, name: str) -> set[str]:
    """What a role grants."""
    (found,) = [body for body in of_kind(bodies, kind) if body["metadata"]["name"] == name]
    return granted([found])


def test_both_modes_grant_the_same_rights() -> None:
    """One ClusterRole has the rights everywhere; or a Role in each watched namespace, and a ClusterRole for the hubs."""
    namespaced = built("manifests/namespaced")
    everywhere = role(built("manifests/base"), "ClusterRole", "edgeherd")
    watched = role(built("manifests/namespaced/watched-namespace"), "Role", "edgeherd")
    hubs = role(namespaced, "ClusterRole", "edgeherd-hubconnections")
    assert (watched, hubs, everywhere) == (DEVICES, HUBS, DEVICES | HUBS)
    assert role(namespaced, "Role", "edgeherd-hub-secrets") | role(namespaced, "Role", "edgeherd-hub-events") < DEVICES


def test_the_operator_may_not_list_or_watch_secrets() -> None:
    """Its rights name verbs and resources one by one, and a stolen token cannot read all Secrets in one request."""
    bodies = built("manifests/base") + built("manifests/namespaced") + built("manifests/namespaced/watched-namespace")
    rights = granted(bodies)
    assert rights & {"list secrets", "watch secrets", "deletecollection secrets"} == set()
    assert [right for right in rights if "*" in right] == []


def test_no_namespace_but_the_named_ones_is_open_in_namespaced_mode() -> None:
    """Of the operator's roles only that for the hubs is bound everywhere."""
    bodies = built("manifests/namespaced")
    assert [body["roleRef"]["name"] for body in of_kind(bodies, "ClusterRoleBinding")] == ["edgeherd-hubconnections"]
    where = {body["metadata"]["name"]: body["metadata"]["namespace"] for body in of_kind(bodies, "RoleBinding")}
    assert where.items() >= {"edgeherd-hub-events": "default", "edgeherd-hub-secrets": "edgeherd-system"}.items()
    assert set(where.values()) == {"default", "edgeherd-system"}
    (deployment,) = of_kind(bodies, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "EDGEHERD_WATCH_NAMESPACES", "value": "plant-a"} in container["env"]


@pytest.mark.parametrize(
    ("name", "aggregated", "verbs"),
    [
        ("edgeherd-view", ("admin", "edit", "view"), ("get", "list", "watch")),
        ("edgeherd-edit", ("admin", "edit"), ("create", "delete", "deletecollection", "patch", "update")),
    ],
)
def test_teams_roles_are_added_to_those_of_the_cluster(name: str, aggregated: tuple[str], verbs: tuple[str]) -> None:
    """EdgeDevices and nothing else: no status, no hub."""
    bodies = built("manifests/base")
    assert role(bodies, "ClusterRole", name) == {f"{verb} edgeherd.io/edgedevices" for verb in verbs}
    (found,) = [body for body in of_kind(bodies, "ClusterRole") if body["metadata"]["name"] == name]
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    labels = {key: value for key, value in found["metadata"]["labels"].items() if key.startswith(prefix)}
    assert labels == {f"{prefix}{role}": "true" for role in aggregated}


def test_who_writes_hubs_is_the_administrator_s_decision() -> None:
    """The role is there to be bound, and in no other one."""
    bodies = built("manifests/base")
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
    assert role(bodies, "ClusterRole", "edgeherd-hubconnection-admin") == {
        f"{verb} edgeherd.io/hubconnections" for verb in verbs
    }
    (found,) = [body for body in of_kind(bodies, "ClusterRole") if "hubconnection-admin" in body["metadata"]["name"]]
    assert [label for label in found["metadata"]["labels"] if "aggregate" in label] == []


@pytest.mark.parametrize(
    ("base", "component"),
    [
        ("manifests/base", "manifests/components/watch-secrets"),
        ("manifests/namespaced/watched-namespace", "manifests/components/watch-secrets-namespaced"),
    ],
)
def test_watching_secrets_is_a_component(tmp_path: pathlib.Path, base: str, component: str) -> None:
    """It adds one right, for the operator's account."""
    bodies = built(overlay(tmp_path, [base], [component]))
    assert granted(bodies) - granted(built(base)) == {"list secrets"}
    subjects = {str(body["subjects"]) for body in bodies if body["kind"].endswith("Binding")}
    assert subjects == {str([{"kind": "ServiceAccount", "name": "edgeherd", "namespace": "edgeherd-system"}])}
