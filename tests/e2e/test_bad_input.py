"""Bad input gets a clear condition that says what to do next, and does no damage."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncssh
import pytest
from world import Team, World, because, condition, is_ready

from edgeherd.reconcile.secret_use import ALLOW_USE
from edgeherd_sim.devices.device import Device

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

Prepare = Callable[[Team, Device], Awaitable[Mapping[str, Any]]]
"""Makes something wrong; what it returns goes over the manifest's usual spec."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that is wrong."""

    sentence: str
    prepare: Prepare
    reason: str
    condition: str
    says: str
    """A part of the message: what a human has to do."""
    status: str = "False"
    """Of that condition: Unknown where nothing could be seen."""


async def _ssh_secret(team: Team, data: Mapping[str, str], *, label: str = "true") -> Mapping[str, Any]:
    # The API server itself refuses a kubernetes.io/ssh-auth Secret without a key; an Opaque one may hold anything.
    await team.world.put_secret(team.namespace, "bad", "Opaque", data)
    if label:
        await team.world.kubectl("-n", team.namespace, "label", "secret", "bad", f"{ALLOW_USE}={label}")
    return {"ssh": {"credentialsSecretRef": {"name": "bad"}}}


async def _somebody_elses_secret(team: Team, device: Device) -> Mapping[str, Any]:
    del device
    return await _ssh_secret(team, {"password": "hush"}, label="")


async def _no_secret(team: Team, device: Device) -> Mapping[str, Any]:
    del team, device
    return {"ssh": {"credentialsSecretRef": {"name": "nowhere"}}}


async def _secret_without_key(team: Team, device: Device) -> Mapping[str, Any]:
    del device
    return await _ssh_secret(team, {"token": "x"})


async def _malformed_key(team: Team, device: Device) -> Mapping[str, Any]:
    del device
    begin, end = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
    return await _ssh_secret(team, {"ssh-privatekey": f"{begin}\nbm90IGEga2V5\n{end}\n"})


async def _refused_key(team: Team, device: Device) -> Mapping[str, Any]:
    del device
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    return await _ssh_secret(team, {"ssh-privatekey": other})


async def _wrong_host_key(team: Team, device: Device) -> Mapping[str, Any]:
    other = next(each for each in team.world.fleet.devices if each is not device)
    return {"ssh": {"hostKeys": [other.facts()["hostKey"]]}}


async def _unreachable(team: Team, device: Device) -> Mapping[str, Any]:
    del team
    device.faults.refuse_connections()
    return {}


async def _unreadable_file(team: Team, device: Device) -> Mapping[str, Any]:
    del team
    device.faults.unreadable_file()
    return {}


async def _two_sections(team: Team, device: Device) -> Mapping[str, Any]:
    del team
    _append(device, b"\nprovisioning:\n  source: manual\n")
    return {}


async def _broken_yaml(team: Team, device: Device) -> Mapping[str, Any]:
    del team
    _append(device, b"\n\tagent: {\n")
    return {}


async def _no_sudo(team: Team, device: Device) -> Mapping[str, Any]:
    del team
    device.faults.sudo_refuses()
    return {}


async def _unknown_hub(team: Team, device: Device) -> Mapping[str, Any]:
    del team, device
    return {"hubRef": {"name": "no-such-hub"}}


async def _hub(team: Team, secret: str, **spec: Any) -> Mapping[str, Any]:
    name = f"bad-{team.namespace}"
    await team.world.kubectl.apply(team.world.hub_connection(name, secret, **spec))
    return {"hubRef": {"name": name}}


async def _hub_without_secret(team: Team, device: Device) -> Mapping[str, Any]:
    del device
    return await _hub(team, "nowhere")


async def _hub_secret_malformed(team: Team, device: Device) -> Mapping[str, Any]:
    del device
    await team.world.put_hub_secret(f"malformed-{team.namespace}", "HostName=localhost;SharedAccessKeyName=x")
    return await _hub(team, f"malformed-{team.namespace}")


async def _hub_refuses(team: Team, device: Device) -> Mapping[str, Any]:
    del device
    good = team.world.hub.connection_string
    bad = good.rpartition("=")[0].rpartition("SharedAccessKey")[0] + "SharedAccessKey=d3Jvbmcga2V5IHdyb25nIGtleQ=="
    await team.world.put_hub_secret(f"refused-{team.namespace}", bad)
    return await _hub(team, f"refused-{team.namespace}")


async def _namespace_not_allowed(team: Team, device: Device) -> Mapping[str, Any]:
    del device
    allowed = {"from": "Selector", "selector": {"matchLabels": {"team": "another"}}}
    return await _hub(team, "hub", allowedNamespaces=allowed)


async def _device_id_not_allowed(team: Team, device: Device) -> Mapping[str, Any]:
    del device
    return await _hub(team, "hub", deviceIdPattern="other-*")


async def _address_not_allowed(team: Team, device: Device) -> Mapping[str, Any]:
    del device
    return await _hub(team, "hub", allowedCIDRs=["10.0.0.0/8"])


async def _path_not_allowed(team: Team, device: Device) -> Mapping[str, Any]:
    del team, device
    return {"runtime": {"configPath": "/etc/netplan/01.yaml"}}


