"""Passes over a HubConnection: what is said of it."""

import pytest
from memory_lab import HOST, NAMESPACE, Time, connection

from edgeherd.model import Condition, Key
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.hub_connection import HubConnectionReconciler
from edgeherd_sim.memory import MemoryCluster, MemoryHubClient

READY = ("Ready", "True", "Ready", "The hub accepts the credential.")
AMBIGUOUS = (
    "DeviceIdPatternAmbiguous",
    "True",
    "SeparatorInNamespaceNames",
    (
        "With '{namespace}-*' two namespaces may claim one device id, because names of namespaces hold letters, digits and "
        "'-': 'plant' may take 'plant-a-press' from 'plant-a'. Put another character beside '{namespace}', as in "
        "'{namespace}.*'."
    ),
)


async def told(cluster: MemoryCluster) -> list[tuple[str, str, str, str]]:
    """What a pass says of the HubConnection."""
    hubs = HubClients(cluster, namespace=NAMESPACE, factory=lambda _, __: MemoryHubClient())
    await HubConnectionReconciler(cluster=cluster, hubs=hubs, clock=Time().clock).reconcile(
        Key("HubConnection", "", "contoso")
    )
    return [_words(condition) for condition in cluster.hubs["contoso"].conditions]


def _words(condition: Condition) -> tuple[str, str, str, str]:
    return condition.type, condition.status, condition.reason, condition.message


@pytest.fixture
def cluster() -> MemoryCluster:
    """With the administrator's Secret."""
    cluster = MemoryCluster()
    policy = f"HostName={HOST};SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0"
    cluster.put_secret(NAMESPACE, "hub", {"connectionString": policy.encode()})
    return cluster


async def test_a_pattern_that_lets_two_namespaces_claim_one_id_is_warned_about(cluster: MemoryCluster) -> None:
    """As long as it is so; the hub is no less ready for it."""
    cluster.put_hub(connection(deviceIdPattern="{namespace}-*"))
    assert await told(cluster) == [READY, AMBIGUOUS]
    cluster.put_hub(connection(deviceIdPattern="{namespace}.*"))
    assert await told(cluster) == [READY]


async def test_it_is_said_of_a_hub_that_cannot_be_used_too(cluster: MemoryCluster) -> None:
    """After what keeps it from being used."""
    cluster.put_hub(connection(deviceIdPattern="{namespace}-*"))
    cluster.delete_secret(NAMESPACE, "hub")
    assert [(type_, reason) for type_, _, reason, _ in await told(cluster)] == [
        ("Ready", "HubSecretNotFound"),
        ("Reconciling", "ProgressingWithRetry"),
        ("DeviceIdPatternAmbiguous", "SeparatorInNamespaceNames"),
    ]
