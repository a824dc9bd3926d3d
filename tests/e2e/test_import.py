"""Import hurts nobody: `edgeherd hub import` and `edgeherd device import`, applied, change nothing."""

import dataclasses
import os
import pathlib
import sys
from typing import Any

import pytest
from world import Team, World, because, is_ready

import processes
from edgeherd import config
from edgeherd_sim.demo import scene
from edgeherd_sim.devices.device import Device
from edgeherd_sim.hub.model import NEVER, Identity
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

EDGE = {"capabilities": {"iotEdge": True}}
FIRST, SECOND = "ab" * 32, "cd" * 32
SAMPLE = """
configVersion: "1.0"
iotHub: {authenticationMethod: symmetricKey}
edgeConfiguration: {templateConfigPath: device_config.toml, defaultEdgeAgent: "$upstream:443/azureiotedge-agent:1.2"}
edgeDevices:
  - deviceId: NS.device_1
    hostname: device_1
    children:
    - deviceId: NS.device_2
      hostname: device_2
      deployment: ./deployments/lower.json
"""
"""With what Microsoft's own sample has: `$upstream`, and underscores in host names."""


async def edgeherd(world: World, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command, run as an administrator does."""
    environment = scene.operator_environment(world.kubectl.kubeconfig, world.hub.facts(), namespace=world.namespace)
    command = [sys.executable, "-m", "edgeherd", *arguments]
    done = await processes.finished(*command, env={**os.environ, **environment})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def adopting(world: World, team: Team) -> str:
    """A HubConnection to the hub that lets identities be adopted."""
    hub = f"adopting-{team.namespace}"
    await world.kubectl.apply(world.hub_connection(hub, "hub", adoption="Allowed"))
    return hub


def manifests(output: str, team: Team) -> dict[str, dict[str, Any]]:
    """What a command wrote about a team's devices, by device id."""
    bodies = [config.plain_yaml(part) for part in output.split("---\n") if part.strip()]
    found = {body["spec"]["deviceId"]: body for body in bodies}
    return {device_id: body for device_id, body in found.items() if device_id.startswith(team.namespace)}


def identities(world: World, team: Team) -> dict[tuple[str, str], Identity]:
    """All identities of a team's devices and modules whole, but for who is connected at the moment."""
    return {
        key: dataclasses.replace(identity, connected=False, connection_updated=NEVER, last_activity=NEVER)
        for key, identity in world.hub.store.identities.items()
        if key[0].startswith(team.namespace)
    }


def reached(body: dict[str, Any], device: Device) -> dict[str, Any]:
    """The manifest, with what only a human knows filled in."""
    ssh = {**body["spec"]["ssh"], "host": device.host, "port": device.port, "user": device.user}
    ssh |= {"hostKeys": [device.facts()["hostKey"]], "credentialsSecretRef": {"name": "ssh"}}
    return {**body, "spec": {**body["spec"], "ssh": ssh}}


async def test_a_hub_is_imported_and_stays_as_it_is(world: World) -> None:
    """Import, adopt, and no identity is other than it was: disabled ones, certificates, parents and reasons included."""
    async with world.team() as team:
        hub, name = await adopting(world, team), team.namespace
        store = world.hub.store
        scope = store.put_device(f"{name}.gate", EDGE, None).device_scope
        certified = {
            "type": "selfSigned",
            "x509Thumbprint": {"primaryThumbprint": FIRST, "secondaryThumbprint": SECOND},
        }
        for device_id, more in (
            ("press", {"parentScopes": [scope]}),
            ("stolen", {"status": "disabled", "statusReason": "stolen"}),
            ("cam", {"authentication": certified}),
            ("lost", {"authentication": certified, "status": "disabled"}),
            ("ca", {"authentication": {"type": "certificateAuthority"}}),
        ):
            store.put_device(f"{name}.{device_id}", {**EDGE, **more}, None)
        store.patch_twin((f"{name}.press", ""), {"tags": {"line": 7}}, None)
        before = identities(world, team)

        status, out, err = await edgeherd(
            world, "hub", "import", "--hub", hub, "-n", team.namespace, "--ssh-secret", "ssh"
        )
        assert status == 0, err
        made = manifests(out, team)
        assert sorted(made) == [f"{name}.{it}" for it in ("cam", "gate", "lost", "press", "stolen")]
        lines = [line for line in err.splitlines() if name in line]
        assert lines == [
            f"left out: {name}.ca: it authenticates by a certificate authority, which an EdgeDevice cannot",
            f"{name}.cam: say where its certificate and private key are, in spec.identity.x509",
            f"{name}.lost: say where its certificate and private key are, in spec.identity.x509",
            f"{name}.press: its parent {name}.gate and its tags line stay in the hub as they are; the manifest does not have them",
        ]
        assert {
            key.rpartition(".")[2]: body["spec"].get("identity", {}).get("status") for key, body in made.items()
        } == {
            "cam": None,
            "gate": None,
            "lost": "Disabled",
            "press": None,
            "stolen": "Disabled",
        }

        _, out, _ = await edgeherd(world, "hub", "devices", "--hub", hub)
        rows = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith(name)}
        assert rows[f"{name}.stolen"] == [f"{name}.stolen", "Disabled", "sas", "Disconnected", "<never>", "2", "<none>"]
        await _adopt(world, team, made)
        assert identities(world, team) == before


