"""Passes over a HubConnection: what is said of it."""

import contextlib
import dataclasses
from typing import Any

import pytest
from memory_lab import HOST, ID, NAMESPACE, Time, connection, edge_device

from edgeherd.cluster.errors import ApiError, ForbiddenError
from edgeherd.controller.index import DeviceIndex
from edgeherd.model import FINALIZER, Condition, EdgeDevice, IdentityStatus, Key, Origin, Priority, Status
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.hub_connection import HubConnectionReconciler
from edgeherd.reconcile.requeue import Requeue
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


class World:
    """A cluster with one HubConnection, and what the watch saw of it."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.index = DeviceIndex()
        self.time = Time()
        hubs = HubClients(self.cluster, namespace=NAMESPACE, factory=lambda _, __: MemoryHubClient())
        self.reconciler = HubConnectionReconciler(
            cluster=self.cluster, hubs=hubs, index=self.index, clock=self.time.clock
        )
        policy = f"HostName={HOST};SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0"
        self.cluster.put_secret(NAMESPACE, "hub", {"connectionString": policy.encode()})

    async def reconcile(self) -> Requeue | None:
        """One pass."""
        self.cluster.steps.taken.clear()
        return await self.reconciler.reconcile(KEY)

    async def told(self) -> list[tuple[str, str, str, str]]:
        """What a pass says of the HubConnection."""
        await self.reconcile()
        return [_words(condition) for condition in self.cluster.hubs["contoso"].conditions]

    def put(self, name: str, *, seen: bool = True, **changes: Any) -> EdgeDevice:
        """An EdgeDevice of the hub, and whether the watch saw it."""
        usual = {"name": name, "uid": f"uid-of-{name}", "device_id": name, "finalizers": (FINALIZER,)}
        device = self.cluster.put_device(dataclasses.replace(edge_device(), **{**usual, **changes}))
        if seen:
            self.index.update(device)
        return device

    async def delete(self) -> None:
        """After a pass somebody deletes it, and the watch sees that."""
        await self.reconcile()
        self.cluster.delete_hub("contoso")
        self.index.update_hub(self.cluster.hubs["contoso"])


KEY = Key("HubConnection", "", "contoso")
RECORD = Status(identity=IdentityStatus(hub_host_name=HOST, device_id=ID, origin=Origin.CREATED))


def _words(condition: Condition) -> tuple[str, str, str, str]:
    return condition.type, condition.status, condition.reason, condition.message


@pytest.fixture
def world() -> World:
    """With the administrator's Secret."""
    return World()


async def test_a_pattern_that_lets_two_namespaces_claim_one_id_is_warned_about(world: World) -> None:
    """As long as it is so; the hub is no less ready for it."""
    world.cluster.put_hub(connection(deviceIdPattern="{namespace}-*"))
    assert await world.told() == [READY, AMBIGUOUS]
    world.cluster.put_hub(connection(deviceIdPattern="{namespace}.*"))
    assert await world.told() == [READY]


async def test_it_is_said_of_a_hub_that_cannot_be_used_too(world: World) -> None:
    """After what keeps it from being used."""
    world.cluster.put_hub(connection(deviceIdPattern="{namespace}-*"))
    world.cluster.delete_secret(NAMESPACE, "hub")
    assert [(type_, reason) for type_, _, reason, _ in await world.told()] == [
        ("Ready", "HubSecretNotFound"),
        ("Reconciling", "ProgressingWithRetry"),
        ("DeviceIdPatternAmbiguous", "SeparatorInNamespaceNames"),
    ]


async def test_a_pass_over_what_is_right_writes_nothing(world: World) -> None:
    """The first one holds it and says that it is ready."""
    world.cluster.put_hub(connection())
    await world.reconcile()
    assert world.cluster.steps.taken == ["add hub finalizer", "hub status", "event Ready"]
    due = await world.reconcile()
    assert (world.cluster.steps.taken, due and due.priority) == ([], Priority.DRIFT)


