"""The devices' SSH server, as a client meets it: the operator's own adapter, and asyncssh for what that never does."""

import asyncio
import dataclasses
import hashlib
import json
import pathlib
import signal
import sys
import time
from contextlib import AbstractAsyncContextManager

import asyncssh
import pytest
from device_lab import PACE, PLACEHOLDER, STRING, ScriptedHub, provision

import processes
from edgeherd.device import scripts
from edgeherd.device.port import (
    Action,
    Change,
    HostKeyMismatchError,
    Limits,
    Login,
    LoginRefusedError,
    Query,
    Result,
    SudoRefusedError,
    UnreachableError,
)
from edgeherd.device.ssh import SshConnector, connector
from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.hubdoor import https_hub
from edgeherd_sim.devices.server import Fleet, serve
from edgeherd_sim.hub.server import serve as serve_hub
from edgeherd_sim.memory import run_here
from waiting import until

LOOPBACK = Limits(networks=("127.0.0.0/8",))


def change(before: bytes, content: bytes) -> Change:
    """New settings, and a restart."""
    return Change(
        path="/etc/iotedge/config.yaml",
        before=hashlib.sha256(before).hexdigest(),
        content=content,
        unit="iotedge.service",
        action=Action.RESTART,
    )


def login(fleet: Fleet, device: Device | None = None, *, user: str | None = None, host_key: str | None = None) -> Login:
    """How the operator logs in at a device of the fleet."""
    device = device or fleet.devices[0]
    return Login(
        host=device.host,
        port=device.port,
        user=user or device.user,
        private_key=fleet.private_key,
        host_keys=(host_key or device.host_key,),
        limits=LOOPBACK,
    )


def client(fleet: Fleet) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
    """A client without the operator's manners."""
    device = fleet.devices[0]
    return asyncssh.connect(
        device.host,
        device.port,
        username=device.user,
        client_keys=[asyncssh.import_private_key(fleet.private_key)],
        known_hosts=([asyncssh.import_public_key(device.host_key)], [], []),
        config=None,
        agent_path=None,
    )


async def test_the_operators_adapter_provisions_a_device(fleet: Fleet, device: Device) -> None:
    """Observe, apply, observe: the file is new and as closed as before, the daemon was started once, edgeAgent runs."""
    async with SshConnector(run_here).connect(login(fleet)) as session:
        before = await session.observe(Query())
        assert (before.version, before.kind, before.unit.exec_main_status, before.modules) == (
            "1.0.10",
            "file",
            153,
            (),
        )
        assert before.content is not None
        content = before.content.replace(PLACEHOLDER, STRING.encode())
        assert await session.apply(change(before.content, content)) is Result.APPLIED
        await until(lambda: device.modules != ())
        after = await session.observe(Query())
    assert (after.content, after.mode, after.unit.active_state) == (content, before.mode, "active")
    assert [(module.name, module.status) for module in after.modules] == [("edgeAgent", "running")]
    assert device.restarts == 1


async def test_only_the_right_user_and_key_get_in(fleet: Fleet) -> None:
    """Another user with the right key and the right user with another key are refused alike."""
    with pytest.raises(LoginRefusedError):
        async with SshConnector(run_here).connect(login(fleet, user="root")):
            pass
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh")
    device = fleet.devices[0]
    wrong = dataclasses.replace(login(fleet, device), private_key=stranger)
    with pytest.raises(LoginRefusedError):
        async with SshConnector(run_here).connect(wrong):
            pass


async def test_each_device_has_its_own_address_host_key_and_files(hub: ScriptedHub) -> None:
    """Nothing is shared but the client key."""
    async with serve(count=3, hub=hub, pace=PACE) as fleet:
        assert [(device.name, device.host) for device in fleet.devices] == [
            ("press-01", "127.0.0.11"),
            ("press-02", "127.0.0.12"),
            ("press-03", "127.0.0.13"),
        ]
        assert len({device.host_key for device in fleet.devices}) == 3
        assert len({device.root for device in fleet.devices}) == 3
        with pytest.raises(HostKeyMismatchError):
            async with SshConnector(run_here).connect(login(fleet, host_key=fleet.devices[1].host_key)):
                pass


async def test_all_devices_can_be_on_one_address(hub: ScriptedHub) -> None:
    """Then each has its own port."""
    async with serve(count=3, hub=hub, pace=PACE, bind="127.0.0.1") as fleet:
        assert {device.host for device in fleet.devices} == {"127.0.0.1"}
        assert len({device.port for device in fleet.devices}) == 3


