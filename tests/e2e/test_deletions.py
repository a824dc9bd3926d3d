"""What goes when something is deleted, what holds it, and what comes back."""

import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest
from world import Body, Managed, Team, World, assert_whole, condition, edge_devices, is_ready

from edgeherd.cluster.client import MERGE_PATCH, path
from edgeherd.cluster.errors import ApiError
from edgeherd_sim.demo import scene
from edgeherd_sim.devices.device import Device
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

ROUNDS = 3
"""How often the samples come and go: what is deleted first is a matter of chance."""

A_MINUTE = 75.0
"""What is looked at within a minute, and the pass that follows, on a slow machine."""


def hub_path(name: str) -> str:
    """The path of a HubConnection."""
    return path("edgeherd.io", "v1alpha1", "hubconnections", name=name)


def secret_path(managed: Managed) -> str:
    """The path of the connection Secret."""
    return path("", "v1", "secrets", namespace=managed.team.namespace, name=f"{managed.name}-connection")


def identities(world: World) -> set[str]:
    """The ids of all devices in the hub."""
    return {identity.device_id for identity in world.hub.store.devices()}


def keys_of(world: World, *device_ids: str) -> list[str]:
    """The primary keys of identities."""
    return [str(world.hub.store.device(device_id).authentication.primary_key) for device_id in device_ids]


def has(device: Device, key: str) -> bool:
    """Whether a key is in the daemon's file."""
    return key in device.config_file.read_text()


async def until_gone(world: World, *where: str) -> None:
    """Wait until there is nothing at these paths."""

    async def gone() -> bool:
        return not any([await world.cluster.find(one) for one in where])

    await until(gone, every=0.15, patience=45)


async def hub_says(world: World, name: str, type_: str) -> str:
    """Status, reason and message of a HubConnection's condition."""
    body = await world.cluster.find(hub_path(name))
    found = condition(body or {}, type_)
    return f"{found.get('status')} {found.get('reason')}: {found.get('message')}"


@contextlib.asynccontextmanager
async def hub_of(team: Team) -> AsyncIterator[str]:
    """A HubConnection that only this test uses, and that is asked to go at the end."""
    name = f"hub-of-{team.namespace}"
    await team.world.kubectl.apply(team.world.hub_connection(name, "hub"))
    try:
        yield name
    finally:
        with contextlib.suppress(ApiError):
            await team.world.cluster.request("DELETE", hub_path(name))


# ---- the samples, as people apply, replace and delete them


@contextlib.asynccontextmanager
async def samples(world: World) -> AsyncIterator[tuple[str, Sequence[Device]]]:
    """The samples pointed at devices of ours, for `kubectl -k`."""
    devices = [world.device() for _ in range(3)]
    facts = [{**device.facts(), "name": f"press-0{number}"} for number, device in enumerate(devices, 1)]
    folder = scene.write_samples(world.folder, world.hub.facts(), facts)
    await world.put_hub_secret("contoso-hub", world.hub.connection_string)
    await world.kubectl(
        "create", "namespace", "plant-a", check=False
    )  # it stays, because nobody may be there to end it
    login = {"ssh-privatekey": world.fleet.private_key.decode()}
    await world.put_secret("plant-a", "plant-a-ssh", "kubernetes.io/ssh-auth", login)
    try:
        yield str(folder), devices
    finally:
        world.hub.faults.clear()
        await world.kubectl("delete", "-k", str(folder), "--ignore-not-found", "--timeout=60s")
        await world.kubectl("delete", "secret", "contoso-hub", "-n", world.namespace)
        await world.kubectl("delete", "secret", "plant-a-ssh", "-n", "plant-a")


async def test_the_samples_are_deleted_in_one_go(world: World) -> None:
    """`kubectl delete -k` deletes the HubConnection first, and ends when all is gone, however slow the hub is."""
    async with samples(world) as (folder, devices):
        wait = ("wait", "--for=condition=Ready", "edgedevices", "--all", "-n", "plant-a", "--timeout=60s")
        for _ in range(ROUNDS):
            await world.kubectl("apply", "-k", folder)
            await world.kubectl(*wait)
            keys = keys_of(world, "press-01", "press-02")
            world.hub.faults.add("latency", delay=0.1)
            await world.kubectl("delete", "-k", folder, "--timeout=60s")
            world.hub.faults.clear()
            left = await world.cluster.request("GET", edge_devices("plant-a"))
            assert (left["items"], await world.cluster.find(hub_path("contoso"))) == ([], None)
            # The third has deletionPolicy Retain.
            assert identities(world) & {"press-01", "press-02", "Press-03.Line-B"} == {"Press-03.Line-B"}
            assert [has(device, key) for device, key in zip(devices, keys, strict=False)] == [False, False]
            world.hub.store.remove("Press-03.Line-B")


