"""What a session does and how it ends, at OpenSSH's own sshd in front of a simulated device."""

import asyncio
import hashlib
import os
import shlex
import stat

import pytest
from sshd_lab import LOOPBACK, PATH, Sshd, StartSshd, look

from edgeherd.device import scripts
from edgeherd.device.facts import Facts
from edgeherd.device.port import (
    Action,
    AddressNotAllowedError,
    Change,
    DeviceError,
    Limits,
    OddAnswerError,
    Query,
    Result,
    SudoRefusedError,
    UnreachableError,
)
from edgeherd.device.remote_command import RemoteCommand
from edgeherd.device.ssh import SshConnector, session
from edgeherd_sim.devices.device import Device
from edgeherd_sim.memory import run_here
from waiting import until


def configured(before: Facts) -> bytes:
    """Settings that the daemon takes."""
    assert before.content is not None
    string = b"HostName=plant.azure-devices.net;DeviceId=press-01;SharedAccessKey=" + b"k" * 43 + b"="
    return before.content.replace(b"<ADD DEVICE CONNECTION STRING HERE>", string)


def change(before: Facts, content: bytes) -> Change:
    """The daemon's file gets other content."""
    return Change(path=PATH, before=before.sha256, content=content, unit="iotedge.service", action=Action.RESTART)


def instead(monkeypatch: pytest.MonkeyPatch, script: str, seconds: float = 20) -> None:
    """The device runs another script than the one that looks."""
    command = RemoteCommand(command=f"exec /bin/sh -c {shlex.quote(script)}", lines=(), seconds=seconds)
    monkeypatch.setattr(scripts, "observe", lambda _: command)


async def test_apply_goes_through_sudo_and_the_real_sshd(sshd: Sshd, device: Device) -> None:
    """Compare-and-swap, mode kept, one restart; a second try with the old hash changes nothing."""
    async with SshConnector(run_here).connect(sshd.login()) as door:
        before = await door.observe(Query(path=PATH))
        content = configured(before) + (b"# " + b"a remark " * 120 + b"\n") * 200
        assert await door.apply(change(before, content)) is Result.APPLIED
        assert await door.apply(change(before, b"late")) is Result.CHANGED
        after = await door.observe(Query(path=PATH))
    assert (after.content, after.mode) == (content, before.mode)
    assert stat.S_IMODE(device.config_file.stat().st_mode) == 0o400
    assert device.config_file.stat().st_uid == os.geteuid()
    assert device.restarts == 1


async def test_a_symbolic_link_is_refused(sshd: Sshd, device: Device) -> None:
    """It is seen, not read, and not replaced."""
    real = device.config_file.rename(device.config_file.with_name("elsewhere.yaml"))
    device.config_file.symlink_to(real)
    async with SshConnector(run_here).connect(sshd.login()) as door:
        facts = await door.observe(Query(path=PATH))
        swap = Change(
            path=PATH,
            before=hashlib.sha256(real.read_bytes()).hexdigest(),
            content=b"new",
            unit="iotedge.service",
            action=Action.RESTART,
        )
        result = await door.apply(swap)
    assert (facts.kind, facts.content, result, device.restarts) == ("symlink", None, Result.CHANGED, 0)
    assert device.config_file.is_symlink()