async def test_a_command_runs_in_a_real_shell_with_real_status(fleet: Fleet, device: Device) -> None:
    """Output, complaints, status, standard input, home and environment are those of `sh -c`."""
    async with client(fleet) as connection:
        said = await connection.run('read -r x; echo "$x $PWD"; echo no >&2; exit 3', input="yes\n")
        killed = await connection.run("kill -TERM $$")
        typed = await connection.run(input="echo $EDGEHERD_DEVICE_ROOT\n")
    assert (said.exit_status, said.stdout, said.stderr) == (3, f"yes {device.root}/home/edgeops\n", "no\n")
    assert killed.exit_signal is not None
    assert killed.exit_signal[0] == "TERM"
    assert typed.stdout == f"{device.root}\n"


async def test_a_client_that_goes_away_does_not_kill_its_command(fleet: Fleet, device: Device) -> None:
    """As with OpenSSH: the pipes are closed, and a command that does not care goes on."""
    async with client(fleet) as connection:
        await connection.create_process("trap '' PIPE HUP; read -r x; echo lost; sleep 0.1; touch \"$HOME/done\"")
        await asyncio.sleep(0.1)
        connection.abort()
    await until((device.root / "home/edgeops/done").exists)


async def test_a_command_that_talks_to_nobody_gets_sigpipe(fleet: Fleet, device: Device) -> None:
    """As with OpenSSH: an endless talker ends with its client."""
    pid_file = device.root / "home/edgeops/pid"
    async with client(fleet) as connection:
        await connection.create_process('echo $$ > "$HOME/pid"; exec yes')
        await until(lambda: pid_file.exists() and pid_file.read_text() != "")
        connection.abort()
    pid = int(pid_file.read_text())
    await until(lambda: not pathlib.Path(f"/proc/{pid}").exists())


async def test_files_outlive_the_simulator(tmp_path: pathlib.Path, hub: ScriptedHub) -> None:
    """With --root the same devices come back: keys, settings, containers, and no restart is counted."""
    async with serve(root=tmp_path, hub=hub, pace=PACE) as fleet:
        first = fleet.devices[0]
        provision(first)
        await first.daemon.systemctl("restart")
        await until(lambda: first.modules != ())
        content, key, host_key = first.config_file.read_bytes(), fleet.private_key, first.host_key
    asked = len(hub.asked)
    async with serve(root=tmp_path, hub=hub, pace=PACE) as fleet:
        again = fleet.devices[0]
        await until(lambda: [module.status for module in again.modules] == ["running"])
        assert (again.config_file.read_bytes(), fleet.private_key, again.host_key) == (content, key, host_key)
        assert (again.restarts, len(hub.asked)) == (0, asked)
    assert fleet.private_key_file.stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("name", ["slow", "dead", "refuse", "sudo"])
