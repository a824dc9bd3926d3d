"""What can be wrong with a device: how each fault shows, and that it goes away."""

import pathlib
import shutil
import time

import asyncssh
import pytest
from device_lab import (
    ScriptedHub,
    apply,
    on,
    restart,
    status_of,
)

from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.faults import Line
from edgeherd_sim.devices.server import Fleet
from edgeherd_sim.devices.shell import arguments
from waiting import until

RUNNING = [("edgeAgent", "running")]


def _said(device: Device, text: str) -> bool:
    return any(text in line for line in device.journal)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        pytest.param("no_network", "failed to lookup address information", id="the hub's name cannot be resolved"),
        pytest.param("image_pull_fails", "manifest unknown", id="there is no such image"),
        pytest.param("agent_never_comes", "manifest unknown", id="the same by its old name"),
    ],
)
async def test_what_keeps_edge_agent_away(fresh: Device, hub: ScriptedHub, fault: str, text: str) -> None:
    """The unit is active, the list is empty, the journal says why again and again; it fixes itself afterwards."""
    getattr(fresh.faults, fault)()
    await restart(fresh)
    await until(lambda: sum(text in line for line in fresh.journal) >= 2)
    assert (fresh.daemon.unit.active, fresh.modules) == ("active", ())
    assert bool(hub.asked) == (fault != "no_network")
    fresh.faults.clear()
    await until(lambda: status_of(fresh) == RUNNING)


async def test_an_engine_that_is_down_takes_the_containers_with_it(running: Device) -> None:
    """docker.service failed, `iotedge list` does, the journal says that the socket refuses; both come back."""
    running.faults.engine_down()
    await until(lambda: _said(running, "Connection refused (os error 111)"))
    assert status_of(running) == [("edgeAgent", "stopped")]
    shown = await on(running, "systemctl show docker -p Id -p ActiveState --value; sudo -n iotedge list")
    assert shown.output == "docker.service\nfailed\n"
    assert shown.errors.startswith("A module runtime error occurred\n\tcaused by: ")
    running.faults.clear()
    await until(lambda: status_of(running) == RUNNING)
    assert (await on(running, "systemctl is-active docker; sudo -n iotedge list")).status == 0


async def test_a_restart_of_the_engine_stops_the_containers_for_a_while(running: Device) -> None:
    """The watchdog starts them again; the daemon itself was not restarted."""
    before = running.restarts
    assert (await on(running, "sudo -n systemctl restart docker")).status == 0
    await until(lambda: any("Edge runtime status is stopped" in line for line in running.journal))
    await until(lambda: status_of(running) == RUNNING)
    assert running.restarts == before


async def test_no_daemon_starts_without_its_engine(running: Device) -> None:
    """It ends with status 1, and systemd tries again."""
    running.faults.engine_down()
    await running.daemon.systemctl("restart")
    await until(lambda: running.daemon.unit.restarts >= 2)
    assert _said(running, "nitialize module runtime")
    running.faults.clear()
    if running.daemon.unit.active == "failed":
        await running.daemon.systemctl("restart")
    await until(lambda: status_of(running) == RUNNING)


async def test_a_crash_loop_has_no_end(fresh: Device) -> None:
    """Status 1 again and again; between two tries the unit is `activating`."""
    fresh.faults.crash_loop()
    await restart(fresh)
    seen = set()

    def looked() -> bool:
        unit = fresh.daemon.unit
        seen.add((unit.active, unit.sub, unit.status))
        return unit.restarts > 8

    await until(looked)
    assert ("activating", "auto-restart", 1) in seen
    assert not any(active == "failed" for active, _, _ in seen)
    assert fresh.restarts == 1
    fresh.faults.clear()
    await until(lambda: status_of(fresh) == RUNNING)


