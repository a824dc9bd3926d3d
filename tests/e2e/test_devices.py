"""What devices are: old and new runtimes, behind jump hosts and proxies, known by a password or from a first use."""

import base64
import json
from typing import Any

import pytest
from world import PASSWORD, World, assert_whole, because, condition, is_ready, settings_of

from edgeherd_sim.devices.device import Device

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

DROP_IN = "etc/systemd/system/iotedge.service.d/50-edgeherd-proxy.conf"


async def test_a_device_of_1_5_from_nothing_to_healthy_and_to_its_end(world: World) -> None:
    """config.toml is made from the template and applied once; a second pass does nothing; a hand edit is put right."""
    async with world.team() as team:
        device = world.modern_device()
        managed = await team.ready(device, runtime={"hostname": "robot"})
        await assert_whole(managed, device)
        body = await managed.get()
        assert body is not None
        found = body["status"]["device"]
        assert (found["runtimeVersion"], found["agentImage"], found["dialect"]) == (
            "1.5.44",
            "mcr.microsoft.com/azureiotedge-agent:1.5",
            "ConfigToml",
        )
        before = device.config_file.stat()
        restarts = device.restarts
        await managed.look_now()
        assert (device.config_file.stat().st_mtime_ns, device.restarts) == (before.st_mtime_ns, restarts)
        edited = device.config_file.read_text().replace('hostname = "robot"', 'hostname = "elsewhere"')
        device.config_file.write_text(edited)
        await managed.look_now()
        await managed.until(is_ready)
        await assert_whole(managed, device)
        await managed.delete()
        await managed.until_gone()
        active = [line for line in device.config_file.read_text().splitlines() if not line.startswith("#")]
        assert not [line for line in active if "SharedAccessKey" in line or "[provisioning]" in line]


async def test_a_hand_edit_of_config_toml_that_was_not_applied_is_applied(world: World) -> None:
    """The services do not read config.toml: what it says counts only after `iotedge config apply`."""
    async with world.team() as team:
        device = world.modern_device()
        managed = await team.ready(device)
        content = device.config_file.read_bytes()
        device.config_file.write_bytes(content + b"\n# somebody was here\n")
        restarts = device.restarts
        await managed.look_now()
        await managed.until(is_ready)
        assert device.restarts > restarts
        assert device.config_file.read_bytes() == content + b"\n# somebody was here\n"


async def test_a_rotated_key_of_a_1_5_device_is_proved_by_the_hub(world: World) -> None:
    """Its containers outlive the key, so the hub is asked whether edgeAgent is connected."""
    async with world.team() as team:
        device = world.modern_device()
        managed = await team.ready(device)
        await managed.patch(identity={"keyInUse": "Secondary"})
        await managed.until(is_ready)
        await assert_whole(managed, device, key_in_use="Secondary")


def jump_host(device: Device) -> dict[str, Any]:
    """`spec.ssh.jumpHost` for a device that lets connections through."""
    return {
        "host": device.host,
        "port": device.port,
        "user": device.user,
        "credentialsSecretRef": {"name": "ssh"},
        "hostKeys": [device.facts()["hostKey"]],
    }


async def test_a_device_behind_a_jump_host(world: World) -> None:
    """Both host keys are in the status."""
    async with world.team() as team:
        device, jump = world.device(), world.modern_device()
        managed = await team.ready(device, ssh={"jumpHost": jump_host(jump)})
        await assert_whole(managed, device)
        body = await managed.get()
        assert body is not None
        prints = [body["status"]["device"][key] for key in ("hostKeyFingerprint", "jumpHostKeyFingerprint")]
        assert len(set(prints)) == 2


async def test_a_jump_host_with_another_key_is_told_apart(world: World) -> None:
    """The message names the jump host and its field."""
    async with world.team() as team:
        device, jump, other = world.device(), world.modern_device(), world.device()
        spec = {**jump_host(jump), "hostKeys": [other.facts()["hostKey"]]}
        managed = await team.apply(team.manifest(device, ssh={"jumpHost": spec}))
        body = await managed.until(because("HostKeyMismatch"))
        message = condition(body, "Reachable")["message"]
        assert "Jump host" in message
        assert "spec.ssh.jumpHost.hostKeys" in message


async def test_a_login_by_password(world: World) -> None:
    """A Secret of type basic-auth."""
    async with world.team() as team:
        device = world.modern_device()
        await world.put_secret(
            team.namespace, "login", "kubernetes.io/basic-auth", {"username": device.user, "password": PASSWORD}
        )
        managed = await team.ready(device, ssh={"credentialsSecretRef": {"name": "login"}})
        await assert_whole(managed, device)


