"""What the operator is told from outside."""

import pytest

from edgeherd.settings import Settings

KUBELET = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "POD_IPS": "10.244.1.7,fd00::7", "NODE_IP": "192.168.0.4"}
OWN = ("10.96.0.1/32", "10.244.1.7/32", "fd00::7/128", "192.168.0.4/32")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({}, (), id="nothing is known outside of a cluster"),
        pytest.param(KUBELET, OWN, id="what every Pod knows"),
        pytest.param(
            {"KUBERNETES_SERVICE_HOST": "contoso-dns-1.hcp.westeurope.azmk8s.io"}, (), id="an API server by its name"
        ),
        pytest.param(
            {"EDGEHERD_CLUSTER_NETWORKS": "10.96.0.0/12, fd00:10:96::/108,"},
            ("10.96.0.0/12", "fd00:10:96::/108"),
            id="what the administrator lists",
        ),
        pytest.param(
            {**KUBELET, "EDGEHERD_CLUSTER_NETWORKS": "10.96.0.0/12,10.96.0.1/32"},
            ("10.96.0.0/12", *OWN),
            id="both, each once",
        ),
    ],
)
def test_the_clusters_networks(environment: dict[str, str], expected: tuple[str, ...]) -> None:
    """No manifest leads there unless a HubConnection names them."""
    assert set(Settings.from_environment(environment).cluster_networks) == set(expected)


@pytest.mark.parametrize("value", ["10.96.0.0/33", "10.96.0.1/12", "cluster.local", "10.96.0.0/12 fd00::/8"])
def test_a_network_that_is_none(value: str) -> None:
    """The text names the variable, so that a typing error does not open the cluster."""
    with pytest.raises(ValueError, match="EDGEHERD_CLUSTER_NETWORKS must list networks in CIDR form"):
        Settings.from_environment({"EDGEHERD_CLUSTER_NETWORKS": value})