async def test_sudo_that_asks_for_a_password_is_told_apart(
    sshd: Sshd, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nobody to type it."""
    device.faults.sudo_refuses()
    instead(monkeypatch, "exec sudo -n true")
    with pytest.raises(SudoRefusedError):
        await look(sshd.login())


async def test_a_line_break_in_a_parameter_is_never_sent(sshd: Sshd) -> None:
    """It would become another parameter."""
    async with SshConnector(run_here).connect(sshd.login()) as door:
        with pytest.raises(OddAnswerError, match="line break"):
            await door.observe(Query(path="/etc/iotedge/config.yaml\n/etc/shadow"))


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param("yes", OddAnswerError, id="endless output"),
        pytest.param("yes >&2", OddAnswerError, id="endless complaints"),
        pytest.param("yes | tr -d '\\n'", OddAnswerError, id="one endless line"),
        pytest.param("yes >&2 & yes", OddAnswerError, id="both at once"),
        pytest.param("exec sleep 600", UnreachableError, id="a script that never ends"),
        pytest.param("exec >&- 2>&-; exec sleep 600", UnreachableError, id="a script that closes all and never ends"),
        pytest.param("echo Welcome; exit 0", OddAnswerError, id="a shell that says something else"),
        pytest.param("exit 0", OddAnswerError, id="a shell that says nothing"),
        pytest.param("exec cat", OddAnswerError, id="a shell that repeats what it is told"),
        pytest.param("echo This account is currently not available.; exit 1", OddAnswerError, id="nologin"),
        pytest.param("kill -9 $$", OddAnswerError, id="a shell that is killed"),
        pytest.param("kill -9 $PPID; sleep 60", UnreachableError, id="a connection that breaks"),
        pytest.param("echo half of it; kill -9 $PPID; sleep 60", DeviceError, id="a connection that breaks half-way"),
    ],
)
async def test_a_device_cannot_hold_or_flood_the_operator(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch, script: str, error: type[DeviceError]
) -> None:
    """What it may say is capped, and so is its time; nothing of it is in the error, and it works again afterwards."""
    instead(monkeypatch, script, 1.0 if "sleep 600" in script else 20.0)
    monkeypatch.setattr(session, "OUTPUT_BYTES", 256 * 1024)
    async with asyncio.timeout(30):
        with pytest.raises(error) as caught:
            await look(sshd.login())
    assert not [word for word in ("Welcome", "available", "yyy", "half") if word in str(caught.value)]
    monkeypatch.undo()
    assert await look(sshd.login()) == "file"


FRAME = "IFS= read -r nonce; "
END = "printf '\\n%s kind\\nfile\\n%s end\\nok' $nonce $nonce"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(f"{FRAME}printf 'Welcome to Buildroot'; {END}", id="a banner without a line break"),
        pytest.param(f"echo Last login; {FRAME}{END}; echo Goodbye", id="noise before and after"),
        pytest.param(f"{FRAME}{END} | sed 's/$/\\r/'", id="CR LF"),
        pytest.param(f"{FRAME}printf '\\377\\376\\000'; {END}; printf '\\377\\000'", id="bytes that are no text"),
        pytest.param(f"{FRAME}{END}; exit 1", id="an exit status"),
        pytest.param(f"{FRAME}{END}; kill -9 $$", id="a shell that is killed after its answer"),
        pytest.param(f"echo sudo: unable to resolve host >&2; {FRAME}{END}", id="complaints"),
        pytest.param(f"printf '\\n0123 kind\\nodd\\n0123 end\\n'; {FRAME}{END}", id="somebody else's frame"),
    ],
)
async def test_noise_does_not_hide_an_answer(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Only what is between lines with the nonce counts."""
    instead(monkeypatch, script)
    assert await look(sshd.login()) == "file"


async def test_a_shell_that_takes_no_input_is_heard_all_the_same(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """As sudo does that refuses at once: what it said counts, not that our parameters had nobody to read them."""
    command = RemoteCommand(command="exec 0<&-; echo sudo: no >&2; exit 1", lines=("x" * 3_000_000,), seconds=20)
    monkeypatch.setattr(scripts, "observe", lambda _: command)
    with pytest.raises(SudoRefusedError):
        await look(sshd.login())


async def test_a_device_that_opens_no_session_is_unreachable(start_sshd: StartSshd) -> None:
    """Logged in, and nothing more; it is not the fault of any jump host."""
    with pytest.raises(UnreachableError, match="the device opens no session"):
        await look(start_sshd("MaxSessions 0").login())


async def test_several_looks_at_once_are_taken_one_after_another(start_sshd: StartSshd) -> None:
    """On one connection: a server may open one session at a time only."""
    lab = start_sshd("MaxSessions 1")
    async with SshConnector(run_here).connect(lab.login()) as door:
        found = await asyncio.gather(*(door.observe(Query(path=PATH)) for _ in range(4)))
    assert {facts.kind for facts in found} == {"file"}


@pytest.mark.parametrize("step", ["sync", "mv"])
async def test_an_operator_that_goes_away_mid_apply_leaves_no_half_done_work(
    sshd: Sshd, device: Device, step: str
) -> None:
    """The device has all it needs by then: it finishes by itself, with the restart that a new file needs."""
    marker = device.root / "marker"
    program = device.root / "usr/bin" / step
    program.write_text(f'#!/bin/sh\ntouch "{marker}"\nsleep 0.3\nPATH=${{PATH#*:}} exec {step} "$@"\n')
    program.chmod(0o755)
    async with SshConnector(run_here).connect(sshd.login()) as door:
        before = await door.observe(Query(path=PATH))
        content = configured(before)
        work = asyncio.create_task(door.apply(change(before, content)))
        await until(marker.exists)
        work.cancel()
    await until(lambda: device.restarts > 0)
    assert device.config_file.read_bytes() == content
    await until(lambda: [entry.name for entry in device.config_file.parent.iterdir()] == ["config.yaml"])


async def test_nobody_listens(sshd: Sshd) -> None:
    """A refused connection is named as such."""
    with pytest.raises(UnreachableError, match="the connection was refused"):
        await look(sshd.login(port=1))


@pytest.mark.parametrize("limits", [Limits(), LOOPBACK, Limits(networks=("10.0.0.0/8",))], ids=["any", "some", "other"])
@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64, "a..b", "no such host"])
async def test_a_name_that_is_nowhere(sshd: Sshd, host: str, limits: Limits) -> None:
    """Or cannot be one, whatever the limits are."""
    with pytest.raises(UnreachableError):
        await look(sshd.login(host=host, limits=limits))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"limits": Limits()}, id="the default limits"),
        pytest.param({"limits": Limits(networks=("10.0.0.0/8", "::1/128"))}, id="other networks"),
        pytest.param({"limits": Limits(networks=("0.0.0.0/0",))}, id="a wide network"),
        pytest.param({"limits": Limits(networks=("127.0.0.0/8",), ports=(22,))}, id="other ports"),
        *(
            pytest.param({"limits": Limits(), "host": host}, id=host)
            for host in ("localhost", "127.1", "0x7f.1", "2130706433", "017700000001", "0", "::ffff:127.0.0.1")
        ),
    ],
)
async def test_an_address_outside_of_the_limits_is_never_called(sshd: Sshd, other: dict[str, object]) -> None:
    """Not even to say hello."""
    before = sshd.connections
    with pytest.raises(AddressNotAllowedError):
        await look(sshd.login(**other))
    assert sshd.connections == before


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"limits": Limits(networks=("10.0.0.0/8", "127.0.0.0/8"))}, id="a network"),
        pytest.param({"limits": Limits(networks=("127.0.0.1/32",))}, id="an address"),
        pytest.param({"host": "127.1", "known_hosts": "x ssh-ed25519 AAAA\n"}, id="an odd form of the address"),
    ],
)
async def test_an_address_inside_of_the_limits(sshd: Sshd, other: dict[str, object]) -> None:
    """It is called."""
    assert await look(sshd.login(**other)) == "file"


async def test_ipv6(start_sshd: StartSshd) -> None:
    """The same, in the other family."""
    try:
        lab = start_sshd(host="::1")
    except OSError:
        pytest.skip("there is no IPv6 on this machine")
    assert await look(lab.login()) == "file"
    assert await look(lab.login(known_hosts=f"[::1]:{lab.port} ssh-ed25519 AAAA\n")) == "file"
    with pytest.raises(AddressNotAllowedError):
        await look(lab.login(limits=Limits()))