async def test_a_host_key_of_first_use_is_remembered(world: World) -> None:
    """In a Secret of the EdgeDevice; another key later is refused; deleting the Secret trusts anew."""
    async with world.team() as team:
        device, other = world.device(), world.device()
        ssh = {"hostKeys": None, "hostKeyPolicy": "TrustOnFirstUse"}
        managed = await team.ready(device, ssh=ssh)
        where = f"/api/v1/namespaces/{team.namespace}/secrets/{managed.name}-known-hosts"
        secret = await world.cluster.find(where)
        assert secret is not None
        text = base64.b64decode(secret["data"]["known_hosts"]).decode()
        assert text == f"[{device.host}]:{device.port} {device.facts()['hostKey']}\n"
        assert secret["metadata"]["ownerReferences"][0]["name"] == managed.name
        assert "HostKeyRemembered" in await team.events(managed.name)
        key = base64.b64encode(text.replace(str(device.facts()["hostKey"]), str(other.facts()["hostKey"])).encode())
        patch = json.dumps({"data": {"known_hosts": key.decode()}})
        name = f"{managed.name}-known-hosts"
        await world.kubectl("patch", "secret", name, "-n", team.namespace, "--type=merge", "-p", patch)
        await managed.look_now()
        body = await managed.until(because("HostKeyMismatch"))
        assert name in condition(body, "Reachable")["message"]
        await world.kubectl("delete", "secret", name, "-n", team.namespace)
        await managed.look_now()
        await managed.until(is_ready)


async def test_a_proxy_comes_and_goes(world: World) -> None:
    """A drop-in for the daemon and agent.env, with one restart; the login is in files of root's alone."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, runtime={"proxy": {"httpsProxy": "http://proxy.plant:3128"}})
        drop_in = device.root / DROP_IN
        assert drop_in.read_text() == (
            '# Written by edgeherd.\n[Service]\nEnvironment="https_proxy=http://proxy.plant:3128"\n'
        )
        assert device.daemon_environment["https_proxy"] == "http://proxy.plant:3128"
        assert (settings_of(device).agent_env["https_proxy"], device.restarts) == ("http://proxy.plant:3128", 1)
        await world.put_secret(
            team.namespace, "proxy", "kubernetes.io/basic-auth", {"username": "press", "password": f"{PASSWORD}%/@"}
        )
        await managed.patch(runtime={"proxy": {"credentialsSecretRef": {"name": "proxy"}}})
        await managed.until(is_ready)
        with_login = device.daemon_environment["https_proxy"]
        assert with_login == "http://press:correct%20horse%2C%20battery%20%24taple%25%2F%40@proxy.plant:3128"
        assert settings_of(device).agent_env["https_proxy"] == with_login
        assert "press:" not in drop_in.read_text()
        login = device.root / "etc/edgeherd/proxy.env"
        assert (login.stat().st_mode & 0o7777, device.restarts) == (0o600, 2)
        shown = str(await managed.get()) + str(await world.events(team.namespace))
        assert "battery" not in shown
        await managed.patch(runtime=None)
        await managed.until(is_ready)
        assert (drop_in.exists(), login.exists(), "https_proxy" in settings_of(device).agent_env) == (False,) * 3
        assert "https_proxy" not in device.daemon_environment
        await assert_whole(managed, device)


async def test_the_login_of_a_private_registry(world: World) -> None:
    """From a Secret as `kubectl create secret docker-registry` makes it."""
    async with world.team() as team:
        device = world.device()
        auths = {"auths": {"registry.plant": {"username": "press", "password": PASSWORD}}}
        data = {".dockerconfigjson": json.dumps(auths)}
        await world.put_secret(team.namespace, "registry", "kubernetes.io/dockerconfigjson", data)
        agent = {"image": "registry.plant/edge/agent:1.0", "registryAuthSecretRef": {"name": "registry"}}
        managed = await team.ready(device, runtime={"agent": agent})
        assert (settings_of(device).agent_image, device.restarts) == ("registry.plant/edge/agent:1.0", 1)
        assert PASSWORD in device.config_file.read_text()
        assert PASSWORD not in str(await managed.get())


async def test_a_check_on_demand(world: World) -> None:
    """The annotation asks, the status answers in our own words, once for each value."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        device.faults.engine_down()
        await managed.annotate("edgeherd.io/run-check", "monday")
        body = await managed.until(lambda body: body["status"].get("check", {}).get("handledAt") == "monday")
        check = body["status"]["check"]
        assert check["verdict"] == "Failed"
        assert {
            "id": "container-engine-uri",
            "message": "The container engine is not installed, not running, or not reachable.",
        } in check["errors"]
        device.faults.clear()
        device.daemon.modules.run("edgeHub", "hub:1.0")
        await managed.annotate("edgeherd.io/run-check", "tuesday")
        body = await managed.until(lambda body: body["status"]["check"]["handledAt"] == "tuesday")
        assert body["status"]["check"]["verdict"] == "Passed"
