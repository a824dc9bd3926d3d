"""HubConnections: which device may use which hub, and one client for each credential."""

import dataclasses
import itertools
from typing import Any

import pytest
from memory_lab import HOST, connection, edge_device

from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.hub.credential import HubCredential, WorkloadIdentity
from edgeherd.model import HubConnection
from edgeherd.reconcile.hub_clients import HubClients, HubCredentials, id_matches, is_ambiguous, matches
from edgeherd_sim.memory import MemoryCluster, MemoryHubClient

KEYS = ("b25lIG9uZSBvbmUgb25l", "dHdvIHR3byB0d28gdHdv")


def policy(key: str, host: str = HOST) -> str:
    """A policy's connection string."""
    return f"HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey={key}"


def cluster_of(hub: HubConnection | None, secret: str | None, *, key: str = "connectionString") -> MemoryCluster:
    """A cluster with this HubConnection, and the administrator's Secret with this in it."""
    cluster = MemoryCluster()
    if hub is not None:
        cluster.put_hub(hub)
    if secret is not None:
        cluster.put_secret("edgeherd-system", "hub", {key: secret.encode()})
    return cluster


@dataclasses.dataclass
class Made:
    """A client that the factory made, and from which credential."""

    login: HubCredentials
    client: MemoryHubClient


def opened(cluster: MemoryCluster) -> tuple[HubClients, list[Made]]:
    """HubClients over that cluster, and the clients that they make."""
    made: list[Made] = []

    def factory(hub: HubConnection, login: HubCredentials) -> MemoryHubClient:
        del hub
        made.append(Made(login, MemoryHubClient()))
        return made[-1].client

    return HubClients(cluster, namespace="edgeherd-system", factory=factory), made


async def test_a_rotated_secret_is_picked_up_at_the_next_use() -> None:
    """One client for a credential; the old one is closed."""
    cluster = cluster_of(connection(), policy(KEYS[0]))
    hubs, made = opened(cluster)
    for _ in range(3):
        await hubs.for_device(edge_device())
    assert len(made) == 1
    cluster.put_secret("edgeherd-system", "hub", {"connectionString": policy(KEYS[1]).encode()})
    await hubs.for_device(edge_device())
    keys = [each.login.key for each in made if isinstance(each.login, HubCredential)]
    assert (keys, [each.client.closed for each in made]) == (list(KEYS), [True, False])


async def test_what_is_left_of_the_hubs_that_are_in_use() -> None:
    """Of the client that is in use now; of none after the end of the HubConnection."""
    cluster = cluster_of(connection(), policy(KEYS[0]))
    hubs, made = opened(cluster)
    found = [hubs.budgets]
    await hubs.for_device(edge_device())
    made[0].client.remaining = 7
    found.append(hubs.budgets)
    hubs.forget("contoso")
    found.append(hubs.budgets)
    assert found == [{}, {"contoso": 7}, {}]


async def test_a_workload_identity_needs_no_secret() -> None:
    """What is left out comes from the Pod's environment."""
    client_id = "00000000-0000-0000-0000-000000000001"
    hub = connection(auth={"workloadIdentity": {"clientId": client_id}})
    hubs, made = opened(cluster_of(hub, None))
    await hubs.for_device(edge_device())
    assert [each.login for each in made] == [WorkloadIdentity(host_name=HOST, client_id=client_id, tenant_id=None)]


SELECTOR = {"from": "Selector", "selector": {"matchLabels": {"plant": "a"}}}


@pytest.mark.parametrize(
    ("cluster", "kind", "reason"),
    [
        (cluster_of(None, None), Waiting, "HubNotFound"),
        (cluster_of(connection(), None), Waiting, "HubSecretNotFound"),
        (cluster_of(connection(), "x", key="other"), Stalled, "HubSecretInvalid"),
        (cluster_of(connection(), "HostName=x"), Stalled, "HubSecretInvalid"),
        (cluster_of(connection(), policy(KEYS[0], "other.azure-devices.net")), Stalled, "HubSecretInvalid"),
        (cluster_of(connection(allowedNamespaces=SELECTOR), policy(KEYS[0])), Stalled, "HubNotAllowed"),
        (cluster_of(connection(deviceIdPattern="other-*"), policy(KEYS[0])), Stalled, "DeviceIdNotAllowed"),
    ],
    ids=[
        "no HubConnection",
        "no Secret",
        "a Secret without the key",
        "no connection string",
        "a Secret for another hub",
        "another namespace",
        "another device id",
    ],
)
async def test_a_hub_that_cannot_be_used(cluster: MemoryCluster, kind: type[ReconcileError], reason: str) -> None:
    """It is said what is wrong, and no client is made."""
    hubs, made = opened(cluster)
    with pytest.raises(kind) as caught:
        await hubs.for_device(edge_device())
    assert (caught.value.reason, made) == (reason, [])
    assert KEYS[0] not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "device_id", "expected"),
    [
        ("*", "anything", True),
        ("{namespace}-*", "plant-a-press", True),
        ("{namespace}-*", "plant-b-press", False),
        ("press-*", "Press-1", False),
        ("a.c", "abc", False),
        ("a*c", "a\nc", False),
        ("press", "press-01", False),
    ],
)
def test_patterns_of_device_ids(pattern: str, device_id: str, expected: bool) -> None:
    """Only '*' and '{namespace}' are special, and the whole id counts."""
    assert id_matches(pattern, device_id, "plant-a") is expected


NAMESPACES = ("a", "b", "x", "x-a", "a-x", "a-b", "b-a", "a-a", "aa", "ax")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{namespace}-*", True),
        ("{namespace}*", True),
        ("*-{namespace}", True),
        ("*{namespace}", True),
        ("*.{namespace}.*", True),
        ("x-{namespace}-*", True),
        ("{namespace}x*", True),
        ("{namespace}-{namespace}-*", True),
        ("*-{namespace}-x", True),
        ("{namespace}.*", False),
        ("{namespace}:*", False),
        ("{namespace}X*", False),
        ("{namespace}-x.*", False),
        ("{namespace}.{namespace}*", False),
        ("x-{namespace}.*", False),
        ("x-{namespace}.*-*", False),
        ("*.{namespace}", False),
        ("*.x-{namespace}", False),
        ("*-*.{namespace}-x", False),
        ("{namespace}", False),
        ("{namespace}-x-{namespace}", False),
    ],
)
def test_patterns_that_let_two_namespaces_claim_one_id(pattern: str, expected: bool) -> None:
    """Where it is said, two do; where it is not, no two of many do."""
    ids = {
        pattern.replace("{namespace}", name).replace("*", "".join(filler))
        for name in NAMESPACES
        for filler in itertools.product((*NAMESPACES, "-", ".", ":", "X"), repeat=2)
    }
    shared = [each for each in ids if sum(id_matches(pattern, each, name) for name in NAMESPACES) > 1]
    assert (is_ambiguous(pattern), bool(shared)) == (expected, expected)


def test_a_pattern_without_a_namespace_ties_nothing() -> None:
    """So there is nothing to be said of it."""
    assert not any(is_ambiguous(pattern) for pattern in ("*", "press-*", "press"))


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"plant": "a"}}, True),
        ({"matchLabels": {"plant": "b"}}, False),
        ({"matchExpressions": [{"key": "plant", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "plant", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "other", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "plant", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "plant", "operator": "DoesNotExist"}]}, False),
    ],
    ids=str,
)
def test_label_selectors(selector: dict[str, Any], expected: bool) -> None:
    """As Kubernetes defines them."""
    assert matches(selector, {"plant": "a"}) is expected
