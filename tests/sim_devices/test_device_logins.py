"""Other ways in than by key: passwords, through another device, and by IPv6."""

import asyncio
import json
import pathlib
import socket
import sys

import asyncssh
import pytest
from device_lab import AZIOT, PACE, ScriptedHub

import processes
from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.server import Fleet, serve

PASSWORD = "correct horse"


async def _connect(device: Device, **options: object) -> asyncssh.SSHClientConnection:
    """A client that has a password only, unless the options say something else."""
    options = {"username": device.user, "password": PASSWORD, "client_keys": None, **options}
    known = ([asyncssh.import_public_key(device.host_key)], [], [])
    return await asyncssh.connect(device.host, device.port, known_hosts=known, config=None, agent_path=None, **options)


def _key(fleet: Fleet) -> dict[str, object]:
    return {"client_keys": [asyncssh.import_private_key(fleet.private_key)], "password": None}


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
async def test_a_password_opens_by_both_methods(hub: ScriptedHub, method: str) -> None:
    """And the key still does."""
    async with serve(hub=hub, pace=PACE, password=PASSWORD) as fleet:
        device = fleet.devices[0]
        for options in ({"preferred_auth": method}, {"preferred_auth": "publickey", **_key(fleet)}):
            async with await _connect(device, **options) as connection:
                assert (await connection.run("echo in")).stdout == "in\n"


@pytest.mark.parametrize(
    ("password", "options"),
    [
        pytest.param(PASSWORD, {"password": "wrong"}, id="a wrong password"),
        pytest.param(PASSWORD, {"username": "root"}, id="another user"),
        pytest.param(None, {}, id="a fleet without a password"),
        pytest.param("", {"password": "x"}, id="an empty one"),
    ],
)
@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
async def test_no_other_password_does(
    hub: ScriptedHub, method: str, password: str | None, options: dict[str, object]
) -> None:
    """The login is refused, whatever was wrong."""
    async with serve(hub=hub, pace=PACE, password=password) as fleet:
        with pytest.raises(asyncssh.PermissionDenied):
            await _connect(fleet.devices[0], preferred_auth=method, **options)


async def test_a_device_leads_to_another_one(hub: ScriptedHub) -> None:
    """As with `ssh -J`: the second connection runs in a channel of the first."""
    async with serve(count=2, hub=hub, pace=PACE, forwarding=True) as fleet:
        first, second = fleet.devices
        async with (
            await _connect(first, **_key(fleet)) as jump,
            await _connect(second, tunnel=jump, **_key(fleet)) as connection,
        ):
            assert (await connection.run("cat $EDGEHERD_DEVICE_ROOT/etc/hostname")).stdout == "press-02\n"
        async with await _connect(first, **_key(fleet)) as jump:
            with pytest.raises(asyncssh.ChannelOpenError):
                await jump.open_connection("127.0.0.1", 1)


async def test_without_forwarding_no_device_leads_anywhere(hub: ScriptedHub) -> None:
    """The default: the channel is refused."""
    async with serve(count=2, hub=hub, pace=PACE) as fleet:
        first, second = fleet.devices
        async with await _connect(first, **_key(fleet)) as jump:
            with pytest.raises(asyncssh.ChannelOpenError):
                await jump.open_connection(second.host, second.port)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="the machine has no IPv6")
async def test_devices_by_ipv6(hub: ScriptedHub) -> None:
    """Each on its own port, and a fault closes and opens the same one."""
    async with serve(count=2, hub=hub, pace=PACE, bind="::1") as fleet:
        device = fleet.devices[1]
        assert (device.host, device.facts()["host"]) == ("::1", "::1")
        device.faults.refuse_connections()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await _connect(device, **_key(fleet))
        device.faults.clear()
        async with await _connect(device, **_key(fleet)) as connection:
            assert (await connection.run("id -un")).stdout == "edgeops\n"


async def test_the_command_opens_these_ways_too(tmp_path: pathlib.Path) -> None:
    """The password is the first line of a file; a device of 1.5 leads on to itself."""
    (tmp_path / "password").write_text(f"{PASSWORD}\nnot this\n")
    command = [sys.executable, "-m", "edgeherd", "sim", "devices", "--output", "json", "--runtime-version", AZIOT]
    command += ["--bind", "127.0.0.1", "--password-file", str(tmp_path / "password"), "--allow-tcp-forwarding"]
    async with processes.started(*command) as process:
        assert process.stdout is not None
        facts = json.loads(await asyncio.wait_for(process.stdout.readline(), processes.SECONDS))["devices"][0]
        options = {"username": facts["user"], "password": PASSWORD, "client_keys": None, "config": None}
        options |= {"known_hosts": ([asyncssh.import_public_key(facts["hostKey"])], [], []), "agent_path": None}
        async with (
            asyncssh.connect(facts["host"], facts["port"], **options) as jump,
            asyncssh.connect(facts["host"], facts["port"], tunnel=jump, **options) as connection,
        ):
            assert (await connection.run("iotedge version")).stdout == f"iotedge {AZIOT}\n"
        process.terminate()
        assert await asyncio.wait_for(process.wait(), processes.SECONDS) == 0