async def _other_runtime(team: Team, device: Device) -> Mapping[str, Any]:
    del team, device
    return {"runtime": {"dialect": "ConfigToml"}}


CASES = (
    Case(sentence="the SSH Secret is not there", prepare=_no_secret, reason="SshSecretNotFound", condition="Reachable", says="Create it"),
    Case(sentence="the SSH Secret has no private key", prepare=_secret_without_key, reason="SshSecretInvalid", condition="Reachable", says="Add one of them"),
    Case(sentence="the SSH Secret was made for something else", prepare=_somebody_elses_secret, reason="SshSecretInvalid", condition="Reachable", says="label secret bad edgeherd.io/allow-use=true"),
    Case(sentence="the private key is malformed", prepare=_malformed_key, reason="SshSecretInvalid", condition="Reachable", says="Fix it"),
    Case(sentence="the device refuses the key", prepare=_refused_key, reason="SshLoginRefused", condition="Reachable", says="authorized_keys"),
    Case(sentence="the device shows another host key", prepare=_wrong_host_key, reason="HostKeyMismatch", condition="Reachable", says="spec.ssh.hostKeys"),
    Case(sentence="nobody answers at the address", prepare=_unreachable, reason="DeviceUnreachable", condition="Reachable", says="tried again"),
    Case(sentence="the user may not become root", prepare=_no_sudo, reason="SudoRefused", condition="ConfigApplied", says="NOPASSWD"),
    Case(sentence="the file cannot be read", prepare=_unreadable_file, reason="ConfigUnreadable", condition="ConfigApplied", says="Look at its mode"),
    Case(sentence="two provisioning sections are active", prepare=_two_sections, reason="ConfigNotEditable", condition="ConfigApplied", says="Remove one"),
    Case(sentence="the file is not YAML", prepare=_broken_yaml, reason="ConfigNotEditable", condition="ConfigApplied", says="line "),
    Case(sentence="there is no such HubConnection", prepare=_unknown_hub, reason="HubNotFound", condition="IdentityReady", says="spec.hubRef", status="Unknown"),
    Case(sentence="the hub's Secret is not there", prepare=_hub_without_secret, reason="HubSecretNotFound", condition="IdentityReady", says="Create it", status="Unknown"),
    Case(sentence="the hub's Secret is malformed", prepare=_hub_secret_malformed, reason="HubSecretInvalid", condition="IdentityReady", says="missing: SharedAccessKey"),
    Case(sentence="the hub refuses the credential", prepare=_hub_refuses, reason="HubRefusedCredential", condition="IdentityReady", says="administrator", status="Unknown"),
    Case(sentence="the hub is not for this namespace", prepare=_namespace_not_allowed, reason="HubNotAllowed", condition="IdentityReady", says="allowedNamespaces"),
    Case(sentence="the hub is not for this device id", prepare=_device_id_not_allowed, reason="DeviceIdNotAllowed", condition="IdentityReady", says="deviceIdPattern"),
    Case(sentence="the address is outside of what the hub allows", prepare=_address_not_allowed, reason="AddressNotAllowed", condition="Reachable", says="allowedCIDRs"),
    Case(sentence="the file is one that the hub does not allow", prepare=_path_not_allowed, reason="ConfigPathNotAllowed", condition="ConfigApplied", says="allowedConfigPaths"),
    Case(sentence="the device has another runtime than the spec insists on", prepare=_other_runtime, reason="RuntimeDiffers", condition="ConfigApplied", says="Change one of them"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
async def test_bad_input(world: World, case: Case) -> None:
    """The condition names the condition and what to do; file and daemon are not touched; no key shows."""
    async with world.team() as team:
        device = world.device()
        over = await case.prepare(team, device)
        content = device.config_file.read_bytes() if case.reason != "ConfigUnreadable" else b""
        managed = await team.apply(team.manifest(device, **over))
        body = await managed.until(because(case.reason))
        said = condition(body, case.condition)
        assert (said["status"], said["reason"]) == (case.status, case.reason)
        assert case.says in said["message"]
        assert condition(body, "Ready")["message"] == said["message"]
        assert device.restarts == 0
        if case.condition == "IdentityReady":
            assert managed.device_id not in {identity.device_id for identity in world.hub.store.devices()}
        device.faults.clear()
        if case.reason != "ConfigUnreadable":
            assert device.config_file.read_bytes() == content


async def test_what_was_wrong_can_be_mended(world: World) -> None:
    """A Secret that comes later is noticed without anybody touching the EdgeDevice, within its retry time."""
    async with world.team() as team:
        device = world.device()
        managed = await team.apply(team.manifest(device, ssh={"credentialsSecretRef": {"name": "later"}}))
        await managed.until(because("SshSecretNotFound"))
        data = {"ssh-privatekey": world.fleet.private_key.decode()}
        await world.put_secret(team.namespace, "later", "kubernetes.io/ssh-auth", data)
        await managed.until(is_ready)


def _append(device: Device, content: bytes) -> None:
    device.config_file.chmod(0o600)
    device.config_file.write_bytes(device.config_file.read_bytes() + content)
    device.config_file.chmod(0o400)
