"""HubConnections: which device may use which hub, and one client for each credential."""

import dataclasses
from typing import Any

import pytest
from memory_lab import HOST, MemoryHub, Steps, connection, edge_device

from edgeherd.errors import Stalled, Waiting
from edgeherd.hub.credential import HubCredential, WorkloadIdentity
from edgeherd.model import HubConnection, Secret
from edgeherd.reconcile.hub_clients import HubClients, HubCredentials, id_matches, matches
from edgeherd_sim.hub.store import Store

KEYS = ("b25lIG9uZSBvbmUgb25l", "dHdvIHR3byB0d28gdHdv")


def secret(text: str, *, key: str = "connectionString") -> Secret:
    """The administrator's Secret."""
    return Secret(
        namespace="edgeherd-system",
        name="hub",
        type="Opaque",
        data={key: text.encode()},
        labels={},
        annotations={},
        owner_uids=(),
        resource_version="1",
    )


def policy(key: str, host: str = HOST) -> str:
    """A policy's connection string."""
    return f"HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey={key}"


@dataclasses.dataclass
class Client:
    """What the factory makes."""

    login: HubCredentials
    closed: bool = False

    def on_behalf_of(self, namespace: str) -> MemoryHub:
        """See `herd.hubs.Client`."""
        del namespace
        return MemoryHub(Store(), Steps())

    def close(self) -> None:
        """See `herd.hubs.Client`."""
        self.closed = True


@dataclasses.dataclass
class Cluster:
    """One HubConnection, its Secret, and a namespace."""

    hub: HubConnection | None
    secret_: Secret | None
    labels: dict[str, str] = dataclasses.field(default_factory=dict)

    async def hub_connection(self, name: str) -> HubConnection | None:
        """See `Cluster`."""
        del name
        return self.hub

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """See `Cluster`."""
        assert (namespace, name) == ("edgeherd-system", "hub")
        return self.secret_

    async def namespace_labels(self, name: str) -> dict[str, str]:
        """See `Cluster`."""
        assert name == "plant-a"
        return self.labels


def opened(cluster: Cluster) -> tuple[HubClients, list[Client]]:
    """HubClients over that cluster, and the clients that they make."""
    made: list[Client] = []

    def factory(hub: HubConnection, login: HubCredentials) -> Client:
        del hub
        made.append(Client(login))
        return made[-1]

    return HubClients(cluster, namespace="edgeherd-system", factory=factory), made  # type: ignore[arg-type]


async def test_a_rotated_secret_is_picked_up_at_the_next_use() -> None:
    """One client for a credential; the old one is closed."""
    cluster = Cluster(connection(), secret(policy(KEYS[0])))
    hubs, made = opened(cluster)
    for _ in range(3):
        await hubs.for_device(edge_device())
    assert len(made) == 1
    cluster.secret_ = secret(policy(KEYS[1]))
    await hubs.for_device(edge_device())
    keys = [client.login.key for client in made if isinstance(client.login, HubCredential)]
    assert (keys, [client.closed for client in made]) == (list(KEYS), [True, False])


async def test_a_workload_identity_needs_no_secret() -> None:
    """What is left out comes from the Pod's environment."""
    client_id = "00000000-0000-0000-0000-000000000001"
    hub = connection(auth={"workloadIdentity": {"clientId": client_id}})
    hubs, made = opened(Cluster(hub, None))
    await hubs.for_device(edge_device())
    assert [client.login for client in made] == [WorkloadIdentity(host_name=HOST, client_id=client_id, tenant_id=None)]


SELECTOR = {"from": "Selector", "selector": {"matchLabels": {"plant": "a"}}}


@pytest.mark.parametrize(
    ("cluster", "kind", "reason"),
    [
        (Cluster(None, None), Waiting, "HubNotFound"),
        (Cluster(connection(), None), Waiting, "HubSecretNotFound"),
        (Cluster(connection(), secret("x", key="other")), Stalled, "HubSecretInvalid"),
        (Cluster(connection(), secret("HostName=x")), Stalled, "HubSecretInvalid"),
        (Cluster(connection(), secret(policy(KEYS[0], "other.azure-devices.net"))), Stalled, "HubSecretInvalid"),
        (Cluster(connection(allowedNamespaces=SELECTOR), secret(policy(KEYS[0]))), Stalled, "HubNotAllowed"),
        (Cluster(connection(deviceIdPattern="other-*"), secret(policy(KEYS[0]))), Stalled, "DeviceIdNotAllowed"),
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
async def test_a_hub_that_cannot_be_used(cluster: Cluster, kind: type[Exception], reason: str) -> None:
    """It is said what is wrong, and no client is made."""
    hubs, made = opened(cluster)
    with pytest.raises(kind) as caught:
        await hubs.for_device(edge_device())
    assert (caught.value.reason, made) == (reason, [])  # type: ignore[attr-defined]
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
