"""What a user applies: it builds, belongs together, and asks of a cluster no more than Kubernetes 1.29 has."""

import re
from collections.abc import Iterator

import pytest

from edgeherd.cluster.lease import LEASE_NAME
from kustomize import Body, built, of_kind

NEWER_THAN_1_29 = re.compile(r"\b(isIP|ip|isCIDR|cidr|isURL|quantity|format|sets)\(|\.(format|isSorted)\(")
"""CEL functions that 1.29 lacks (isIP and cidr: 1.30), or that no rule of ours has a reason to use."""


def nodes(schema: Body, path: str = "") -> Iterator[tuple[str, Body]]:
    """Every schema below (and with) a schema, by its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


CRDS = {body["spec"]["names"]["kind"]: body for body in of_kind(built("crds"), "CustomResourceDefinition")}
SCHEMAS = [
    pytest.param(path, node, id=f"{kind}{path}")
    for kind, crd in CRDS.items()
    for path, node in nodes(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    if path != ".metadata"
]


@pytest.mark.parametrize(("path", "schema"), SCHEMAS)
def test_every_field_is_described_and_bounded(path: str, schema: Body) -> None:
    """A text has a length, a list and a map a size, a number a range; and all say what they are for."""
    assert schema.get("description", "") or not path
    match schema["type"]:
        case "string":
            assert "maxLength" in schema
        case "array":
            assert "maxItems" in schema
        case "integer":
            assert {"minimum", "maximum"} <= set(schema)
        case "object" if "additionalProperties" in schema:
            assert "maxProperties" in schema


@pytest.mark.parametrize(("path", "schema"), SCHEMAS)
def test_rules_use_what_kubernetes_1_29_has(path: str, schema: Body) -> None:
    """An older API server refuses a whole CRD for one function that it does not know."""
    del path
    rules = [rule["rule"] for rule in schema.get("x-kubernetes-validations", [])]
    assert [rule for rule in rules if NEWER_THAN_1_29.search(rule)] == []


@pytest.mark.parametrize("kind", CRDS)
def test_crds_have_no_field_that_kubernetes_1_29_lacks(kind: str) -> None:
    """Kubectl refuses a CRD with an unknown field, so selectable fields are a component of their own."""
    assert set(CRDS[kind]["spec"]["versions"][0]) == {
        "name",
        "served",
        "storage",
        "schema",
        "subresources",
        "additionalPrinterColumns",
    }


def names(bodies: list[Body]) -> list[str]:
    """What is there, as `kubectl get` names it."""
    return sorted(f"{body['kind']} {body['metadata']['name']}" for body in bodies)


def test_the_base_installs_everything_under_one_name() -> None:
    """CRDs, namespace, account, rights and Deployment; the Deployment runs as the account that has the rights."""
    bodies = built("manifests/base")
    assert names(bodies) == [
        "ClusterRole edgeherd",
        "ClusterRole edgeherd-edit",
        "ClusterRole edgeherd-hubconnection-admin",
        "ClusterRole edgeherd-view",
        "ClusterRoleBinding edgeherd",
        "CustomResourceDefinition edgedevices.edgeherd.io",
        "CustomResourceDefinition hubconnections.edgeherd.io",
        "Deployment edgeherd",
        "Namespace edgeherd-system",
        "PodDisruptionBudget edgeherd",
        "PriorityClass edgeherd",
        "Role edgeherd-leader-election",
        "RoleBinding edgeherd-leader-election",
        "Service edgeherd-metrics",
        "ServiceAccount edgeherd",
    ]
    (deployment,), (binding,) = of_kind(bodies, "Deployment"), of_kind(bodies, "ClusterRoleBinding")
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "edgeherd-system"}]


def test_the_operator_is_told_its_own_addresses() -> None:
    """So that no manifest leads to them (`settings.py`)."""
    (deployment,) = of_kind(built("manifests/base"), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = [each for each in container["env"] if "valueFrom" in each]
    found = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in told}
    assert found == {
        "EDGEHERD_NAMESPACE": "metadata.namespace",
        "POD_IPS": "status.podIPs",
        "NODE_IP": "status.hostIP",
    }


def test_more_than_one_pod_elects_a_leader_on_the_lease_that_it_may_write() -> None:
    """Two that do not would both write."""
    bodies = built("manifests/base")
    (deployment,), (role,), (binding,) = (of_kind(bodies, kind) for kind in ("Deployment", "Role", "RoleBinding"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found = {each["name"]: each.get("value") for each in container["env"]}
    assert (deployment["spec"]["replicas"], found["EDGEHERD_LEADER_ELECTION"]) == (2, "true")
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    assert role["rules"] == [
        {**leases, "verbs": ["create"]},
        {**leases, "resourceNames": [LEASE_NAME], "verbs": ["get", "update"]},
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "edgeherd", "namespace": "edgeherd-system"}]
    assert {body["metadata"]["namespace"] for body in (role, binding)} == {"edgeherd-system"}


def test_the_component_adds_selectable_fields_and_nothing_else() -> None:
    """For API servers that know them."""
    with_fields = {body["metadata"]["name"]: body for body in built("tests/sim_kube/crds")}
    versions = with_fields["edgedevices.edgeherd.io"]["spec"]["versions"]
    assert versions[0].pop("selectableFields") == [{"jsonPath": ".spec.hubRef.name"}, {"jsonPath": ".spec.ssh.host"}]
    assert list(with_fields.values()) == list(CRDS.values())


def test_the_samples_name_only_what_is_there() -> None:
    """Every EdgeDevice of the samples names the sample's HubConnection."""
    bodies = built("manifests/samples")
    hubs = {body["metadata"]["name"] for body in of_kind(bodies, "HubConnection")}
    devices = of_kind(bodies, "EdgeDevice")
    assert {body["spec"]["hubRef"]["name"] for body in devices} == hubs