@pytest.mark.parametrize("status", ["stopped", "failed"])
async def test_an_agent_that_does_not_stay(running: Device, status: str) -> None:
    """The container is there and does not run; the watchdog starts it in vain until the fault is gone."""
    running.faults.agent_stopped(status)
    assert status_of(running) == [("edgeAgent", status)]
    await until(lambda: sum(f"Edge runtime status is {status}" in line for line in running.journal) >= 2)
    listed = (await on(running, "sudo -n iotedge list")).output.splitlines()[1].split()
    assert listed[:2] == ["edgeAgent", status]
    running.faults.clear()
    await until(lambda: status_of(running) == RUNNING)


async def test_a_disk_that_is_read_only(fresh: Device) -> None:
    """The programs mktemp and mkdir say so, and `iotedge config apply` does."""
    fresh.faults.read_only()
    answer = await on(fresh, 'mktemp "$EDGEHERD_DEVICE_ROOT/etc/.x.XXXXXX"')
    assert (answer.status, answer.output) == (1, "")
    assert answer.errors.startswith("mktemp: failed to create file via template '")
    assert answer.errors.endswith("/etc/.x.XXXXXX': Read-only file system\n")
    assert "Read-only file system" in (await on(fresh, 'mkdir -p "$EDGEHERD_DEVICE_ROOT/etc/new"')).errors
    assert (await on(fresh, 'mkdir -p "$EDGEHERD_DEVICE_ROOT/etc"')).status == 0
    if fresh.template_file.exists():
        applied = await apply(fresh)
        assert (applied.status, applied.output) == (1, "")
        assert applied.errors.endswith("Read-only file system (os error 30)\n")
    fresh.faults.clear()
    assert (await on(fresh, 'mktemp "$EDGEHERD_DEVICE_ROOT/etc/.x.XXXXXX"')).status == 0


@pytest.mark.parametrize("program", ["head -c 100", "cat"])
async def test_settings_that_cannot_be_read(fresh: Device, program: str) -> None:
    """By any program that is usual for it; other files can."""
    command = f'{program} "$EDGEHERD_DEVICE_ROOT/{fresh.config_file.relative_to(fresh.root)}"'
    fresh.faults.unreadable_file()
    answer = await on(fresh, command)
    assert (answer.status, answer.output) == (1, "")
    assert (await on(fresh, f'{program} "$EDGEHERD_DEVICE_ROOT/etc/hostname"')).output == "press-01\n"
    fresh.faults.clear()
    assert (await on(fresh, command)).output != ""


async def test_a_folder_that_is_a_link(running: Device) -> None:
    """The files are where the link leads, and the daemon does not mind."""
    content = running.config_file.read_bytes()
    folder = running.config_file.parent
    running.faults.symlinked_folder()
    assert (folder.is_symlink(), folder.readlink()) == (True, pathlib.Path(f"../srv/{folder.name}"))
    assert running.config_file.read_bytes() == content
    await restart(running)
    await until(lambda: status_of(running) == RUNNING)
    running.faults.clear()
    assert (folder.is_symlink(), running.config_file.read_bytes()) == (False, content)
    assert not (running.root / "srv").exists()


async def _is_off_by(device: Device, seconds: int) -> bool:
    before = int(time.time())
    shown = int((await on(device, "date +%s")).output)
    return before <= shown - seconds <= time.time()


@pytest.mark.parametrize("seconds", [-86400, 3600])
async def test_a_clock_that_is_wrong(running: Device, seconds: int) -> None:
    """`date` shows it, and the journal; `iotedge list` counts by the same clock."""
    running.faults.clock_skew(seconds)
    assert await _is_off_by(running, seconds)
    assert (await on(running, "date -u -d @0 +%Y")).output == "1970\n"
    assert "second" in (await on(running, "sudo -n iotedge list")).output
    running.faults.clear()
    assert await _is_off_by(running, 0)


async def test_tokens_of_a_clock_that_is_behind_are_refused(fresh: Device, hub: ScriptedHub) -> None:
    """They have expired before they are made; the hub's answer is all that shows."""
    fresh.faults.clock_skew(-7200)
    await restart(fresh)
    await until(lambda: _said(fresh, "IotHubUnauthorizedAccess"))
    assert (hub.asked, fresh.modules) == ([], ())
    fresh.faults.clear()
    await until(lambda: status_of(fresh) == RUNNING)


