"""The operator's Pods come to be where Pod Security is `restricted`, and have what they need."""

import copy
from collections.abc import Callable

import pytest
from cluster_lab import Cluster

import waiting
import yaml_files
from kustomize import ROOT, Body, built, of_kind

BASE = built("manifests/base")
(DEPLOYMENT,) = of_kind(BASE, "Deployment")
(CONTAINER,) = DEPLOYMENT["spec"]["template"]["spec"]["containers"]


def pod(change: Callable[[Body], object]) -> Body:
    """A Pod as the Deployment's, but for one thing."""
    template = copy.deepcopy(DEPLOYMENT["spec"]["template"])
    change(template["spec"])
    metadata = {**template["metadata"], "name": "judged", "namespace": "edgeherd-system"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_pods_are_created_in_the_restricted_namespace(real_cluster: Cluster) -> None:
    """By the controllers of a real cluster; a Pod that asks for more is refused there, so the namespace does judge."""
    with real_cluster.applied(BASE):
        wanted = DEPLOYMENT["spec"]["replicas"]
        waiting.wait_until(lambda: len(real_cluster.objects("-n", "edgeherd-system", "get", "pods")) == wanted)
        found = real_cluster.objects("-n", "edgeherd-system", "get", "pods")
        assert {one["spec"]["priority"] for one in found} == {1_000_000}
        dry_run = ("create", "--dry-run=server", "-f", "-")
        assert "pod/judged created" in real_cluster.kubectl(*dry_run, send=[pod(lambda spec: spec)])
        refused = real_cluster.run(*dry_run, send=[pod(lambda spec: spec.update(hostNetwork=True))])
        assert b'violates PodSecurity "restricted' in refused.stderr


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_ask_a_port_that_is_there(probe: str) -> None:
    """Ports are known by name, here, in the Service, and in the PodMonitor."""
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert ports == {"metrics": 8080, "probes": 8081}
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert CONTAINER[probe]["httpGet"] == {"path": paths[probe], "port": "probes"}


def test_whatever_chooses_the_pods_chooses_them() -> None:
    """The selectors of the budget, the Service, the network policy and the monitor fit the Pod's labels."""
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        *(
            one["labelSelector"]["matchLabels"]
            for one in DEPLOYMENT["spec"]["template"]["spec"]["topologySpreadConstraints"]
        ),
        *(body["spec"]["selector"]["matchLabels"] for body in of_kind(BASE, "PodDisruptionBudget")),
        *(body["spec"]["selector"] for body in of_kind(BASE, "Service")),
    ]
    for name in ("network-policy/networkpolicy", "pod-monitor/podmonitor"):
        (body,) = components(name)
        selectors.append((body["spec"].get("podSelector") or body["spec"]["selector"])["matchLabels"])
    assert len(selectors) == 6
    assert [selector for selector in selectors if not (selector and selector.items() <= labels)] == []


def components(name: str) -> list[Body]:
    """The objects that a component adds."""
    return yaml_files.documents((ROOT / "manifests/components" / f"{name}.yaml").read_bytes())


def test_the_network_policy_lets_probes_and_metrics_in_and_the_operator_out() -> None:
    """Names, the API server and the hub, and devices; the clouds' metadata addresses are shut out."""
    (policy,) = components("network-policy/networkpolicy")
    incoming = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
    assert incoming == [port["containerPort"] for port in CONTAINER["ports"]]
    outgoing = [[port["port"] for port in rule["ports"]] for rule in policy["spec"]["egress"]]
    assert outgoing == [[53, 53], [443, 6443], [22]]
    blocks = [to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule.get("to", [])]
    assert {tuple(block["except"]) for block in blocks} == {("169.254.0.0/16",), ("fe80::/10", "fd00:ec2::/32")}