async def _adopt(world: World, team: Team, made: dict[str, dict[str, Any]]) -> None:
    """Each of the manifests becomes an EdgeDevice with a device of its own, and ends as it should."""
    expected = {"stolen": because("IdentityDisabled"), "lost": because("IdentityDisabled"), "cam": is_ready}
    for device_id, body in made.items():
        device, what = world.device(), device_id.rpartition(".")[2]
        team.devices.append(device)
        applied = reached(body, device)
        if "x509" in applied["spec"].get("identity", {}):
            x509 = {
                **applied["spec"]["identity"]["x509"],
                "certificatePath": "/etc/c.pem",
                "privateKeyPath": "/etc/c.key",
            }
            applied["spec"]["identity"] = {**applied["spec"]["identity"], "x509": x509}
        managed = await team.apply(applied)
        # The certificate is none of the device's, so it does not come up; its identity is what counts here.
        ends = _identity_is_ready if what == "cam" else expected.get(what, is_ready)
        await managed.until(ends)


def _identity_is_ready(body: dict[str, Any]) -> bool:
    found = [c for c in body.get("status", {}).get("conditions", []) if c["type"] == "IdentityReady"]
    return bool(found) and found[0]["status"] == "True"


async def test_a_configuration_of_az_is_validated(world: World, tmp_path: pathlib.Path) -> None:
    """What Microsoft's sample has is accepted; what the API server refuses is named, and the exit status says so."""
    async with world.team() as team:
        hub = await adopting(world, team)
        file = tmp_path / "devices.yml"
        file.write_text(SAMPLE.replace("NS", team.namespace))
        command = ("hub", "import", "--hub", hub, "-n", team.namespace, "--from-az", str(file))
        status, out, err = await edgeherd(world, *command)
        made = manifests(out, team)
        assert (status, sorted(made)) == (0, [f"{team.namespace}.device_{number}" for number in (1, 2)]), err
        await world.kubectl("create", "--dry-run=server", "-f", "-", stdin=out)
        file.write_text(SAMPLE.replace("NS", team.namespace).replace("hostname: device_2", "hostname: device-2-"))
        refused = await edgeherd(world, *command)
        assert (refused[0], sorted(manifests(refused[1], team))) == (1, [f"{team.namespace}.device_1"])
        assert f"refused by the API server: {team.namespace}.device_2: EdgeDevice" in refused[2]
        assert "spec.runtime.hostname" in refused[2]
        elsewhere = await edgeherd(world, "hub", "import", "--hub", hub, "-n", "absent", "--from-az", str(file))
        assert (elsewhere[0], elsewhere[1]) == (1, "")
        assert 'namespaces "absent" not found. The manifests were not validated; --no-validate writes' in elsewhere[2]
        unchecked = await edgeherd(world, *command, "--no-validate")
        assert (unchecked[0], sorted(manifests(unchecked[1], team))) == (0, sorted(made))


async def test_a_device_behind_a_jump_host_is_imported(world: World) -> None:
    """The manifest goes the same way. Without the keys of both hosts nobody logs in anywhere."""
    async with world.team() as team:
        hub = await adopting(world, team)
        gate, device = world.modern_device(), world.device()
        team.devices += [gate, device]
        device_id = f"{team.namespace}.inside"
        world.hub.store.put_device(device_id, EDGE, None)
        device.config_file.chmod(0o600)
        device.config_file.write_bytes(_with_secondary_key(world, device, device_id))
        device.config_file.chmod(0o400)
        command = ("device", "import", device.host, "--port", str(device.port), "--hub", hub, "-n", team.namespace)
        command = (*command, "--ssh-user", device.user, "--ssh-secret", "ssh")
        command = (*command, "--jump-host", gate.host, "--jump-port", str(gate.port))
        both = ("--host-key", host_key(device), "--jump-host-key", host_key(gate))
        for keys in ((), both[:2], both[2:]):
            status, out, err = await edgeherd(world, *command, *keys)
            assert (status, out, "No host key is pinned" in err) == (1, "", True), err
        status, out, err = await edgeherd(world, *command, *both)
        assert status == 0, err
        assert config.plain_yaml(out.removeprefix("---\n"))["spec"]["ssh"] == {
            **_ssh(device),
            "jumpHost": _ssh(gate),
        }
        assert device.restarts == 0