async def _run(fleet: Fleet, command: str, **options: object) -> asyncssh.SSHCompletedProcess:
    device = fleet.devices[0]
    known = ([asyncssh.import_public_key(device.host_key)], [], [])
    key = asyncssh.import_private_key(fleet.private_key)
    async with asyncssh.connect(
        device.host, device.port, username=device.user, client_keys=[key], known_hosts=known, config=None, encoding=None
    ) as connection:
        return await connection.run(command, **options)


async def test_a_shell_that_says_nothing(fleet: Fleet, device: Device) -> None:
    """Status 0, no output, and nothing was done."""
    device.faults.mute()
    result = await _run(fleet, "touch here; echo loud", input=b"x" * 100_000)
    assert (result.exit_status, result.stdout, result.stderr) == (0, b"", b"")
    assert not (device.root / "home/edgeops/here").exists()
    device.faults.clear()
    assert (await _run(fleet, "echo loud")).stdout == b"loud\n"


async def test_a_shell_that_says_too_much(fleet: Fleet, device: Device) -> None:
    """Several KB before and after what the command says; status and standard input are the command's."""
    device.faults.noisy()
    result = await _run(fleet, "exec sh -c 'cat; exit 7'", input=b"mine\n")
    assert result.exit_status == 7
    before, found, after = result.stdout.partition(b"mine\n")
    assert (found, len(before), before) == (b"mine\n", len(after), after)
    assert len(before) > 4096
    assert b"0123456789abcdef version\n" in before
    with pytest.raises(UnicodeDecodeError):
        before.decode()
    device.faults.clear()
    assert (await _run(fleet, "echo mine")).stdout == b"mine\n"


SHELL = f"{pathlib.Path('/bin/sh').resolve()}\n".encode()
"""Which it is differs from machine to machine."""


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox is not installed")
@pytest.mark.parametrize("noisy", [False, True])
async def test_another_shell(fleet: Fleet, device: Device, noisy: bool) -> None:
    """Busybox says what it is; noise goes with it."""
    device.faults.odd_shell("busybox sh")
    device.faults.noisy(noisy)
    result = await _run(fleet, "readlink /proc/$$/exe; :")
    assert (b"/busybox\n" in result.stdout, len(result.stdout) > 100) == (True, noisy)
    device.faults.clear()
    assert (await _run(fleet, "readlink /proc/$$/exe; :")).stdout == SHELL


def test_a_healthy_line_changes_no_command() -> None:
    """As sshd does it: the shell, -c, and the command as it came."""
    assert arguments(Line(), "exec true") == [b"/bin/sh", b"-c", b"exec true"]
    assert arguments(Line(), None) == [b"/bin/sh"]


async def test_clear_turns_every_knob_back(running: Device) -> None:
    """All at once, and the device is as good as before."""
    files = sorted(path.relative_to(running.root) for path in running.root.rglob("*"))
    faults = running.faults
    for turn in (
        lambda: faults.slow(1),
        faults.dead,
        faults.refuse_connections,
        faults.reset_mid_transfer,
        faults.mute,
        faults.noisy,
        faults.odd_shell,
        faults.sudo_refuses,
        faults.disk_full,
        faults.read_only,
        faults.unreadable_file,
        faults.symlinked_folder,
        lambda: faults.clock_skew(99),
        faults.daemon_refuses,
        lambda: faults.dislikes(b"SharedAccessKey"),
        faults.crash_loop,
        faults.apply_lies,
        faults.no_network,
        faults.image_pull_fails,
        faults.agent_stopped,
        faults.engine_down,
    ):
        turn()
    faults.clear()
    faults.clear()
    assert faults.line == Line()
    await until(lambda: status_of(running) == RUNNING)
    assert sorted(path.relative_to(running.root) for path in running.root.rglob("*")) == files
    await restart(running)
    await until(lambda: running.daemon.settings is not None and status_of(running) == RUNNING)