async def test_the_samples_are_replaced_by_force(world: World) -> None:
    """`kubectl replace --force` deletes all, waits, and creates it anew: nothing of the old is in the way."""
    async with samples(world) as (folder, _):
        wait = ("wait", "--for=condition=Ready", "edgedevices", "--all", "-n", "plant-a", "--timeout=60s")
        await world.kubectl("apply", "-k", folder)
        await world.kubectl(*wait)
        for _ in range(ROUNDS):
            before = {body["metadata"]["uid"] for body in await _listed(world)}
            world.hub.store.remove("Press-03.Line-B")  # retained, and another EdgeDevice's from then on
            world.hub.faults.add("latency", delay=0.1)
            await world.kubectl("replace", "--force", "-k", folder, "--timeout=60s")
            world.hub.faults.clear()
            await world.kubectl(*wait)
            assert not before & {body["metadata"]["uid"] for body in await _listed(world)}
        world.hub.store.remove("Press-03.Line-B")


async def _listed(world: World) -> list[Body]:
    found: list[Body] = (await world.cluster.request("GET", edge_devices("plant-a")))["items"]
    return found


# ---- a HubConnection


async def test_a_hub_connection_stays_until_nobody_needs_it(world: World) -> None:
    """It says who does. Who comes later is not let in and holds nothing; made anew, it takes that one too."""
    async with world.team() as team, hub_of(team) as hub:
        first, second = world.device(), world.device()
        user = await team.ready(first, name="user", hubRef={"name": hub})
        await world.cluster.request("DELETE", hub_path(hub))

        async def is_held() -> bool:
            return "InUse" in await hub_says(world, hub, "Deleting")

        await until(is_held)
        expected = f"True InUse: 1 EdgeDevice uses this HubConnection: {team.namespace}/user. "
        assert (await hub_says(world, hub, "Deleting")).startswith(expected)
        assert (await hub_says(world, hub, "Ready")).startswith("False InUse: ")
        late = await team.apply(team.manifest(second, name="late", hubRef={"name": hub}))
        body = await late.until(lambda body: condition(body, "Ready").get("reason") == "HubDeleting")
        assert body["metadata"].get("finalizers") is None
        await user.look_now()
        await user.until(is_ready)
        await user.delete()
        await user.until_gone()
        await until_gone(world, hub_path(hub))
        assert user.device_id not in identities(world)
        await world.kubectl.apply(world.hub_connection(hub, "hub"))
        await late.until(is_ready)
        await assert_whole(late, second)


async def test_force_lets_a_hub_connection_go(world: World) -> None:
    """Its EdgeDevices are without it then, and it may be made anew."""
    async with world.team() as team, hub_of(team) as hub:
        managed = await team.ready(world.device(), hubRef={"name": hub})
        body = await world.cluster.request("GET", hub_path(hub))
        await world.cluster.request("DELETE", hub_path(hub))
        force = {"metadata": {"annotations": {"edgeherd.io/force-delete": body["metadata"]["uid"]}}}
        await world.cluster.request("PATCH", hub_path(hub), body=force, content_type=MERGE_PATCH)
        await until_gone(world, hub_path(hub))
        await managed.until(lambda body: condition(body, "Ready").get("reason") == "HubNotFound")
        await world.kubectl.apply(world.hub_connection(hub, "hub"))
        await managed.until(is_ready)


async def test_a_look_at_a_hub_connection_can_be_asked_for(world: World) -> None:
    """As at an EdgeDevice."""
    async with world.team() as team, hub_of(team) as hub:
        annotation = "reconcile.edgeherd.io/requestedAt"
        await world.kubectl("annotate", "hubconnection", hub, f"{annotation}=now")

        async def is_answered() -> bool:
            body = await world.cluster.request("GET", hub_path(hub))
            return bool(body.get("status", {}).get("lastHandledReconcileAt") == "now")

        await until(is_answered)


# ---- a deletion that is blocked