async def test_a_look_that_was_asked_for_is_answered(world: World) -> None:
    """Whatever comes of it; the value in the status is the one of the annotation."""
    world.cluster.put_hub(connection())
    await world.reconcile()
    for at, reason in (("1", "Ready"), ("2", "HubSecretNotFound")):
        if at == "2":
            world.cluster.delete_secret(NAMESPACE, "hub")
        world.cluster.edit_hub("contoso", requested_at=at)
        await world.reconcile()
        said = world.cluster.hubs["contoso"]
        assert (said.last_handled_reconcile_at, said.conditions[0].reason) == (at, reason)


async def test_what_its_administrator_mends_is_looked_at_within_a_minute(world: World) -> None:
    """Nobody tells that a Secret is right again."""
    world.cluster.put_hub(connection())
    for data in (
        None,
        {"other": b""},
        {"connectionString": b"HostName=other;SharedAccessKeyName=a;SharedAccessKey=YQ=="},
    ):
        world.cluster.delete_secret(NAMESPACE, "hub")
        if data is not None:
            world.cluster.put_secret(NAMESPACE, "hub", data)
        due = await world.reconcile()
        assert due is not None
        assert due.after <= 60
        world.cluster.put_secret(NAMESPACE, "hub", {})


# ---- deletion


async def test_one_that_nobody_uses_goes_at_once(world: World) -> None:
    """The API server is asked before that, because the watch may not have seen the latest EdgeDevice."""
    world.cluster.put_hub(connection())
    await world.delete()
    assert (await world.reconcile(), world.cluster.hubs) == (None, {})
    assert world.cluster.steps.taken == ["remove hub finalizer"]


@pytest.mark.parametrize(("status", "goes"), [(404, True), (503, False), (401, False)])
async def test_without_the_crd_of_edge_devices_nobody_uses_it(
    world: World, monkeypatch: pytest.MonkeyPatch, status: int, goes: bool
) -> None:
    """Whoever deletes both CRDs may not wait for it for ever; that the API server does not answer is another matter."""

    async def refuse() -> list[EdgeDevice]:
        raise ApiError(status, "x")

    world.cluster.put_hub(connection())
    await world.delete()
    monkeypatch.setattr(world.cluster, "edge_devices", refuse)
    with contextlib.nullcontext() if goes else pytest.raises(ApiError):
        await world.reconcile()
    assert (world.cluster.hubs == {}) is goes


IN_USE = (
    "It goes when the last of them is gone: delete them. To let it go at once and leave their identities in the hub, annotate "
    "it with edgeherd.io/force-delete=h."
)


@pytest.mark.parametrize("seen", [True, False], ids=["the watch saw them", "only the API server knows them"])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a",), f"1 EdgeDevice uses this HubConnection: plant-a/a. {IN_USE}"),
        (("a", "c", "b"), f"3 EdgeDevices use this HubConnection: plant-a/a, plant-a/b, plant-a/c. {IN_USE}"),
        (
            ("a", "b", "c", "d", "e"),
            f"5 EdgeDevices use this HubConnection: plant-a/a, plant-a/b, plant-a/c and 2 more. {IN_USE}",
        ),
    ],
)
async def test_one_that_is_used_stays_and_says_by_whom(
    world: World, names: tuple[str, ...], expected: str, seen: bool
) -> None:
    """It is not ready any more, and is looked at again; nothing is written twice."""
    world.cluster.put_hub(connection(deviceIdPattern="{namespace}-*"))
    for name in names:
        world.put(name, seen=seen)
    await world.delete()
    due = await world.reconcile()
    assert (due, world.cluster.steps.taken) == (Requeue(15, Priority.DELETE), ["hub status", "event InUse"])
    assert [_words(condition) for condition in world.cluster.hubs["contoso"].conditions] == [
        ("Ready", "False", "InUse", expected),
        ("Reconciling", "True", "ProgressingWithRetry", expected),
        AMBIGUOUS,
        ("Deleting", "True", "InUse", expected),
    ]
    world.time.wait(60)
    await world.reconcile()
    assert world.cluster.steps.taken == []


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        pytest.param({}, True, id="one that was let in"),
        pytest.param({"finalizers": ()}, False, id="one that was never let in"),
        pytest.param({"finalizers": (), "status": RECORD}, True, id="one whose finalizer somebody removed"),
        pytest.param(
            {"deleted_at": "2026-01-01T00:00:00Z"}, True, id="one that is being deleted, and needs the hub for it"
        ),
        pytest.param({"suspend": True}, True, id="one that is suspended"),
        pytest.param({"hub_name": "other"}, False, id="one of another hub"),
    ],
)
async def test_who_holds_it(world: World, changes: dict[str, Any], holds: bool) -> None:
    """Who may have something in the hub, and nobody else."""
    world.cluster.put_hub(connection())
    world.put("a", **changes)
    await world.delete()
    await world.reconcile()
    assert ("contoso" in world.cluster.hubs) is holds


