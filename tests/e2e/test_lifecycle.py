"""One device from nothing to healthy, through everything that happens to it, to its end."""

import asyncio
import pathlib

import pytest
from world import World, assert_whole, because, condition, is_ready, settings_of

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def test_a_manifest_takes_a_device_from_nothing_to_healthy(world: World) -> None:
    """Identity, Secret, file and daemon come to be, each once, and every condition is True."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, runtime={"hostname": "press"})
        await assert_whole(managed, device)
        body = await managed.get()
        assert body is not None
        said = {c["type"]: c["status"] for c in body["status"]["conditions"]}
        assert said == {
            "Ready": "True",
            "IdentityReady": "True",
            "SecretReady": "True",
            "Reachable": "True",
            "ConfigApplied": "True",
            "DaemonHealthy": "True",
            "Paused": "False",
            "RuntimeSupported": "False",  # 1.0, which only informs
        }
        assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
        assert (settings_of(device).hostname, device.restarts) == ("press", 1)
        assert {"IdentityCreated", "ConfigApplied", "Ready"} <= set(await team.events(managed.name))


async def test_a_pass_over_a_healthy_device_writes_nothing_anywhere(world: World) -> None:
    """Not in the hub, not in the file, no restart; in the cluster only the request's own acknowledgement."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        before = await managed.look_now()
        content, stat = device.config_file.read_bytes(), device.config_file.stat()
        secret_path = f"/api/v1/namespaces/{team.namespace}/secrets/{managed.name}-connection"
        secret = await world.cluster.find(secret_path)
        world.hub.requests.clear()
        after = await managed.look_now()
        asked = [(entry.method, entry.path) for entry in world.hub.requests if managed.device_id in entry.path]
        # edgeAgent gives a sign of life from time to time; that is the device's request.
        assert [one for one in asked if "$edgeAgent" not in one[1]] == [("GET", f"/twins/{managed.device_id}")]
        assert (device.config_file.read_bytes(), device.config_file.stat().st_mtime_ns, device.restarts) == (
            content,
            stat.st_mtime_ns,
            1,
        )
        assert await world.cluster.find(secret_path) == secret
        for body in (before, after):
            body["status"].pop("lastHandledReconcileAt")
        assert after["status"] == before["status"]


async def test_edits_of_the_spec_converge_with_one_restart_each(world: World) -> None:
    """Host name, environment of the agent, image, and the key in use."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        edits = (
            {"runtime": {"hostname": "press-new"}},
            {"runtime": {"agent": {"env": {"RuntimeLogLevel": "debug"}}, "proxy": {"upstreamProtocol": "AmqpWs"}}},
            {"runtime": {"agent": {"image": "registry.example/agent:1.0"}}},
            {"identity": {"keyInUse": "Secondary"}},
        )
        for number, edit in enumerate(edits, start=2):
            await managed.patch(**edit)
            await managed.until(is_ready)
            assert device.restarts == number
        await assert_whole(managed, device, key_in_use="Secondary")
        settings = settings_of(device)
        assert (settings.hostname, settings.agent_image, dict(settings.agent_env)) == (
            "press-new",
            "registry.example/agent:1.0",
            {"RuntimeLogLevel": "debug", "UpstreamProtocol": "AmqpWs"},
        )


async def test_an_identity_deleted_in_the_hub_comes_back_with_the_same_keys(world: World) -> None:
    """The device never notices: no write to its file, no restart."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        secret = await managed.secret()
        world.hub.store.remove(managed.device_id)
        await managed.look_now()
        await managed.until(is_ready)
        assert await managed.secret() == secret
        assert device.restarts == 1
        await assert_whole(managed, device)


async def test_keys_changed_in_the_hub_are_followed(world: World) -> None:
    """The hub wins: Secret and device get the new keys, with one restart."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        secret = await managed.secret()
        world.hub.store.rotate((managed.device_id, ""))
        await managed.look_now()
        await managed.until(is_ready)
        assert await managed.secret() != secret
        assert device.restarts == 2
        await assert_whole(managed, device)


async def test_an_identity_disabled_in_the_hub_is_enabled_again(world: World) -> None:
    """And one that the spec disables is disabled."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        world.hub.store.set_status(managed.device_id, "disabled")
        await managed.look_now()
        await managed.until(is_ready)
        await assert_whole(managed, device)
        await managed.patch(identity={"status": "Disabled"})
        await managed.until(lambda body: body["status"].get("identity", {}).get("status") == "Disabled")
        assert world.hub.store.device(managed.device_id).status == "disabled"
        await managed.until(because("IdentityDisabled"))


