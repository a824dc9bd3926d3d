"""A connection Secret that somebody deletes or edits is noticed, at little cost and without a look inside."""

import dataclasses
from typing import Any

import pytest

from edgeherd import resource
from edgeherd.cluster.errors import ApiError, ForbiddenError
from edgeherd.controller.index import DeviceIndex
from edgeherd.controller.secret_poll import SecretPoll
from edgeherd.model import EdgeDevice, Key, Status
from edgeherd.reconcile.secret_versions import SecretVersions
from edgeherd_sim.memory import MemoryCluster

SPEC = {"hubRef": {"name": "contoso"}, "ssh": {"host": "h", "user": "u", "credentialsSecretRef": {"name": "s"}}}
OURS = {"app.kubernetes.io/managed-by": "edgeherd"}


class World:
    """Some EdgeDevices with their Secrets, and who was told of what."""

    def __init__(self, *names: str, lists: bool = True) -> None:
        self.cluster = MemoryCluster()
        self.cluster.lists_secrets = lists
        self.index, self.versions = DeviceIndex(), SecretVersions()
        self.told: list[str] = []
        self.slept: list[float] = []
        self.poll = SecretPoll(
            self.cluster,
            self.index,
            self.versions,
            on_change=lambda key: self.told.append(key.name),
            sleep=self._sleep,
        )
        for name in names:
            self.put_secret(name)
            self.index.update(device(name))

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def put_secret(self, name: str, *, a_pass_saw_it: bool = True, **data: bytes) -> None:
        """Its Secret is there, or another one."""
        secret = self.cluster.put_secret("plant-a", f"{name}-connection", data, labels=OURS)
        if a_pass_saw_it:
            self.versions.saw(key(name), secret.resource_version)

    async def look(self) -> list[str]:
        """One round; who was told of something in it."""
        self.told.clear()
        await self.poll.look()
        return self.told


def key(name: str) -> Key:
    """The EdgeDevice of that name."""
    return Key("EdgeDevice", "plant-a", name)


def device(name: str, **changes: Any) -> EdgeDevice:
    """An EdgeDevice that has a Secret."""
    meta = {"name": name, "namespace": "plant-a", "uid": name, "generation": 1, "resourceVersion": "1"}
    body = {"metadata": {**meta, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": SPEC}
    usual = {"status": Status(secret_name=f"{name}-connection")}
    return dataclasses.replace(resource.edge_device(body), **{**usual, **changes})


both = pytest.mark.parametrize("lists", [True, False], ids=["by a list", "one by one"])


@both
async def test_who_is_told(lists: bool) -> None:
    """Whose Secret is gone or another one; once for each change, and not for what a pass wrote itself."""
    world = World("one", "two", "three", lists=lists)
    assert await world.look() == []
    world.cluster.delete_secret("plant-a", "one-connection")
    world.put_secret("two", a_pass_saw_it=False, edited=b"")
    world.put_secret("three", renewed=b"")
    assert await world.look() == ["one", "two"]
    assert await world.look() == []
    world.put_secret("two", a_pass_saw_it=False, edited=b"again")
    assert await world.look() == ["two"]
    world.put_secret("one")
    assert await world.look() == []
    world.cluster.delete_secret("plant-a", "one-connection")
    assert await world.look() == ["one"]


@both
async def test_after_a_start_only_what_is_missing_is_known(lists: bool) -> None:
    """What is there is what is compared with from then on."""
    world = World(lists=lists)
    for name in ("one", "two"):
        world.index.update(device(name))
    world.put_secret("one", a_pass_saw_it=False)
    assert await world.look() == ["two"]
    world.put_secret("one", a_pass_saw_it=False, edited=b"")
    assert await world.look() == ["one"]


@both
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"suspend": True}, id="it is suspended"),
        pytest.param({"deleted_at": "2026-01-01T00:00:00Z"}, id="it is being deleted"),
        pytest.param({"status": Status()}, id="it never had one"),
    ],
)
async def test_whose_secret_is_nobodys_business(lists: bool, changes: dict[str, Any]) -> None:
    """A pass would not write it."""
    world = World(lists=lists)
    world.index.update(device("one", **changes))
    assert (await world.look(), world.cluster.secrets_asked_for) == ([], [])


@both
async def test_a_pass_that_comes_between_knows_better(lists: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the look saw is older than what the pass wrote."""
    world = World("one", lists=lists)
    method = "secret_versions" if lists else "secret_version"
    ask = getattr(world.cluster, method)

    async def meanwhile(*asked: Any) -> Any:
        seen = await ask(*asked)
        world.put_secret("one", renewed=b"")
        return seen

    monkeypatch.setattr(world.cluster, method, meanwhile)
    assert await world.look() == []


@pytest.mark.parametrize(("devices", "pause"), [(1, 50.0), (100, 0.5), (1200, 0.05)])
async def test_single_looks_are_spread(devices: int, pause: float) -> None:
    """Each within a minute, but no more than twenty in a second."""
    names = [f"d{number}" for number in range(devices)]
    world = World(*names, lists=False)
    await world.look()
    assert world.cluster.secrets_asked_for == [f"{name}-connection" for name in names]
    assert (world.slept, sum(world.slept) <= 60) == ([pause] * devices, True)


async def test_one_list_is_enough() -> None:
    """For any number of them."""
    world = World("one", "two", "three")
    await world.look()
    assert world.cluster.secrets_asked_for == ["all"]
    assert [27 <= seconds <= 33 for seconds in world.slept] == [True]


async def test_a_right_that_comes_or_goes_is_noticed() -> None:
    """At once when it goes, within ten minutes when it comes."""
    world = World("one")
    world.cluster.lists_secrets = False
    world.poll._may_list, world.poll._rights_due = True, 600.0  # noqa: SLF001 - as it was a moment ago
    await world.look()
    await world.look()
    assert world.cluster.secrets_asked_for == ["one-connection"]
    world.cluster.lists_secrets = True
    while "all" not in world.cluster.secrets_asked_for:
        await world.look()
    assert sum(world.slept) <= 700


@pytest.mark.parametrize(
    ("error", "logged", "pause"),
    [
        (ApiError(503, "later"), "", 30.0),
        (ForbiddenError(403, "no"), "", 50.0),  # it is one Secret's, and the round goes on
        (KeyError("x"), "a bug ended a look", 30.0),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_whatever_fails_it_goes_on(
    error: Exception, logged: str, pause: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a pause."""
    world = World("one", lists=False)
    calls = 0

    class EndError(BaseException):
        pass

    async def fail(*_: object) -> str:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise EndError
        raise error

    monkeypatch.setattr(world.cluster, "secret_version", fail)
    with pytest.raises(EndError):
        await world.poll.run()
    assert (world.slept, logged in caplog.text) == ([pause, pause], True)


async def test_one_that_may_not_be_looked_at_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace that is being deleted has lost its RoleBinding, and its EdgeDevices come first."""
    world = World("one", "two", lists=False)
    look = world.cluster.secret_version

    async def forbid(namespace: str, name: str) -> str:
        if name == "one-connection":
            raise ForbiddenError(403, "secrets is forbidden")
        return await look(namespace, name)

    monkeypatch.setattr(world.cluster, "secret_version", forbid)
    world.cluster.delete_secret("plant-a", "two-connection")
    assert await world.look() == ["two"]