@pytest.mark.parametrize("gone", [True, False], ids=["it is gone", "it lets go and stays"])
async def test_an_end_that_the_watch_did_not_see_holds_nothing(world: World, gone: bool) -> None:
    """The first of those that it names is looked at."""
    world.cluster.put_hub(connection())
    world.put("a")
    await world.delete()
    assert await world.reconcile() is not None
    if gone:
        del world.cluster.devices["plant-a", "a"]
    else:
        world.cluster.edit_device("plant-a", "a", finalizers=())
    assert (await world.reconcile(), world.cluster.hubs) == (None, {})


@pytest.mark.parametrize("uid", ["h", "of another"])
async def test_force_must_name_the_uid(world: World, uid: str, caplog: pytest.LogCaptureFixture) -> None:
    """It goes then, whoever uses it, and the log says so."""
    world.cluster.put_hub(connection())
    world.put("a")
    await world.delete()
    world.cluster.edit_hub("contoso", force_delete=uid)
    await world.reconcile()
    assert ("contoso" not in world.cluster.hubs, "by force" in caplog.text) == ((uid == "h"),) * 2


# ---- what the API server refuses


WORDS = 'secrets "hub" is forbidden: User "edgeherd" cannot get resource "secrets"'
REFUSED = (
    f"The API server refuses what the operator has to do ({WORDS}). Fix the right, the quota, the policy or the object that it "
    "names. It is tried again every minute."
)


@pytest.mark.parametrize("method", ["secret", "add_hub_finalizer"])
async def test_what_the_api_server_refuses_is_told(world: World, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its words."""
    world.cluster.put_hub(connection())
    monkeypatch.setattr(world.cluster, method, _refuse)
    assert (await world.told())[0] == ("Ready", "False", "KubernetesRefused", REFUSED)


@pytest.mark.parametrize("method", ["edge_devices", "remove_hub_finalizer"])
async def test_a_deletion_that_is_refused_says_so(world: World, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again."""
    world.cluster.put_hub(connection())
    await world.delete()
    monkeypatch.setattr(world.cluster, method, _refuse)
    assert (await world.told())[-1] == ("Deleting", "True", "KubernetesRefused", REFUSED)
    monkeypatch.undo()
    assert (await world.reconcile(), world.cluster.hubs) == (None, {})


async def test_a_status_that_may_not_be_written_is_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log and in an Event, which is all that is left."""
    world.cluster.put_hub(connection())
    monkeypatch.setattr(world.cluster, "put_hub_status", _refuse)
    for _ in range(3):
        await world.reconcile()
    assert [message.partition(" (")[0] for message in caplog.messages] == [
        "The status is older: The API server refuses what the operator has to do"
    ]
    assert [(event.hub, event.reason) for event in world.cluster.events] == [("contoso", "KubernetesRefused")]


async def _refuse(*_: Any, **__: Any) -> Any:
    raise ForbiddenError(403, WORDS)