async def test_a_fault_shows_and_goes_away(
    fleet: Fleet, device: Device, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these the operator's adapter reports in its own way; afterwards the device is as good as before."""
    if name == "dead":
        monkeypatch.setattr(connector, "CONNECT_SECONDS", 0.2)
        monkeypatch.setattr(connector, "LOGIN_SECONDS", 0.2)
    if name == "slow":
        patient = scripts.observe(Query())
        monkeypatch.setattr(scripts, "observe", lambda _: dataclasses.replace(patient, seconds=0.3))
    faults = device.faults
    turn, error = {
        "slow": (lambda: faults.slow(5), UnreachableError),
        "dead": (faults.dead, UnreachableError),
        "refuse": (faults.refuse_connections, UnreachableError),
        "sudo": (faults.sudo_refuses, SudoRefusedError),
    }[name]
    turn()
    with pytest.raises(error):
        async with SshConnector(run_here).connect(login(fleet)) as session:
            await session.observe(Query())
    faults.clear()
    monkeypatch.undo()
    async with SshConnector(run_here).connect(login(fleet)) as session:
        assert (await session.observe(Query())).kind == "file"


@pytest.mark.parametrize("after", [0, 1, 200, 5000, 6400, 12_000])
async def test_a_reset_mid_transfer_leaves_the_old_file(fleet: Fleet, device: Device, after: int) -> None:
    """Wherever the connection breaks, nothing was written, nothing lies around and nothing was restarted."""
    old = device.config_file.read_bytes()
    device.faults.reset_mid_transfer(after)
    with pytest.raises(UnreachableError):
        async with SshConnector(run_here).connect(login(fleet)) as session:
            await session.apply(change(old, old + b"# new\n" * 500))
    device.faults.clear()
    folder = device.config_file.parent
    await until(lambda: [entry.name for entry in folder.iterdir()] == ["config.yaml"])
    assert (device.config_file.read_bytes(), device.restarts) == (old, 0)


async def test_a_full_disk_leaves_the_old_file(fleet: Fleet, device: Device) -> None:
    """The adapter says that it could not be written; nothing lies around."""
    old = device.config_file.read_bytes()
    device.faults.disk_full()
    async with SshConnector(run_here).connect(login(fleet)) as session:
        result = await session.apply(change(old, old + b"# new\n"))
    assert result is Result.FULL
    assert [entry.name for entry in device.config_file.parent.iterdir()] == ["config.yaml"]
    assert (device.config_file.read_bytes(), device.restarts) == (old, 0)


async def test_an_unreadable_file_is_a_file_without_content(fleet: Fleet, device: Device) -> None:
    """Not an empty file, for root and for everybody else: an empty one could be edited."""
    device.faults.unreadable_file()
    async with SshConnector(run_here).connect(login(fleet)) as session:
        facts = await session.observe(Query())
    assert (facts.kind, facts.content) == ("file", None)
    device.faults.clear()
    assert device.config_file.stat().st_mode & 0o7777 == 0o400


async def test_a_wrong_mode_keeps_the_daemon_from_its_settings(device: Device) -> None:
    """The daemon is no root, whoever runs the simulator."""
    provision(device)
    device.faults.wrong_mode(0o200)
    await device.daemon.systemctl("restart")
    await until(lambda: device.daemon.unit.status == 153)
    assert any("Permission denied" in line for line in device.journal)


async def test_an_image_that_cannot_be_pulled_keeps_edge_agent_away(device: Device, hub: ScriptedHub) -> None:
    """The hub accepted the device, and still the list is empty."""
    provision(device)
    device.faults.agent_never_comes()
    await device.daemon.systemctl("restart")
    await until(lambda: len(hub.asked) >= 2)
    assert device.modules == ()
    device.faults.clear()
    await until(lambda: device.modules != ())


async def test_the_hub_emulator_decides_about_real_tokens() -> None:
    """Over TLS, with the device's own signature: unknown, wrong key, disabled, and at last accepted."""
    async with (
        serve_hub() as hub,
        https_hub(ca_file=pathlib.Path(hub.ca_file), port=hub.port) as door,
        serve(hub=door, pace=PACE) as fleet,
    ):
        device = fleet.devices[0]
        hub.store.put_device("press-01", {"deviceId": "press-01", "capabilities": {"iotEdge": True}}, None)
        key = hub.store.device("press-01").authentication.primary_key
        provision(device, f"HostName=localhost;DeviceId=press-01;SharedAccessKey={key}")
        hub.store.set_status("press-01", "disabled")
        await device.daemon.systemctl("restart")
        await until(lambda: any("401 Unauthorized" in line for line in device.journal))
        assert device.modules == ()
        hub.store.set_status("press-01", "enabled")
        await until(lambda: device.modules != ())
        assert all(key not in line for line in device.journal)


async def test_nobody_at_the_hubs_address_is_no_acceptance(tmp_path: pathlib.Path) -> None:
    """The daemon goes on trying and says that it could not make its request."""
    del tmp_path
    async with https_hub(port=1, address="127.0.0.1") as door, serve(hub=door, pace=PACE) as fleet:
        provision(fleet.devices[0])
        await fleet.devices[0].daemon.systemctl("restart")
        await until(
            lambda: any("error trying to connect: tcp connect error" in line for line in fleet.devices[0].journal)
        )
        assert fleet.devices[0].modules == ()


async def test_hundreds_of_devices_share_one_process(hub: ScriptedHub) -> None:
    """One listener each and no process: what is idle costs nothing."""
    async with serve(count=100, hub=hub, pace=PACE) as fleet:
        await until(lambda: all(device.daemon.unit.active == "failed" for device in fleet.devices))
        before = time.process_time()
        await asyncio.sleep(0.3)
        assert time.process_time() - before < 0.1
        assert len({device.host for device in fleet.devices}) == 100
        async with SshConnector(run_here).connect(login(fleet, fleet.devices[-1])) as session:
            assert (await session.observe(Query())).kind == "file"


async def test_the_command_says_where_it_listens_and_ends_on_sigterm(tmp_path: pathlib.Path) -> None:
    """One line of JSON, a key that works, status 0, and the files stay because --root was given."""
    command = [sys.executable, "-m", "edgeherd", "sim", "devices", "--count", "2", "--output", "json"]
    async with processes.started(*command, "--root", tmp_path, "--bind", "127.0.0.1") as process:
        assert process.stdout is not None
        facts = json.loads(await asyncio.wait_for(process.stdout.readline(), processes.SECONDS))
        assert [sorted(device) for device in facts["devices"]] == [
            ["host", "hostKey", "name", "port", "root", "user"],
            ["host", "hostKey", "name", "port", "root", "user"],
        ]
        assert facts["privateKeyFile"] == str(tmp_path / "edgeops_ed25519")
        second = facts["devices"][1]
        found = Login(
            host=second["host"],
            port=second["port"],
            user=second["user"],
            private_key=(tmp_path / "edgeops_ed25519").read_bytes(),
            host_keys=(second["hostKey"],),
            limits=LOOPBACK,
        )
        async with SshConnector(run_here).connect(found) as session:
            assert (await session.observe(Query())).version == "1.0.10"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), processes.SECONDS) == 0
        assert sorted(entry.name for entry in (tmp_path / "press-02").iterdir()) == ["etc", "home", "sim", "usr", "var"]