async def test_a_hand_edit_of_the_file_is_put_right(world: World) -> None:
    """Only what is ours; a comment that somebody added stays."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, runtime={"hostname": "press"})
        content = device.config_file.read_bytes()
        _write(device.config_file, content.replace(b'\nhostname: "press"', b'\n# mine\nhostname: "other"'))
        await managed.look_now()
        await managed.until(is_ready)
        assert device.config_file.read_bytes() == content.replace(
            b'\nhostname: "press"', b'\n# mine\nhostname: "press"'
        )
        assert "ConfigDriftCorrected" in await team.events(managed.name)


async def test_drift_is_only_reported_where_the_spec_says_so(world: World) -> None:
    """The plan is in the status; the device is not touched."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, runtime={"hostname": "press"}, driftPolicy="Report")
        drifted = device.config_file.read_bytes().replace(b'\nhostname: "press"', b'\nhostname: "other"')
        _write(device.config_file, drifted)
        body = await managed.look_now()
        assert condition(body, "ConfigApplied")["reason"] == "DriftDetected"
        assert body["status"]["plan"] == [
            {"path": "device:hostname", "action": "Change", "restart": "Daemon", "before": "other", "after": "press"}
        ]
        assert (device.config_file.read_bytes(), device.restarts) == (drifted, 1)


async def test_a_suspended_device_is_left_alone(world: World) -> None:
    """Nothing is done until it is resumed."""
    async with world.team() as team:
        device = world.device()
        managed = await team.apply(team.manifest(device, suspend=True))
        await managed.until(lambda body: condition(body, "Paused").get("status") == "True")
        assert (device.restarts, await managed.secret()) == (0, None)
        await managed.patch(suspend=False)
        await managed.until(is_ready)
        await assert_whole(managed, device)


async def test_the_second_claimant_of_an_identity_is_stalled(world: World) -> None:
    """It gets the identity when the first one has gone and let go of it."""
    async with world.team() as team:
        first, second = world.device(), world.device()
        owner = await team.ready(first, name="owner", deviceId=f"{team.namespace}.shared")
        await asyncio.sleep(1.1)  # creation times have whole seconds
        younger = await team.apply(team.manifest(second, name="younger", deviceId=f"{team.namespace}.shared"))
        body = await younger.until(because("IdentityConflict"))
        assert "owner" in condition(body, "Ready")["message"]
        assert second.restarts == 0
        await owner.delete()
        await owner.until_gone()
        await younger.until(is_ready)
        await assert_whole(younger, second)


async def test_a_foreign_identity_is_left_alone_unless_adoption_is_allowed(world: World) -> None:
    """Both the hub's administrator and the device must allow it; an adopted identity keeps its keys and stays."""
    async with world.team() as team:
        device = world.device()
        manifest = team.manifest(device)
        world.hub.store.put_device(manifest["spec"]["deviceId"], {"deviceId": manifest["spec"]["deviceId"]}, None)
        before = world.hub.store.device(manifest["spec"]["deviceId"])
        managed = await team.apply(manifest)
        await managed.until(because("IdentityConflict"))
        assert world.hub.store.device(managed.device_id) == before
        hub = f"adopting-{team.namespace}"
        await world.kubectl.apply(world.hub_connection(hub, "hub", adoption="Allowed"))
        await world.kubectl("delete", "edgedevice", managed.name, "-n", team.namespace)
        managed = await team.apply(team.manifest(device, hubRef={"name": hub}, adoptionPolicy="IfExists"))
        await managed.until(is_ready)
        assert world.hub.store.device(managed.device_id).authentication == before.authentication
        await assert_whole(managed, device)
        await managed.delete()
        await managed.until_gone()
        assert world.hub.store.device(managed.device_id).authentication == before.authentication


async def test_deletion_cleans_up_and_lets_go(world: World) -> None:
    """The identity is deleted, the file has its placeholder back, the Secret goes with the object."""
    async with world.team() as team:
        device = world.device()
        original = device.config_file.read_bytes()
        managed = await team.ready(device)
        await managed.delete()
        await managed.until_gone()
        assert managed.device_id not in {identity.device_id for identity in world.hub.store.devices()}
        assert device.config_file.read_bytes() == original
        if world.collects_garbage:
            await managed.until_no_secret()


async def test_retain_leaves_identity_and_device_as_they_are(world: World) -> None:
    """`deletionPolicy: Retain`."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, deletionPolicy="Retain")
        content = device.config_file.read_bytes()
        await managed.delete()
        await managed.until_gone()
        assert world.hub.store.device(managed.device_id).status == "enabled"
        assert (device.config_file.read_bytes(), device.restarts) == (content, 1)


async def test_an_unreachable_hub_holds_the_deletion_up_and_says_so(world: World) -> None:
    """It goes on when the hub is back."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        world.hub.faults.add("error", path=managed.device_id)
        await managed.delete()
        body = await managed.until(lambda body: condition(body, "Deleting").get("status") == "True")
        assert condition(body, "Deleting")["reason"] == "HubUnavailable"
        world.hub.faults.clear()
        await managed.until_gone()
        assert managed.device_id not in {identity.device_id for identity in world.hub.store.devices()}


async def test_force_delete_lets_go_of_what_cannot_be_cleaned_up(world: World) -> None:
    """The annotation must name the object's uid."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        body = await managed.get()
        assert body is not None
        world.hub.faults.add("refuse-credential", path=managed.device_id)
        await managed.delete()
        await managed.until(lambda body: condition(body, "Deleting").get("status") == "True")
        await managed.annotate("edgeherd.io/force-delete", body["metadata"]["uid"])
        await managed.until_gone()


def _write(file: pathlib.Path, content: bytes) -> None:
    file.chmod(0o600)
    file.write_bytes(content)
    file.chmod(0o400)