def host_key(device: Device) -> str:
    """Its public host key, without a comment."""
    return " ".join(str(device.facts()["hostKey"]).split()[:2])


def _ssh(device: Device) -> dict[str, Any]:
    return {
        "host": device.host,
        "port": device.port,
        "user": "edgeops",
        "credentialsSecretRef": {"name": "ssh"},
        "hostKeys": [host_key(device)],
    }


def _with_secondary_key(world: World, device: Device, device_id: str) -> bytes:
    """The file of a device that somebody set up by hand, with a remark."""
    key = world.hub.store.device(device_id).authentication.secondary_key
    string = f"HostName={world.hub.host_name};DeviceId={device_id};SharedAccessKey={key}"
    wanted = config.Wanted(connection_string=string, hostname="by-hand")
    edit = config.edit(device.config_file.read_bytes(), wanted, version=config.Version.parse("1.1.15"))
    return edit.content + b"\n# mine\n"


def _in_parts(world: World, device_id: str) -> bytes:
    """As az writes it."""
    key = world.hub.store.device(device_id).authentication.secondary_key
    return (
        f'hostname = "by-hand"\nauto_reprovisioning_mode = "Dynamic"\n\n[provisioning]\nsource = "manual"\n'
        f'iothub_hostname = "{world.hub.host_name}"\ndevice_id = "{device_id}"\n\n[provisioning.authentication]\n'
        f'method = "sas"\ndevice_id_pk = {{ value = "{key}" }}\n'
    ).encode()


@pytest.mark.parametrize(
    "modern", [pytest.param(False, id="config.yaml"), pytest.param(True, id="config.toml in parts")]
)
async def test_a_device_is_imported_and_stays_as_it_is(world: World, modern: bool) -> None:
    """Its file, its daemon and its identity are not touched, though it uses the secondary key."""
    async with world.team() as team:
        hub = await adopting(world, team)
        device = world.modern_device() if modern else world.device()
        team.devices.append(device)
        device_id = f"{team.namespace}.by-hand"
        world.hub.store.put_device(device_id, EDGE, None)
        content = _in_parts(world, device_id) if modern else _with_secondary_key(world, device, device_id)
        if device.config_file.exists():
            device.config_file.chmod(0o600)
        device.config_file.write_bytes(content)
        device.config_file.chmod(0o600 if modern else 0o400)
        how = "sudo -n iotedge config apply" if modern else "sudo -n systemctl restart iotedge"
        assert (await processes.finished("/bin/sh", "-c", how, env=device.environment)).returncode == 0
        await until(lambda: [module.status for module in device.modules] == ["running"])
        before, restarts = identities(world, team), device.restarts

        command = ("device", "import", device.host, "--port", str(device.port), "--hub", hub, "-n", team.namespace)
        command = (*command, "--ssh-user", device.user, "--ssh-secret", "ssh")
        status, _, err = await edgeherd(world, *command)
        key = host_key(device)
        assert (status, f"run this again with --host-key '{key}'" in err) == (1, True), err
        status, out, err = await edgeherd(world, *command, "--host-key", key)
        assert (status, err) == (0, "")
        again = await edgeherd(world, *command, "--accept-new-host-key")
        assert (again[0], again[1], "it is pinned" in again[2]) == (0, out, True)
        body = config.plain_yaml(out.removeprefix("---\n"))
        assert body["spec"] == {
            "hubRef": {"name": hub},
            "deviceId": device_id,
            "adoptionPolicy": "IfExists",
            "identity": {"keyInUse": "Secondary"},
            "ssh": _ssh(device),
        }
        managed = await team.apply(body)
        await managed.until(is_ready)
        assert (device.config_file.read_bytes(), device.restarts) == (content, restarts)
        assert identities(world, team) == before
        taken = await edgeherd(world, *command, "--host-key", key)
        assert (taken[0], taken[1]) == (1, "")
        assert f"EdgeDevice '{team.namespace}/{managed.name}' manages '{device_id}' already" in taken[2]