async def test_a_blocked_deletion_is_seen_in_the_columns(world: World) -> None:
    """Not Ready, for the reason of what blocks; one Event; what was cleaned is not cleaned, nor told, again."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        (key,) = keys_of(world, managed.device_id)
        world.hub.faults.add("error", method="DELETE", path=managed.device_id)
        await managed.delete()
        await managed.until(lambda body: condition(body, "Deleting").get("reason") == "HubUnavailable")
        table = await world.kubectl("get", "edgedevice", managed.name, "-n", team.namespace, "-o", "wide")
        header, row = table.splitlines()
        assert header.split()[-1] == "MESSAGE"
        assert row.split()[:3] == [managed.name, "False", "HubUnavailable"]
        assert row.endswith("It is tried again.")
        assert not has(device, key)
        ssh = path("", "v1", "secrets", namespace=team.namespace, name="ssh")
        await world.cluster.request("DELETE", ssh)
        refused = len(world.hub.requests)
        await managed.annotate("reconcile.edgeherd.io/requestedAt", "again")
        await until(lambda: len(world.hub.requests) > refused)
        world.hub.faults.clear()
        await managed.until_gone()
        told = await team.events(managed.name)
        assert [told.count(reason) for reason in ("DeletionBlocked", "DeviceCleanupSkipped")] == [1, 0]
        assert managed.device_id not in identities(world)


# ---- a namespace


async def test_a_namespace_that_is_deleted_leaves_no_key_behind(world: World) -> None:
    """Its Secrets go first, and Events are refused: the operator knows how it logged in, and cleans hub and device."""
    if not world.collects_garbage:
        pytest.skip("kube-controller-manager does not run here: nobody would end the namespace")
    async with world.team() as team:
        device, modern = world.device(), world.modern_device()
        first_use = {"hostKeys": None, "hostKeyPolicy": "TrustOnFirstUse"}
        managed = [await team.ready(device), await team.ready(modern, ssh=first_use)]
        keys = keys_of(world, *(one.device_id for one in managed))
        await world.kubectl("delete", "namespace", team.namespace, "--timeout=90s")
        assert not {one.device_id for one in managed} & identities(world)
        assert [has(one, key) for one, key in zip((device, modern), keys, strict=True)] == [False, False]


async def test_what_a_restarted_operator_cannot_clean_is_in_its_log(world: World) -> None:
    """The Secrets are gone before it could see them: the identity goes, and the device that keeps its key is named."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, intervalSeconds=3600)
        await world.stop_operator()
        for name in ("ssh", f"{managed.name}-connection"):
            await world.cluster.request("DELETE", path("", "v1", "secrets", namespace=team.namespace, name=name))
        await managed.delete()
        await world.start_operator()
        await managed.until_gone()
        assert managed.device_id not in identities(world)
        lines = [
            line for line in world.log_of(team.namespace, managed.name) if line["reason"] == "DeviceCleanupSkipped"
        ]
        said = f"The device {device.host} still has its configuration: "
        assert [(line["level"], line["message"].startswith(said)) for line in lines] == [("warning", True)]
        assert "DeviceCleanupSkipped" in await team.events(managed.name)


# ---- a connection Secret


async def test_a_connection_secret_that_is_deleted_comes_back(world: World) -> None:
    """With the same keys, within a minute, though nobody asked for a look."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, intervalSeconds=3600)
        before = await managed.secret()
        await world.cluster.request("DELETE", secret_path(managed))

        async def is_back() -> bool:
            return await managed.secret() is not None

        await until(is_back, every=0.5, patience=A_MINUTE)
        await until(lambda: _told(team, managed, "SecretRestored"))
        assert (await managed.secret(), device.restarts) == (before, 1)


async def test_a_connection_secret_that_is_edited_is_put_right(world: World) -> None:
    """What somebody added to it stays."""
    async with world.team() as team:
        managed = await team.ready(world.device(), intervalSeconds=3600)
        before = await managed.secret()
        body = {"stringData": {"primaryKey": "bm90IGEga2V5", "more": "theirs"}}
        await world.cluster.request("PATCH", secret_path(managed), body=body, content_type=MERGE_PATCH)

        async def is_right() -> bool:
            return await managed.secret() == {**(before or {}), "more": "theirs"}

        await until(is_right, every=0.5, patience=A_MINUTE)
        await until(lambda: _told(team, managed, "SecretRestored"))


async def _told(team: Team, managed: Managed, reason: str) -> bool:
    return reason in await team.events(managed.name)


async def test_a_secret_that_lost_its_owner_is_taken_over(world: World) -> None:
    """`--cascade=orphan` left it; it has an owner before there is an identity, and goes with it."""
    if not world.collects_garbage:
        pytest.skip("kube-controller-manager does not run here: nobody would orphan the Secret")
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        keys = await managed.secret()
        await world.kubectl("delete", "edgedevice", managed.name, "-n", team.namespace, "--cascade=orphan")
        assert (await managed.secret(), managed.device_id in identities(world)) == (keys, False)
        again = await team.ready(device)
        secret = await world.cluster.request("GET", secret_path(again))
        body = await again.get()
        assert body is not None
        assert [ref["uid"] for ref in secret["metadata"]["ownerReferences"]] == [body["metadata"]["uid"]]
        assert await again.secret() == keys
        await again.delete()
        await again.until_gone()
        await again.until_no_secret()
        assert again.device_id not in identities(world)
