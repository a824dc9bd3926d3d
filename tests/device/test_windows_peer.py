"""Commands there and back, over SSH, to a peer that plays Windows."""

import base64
import hashlib

import asyncssh
import pytest
import windows_lab
from windows_lab import CONFIG, PASSWORD, USER, FakeWindows, WindowsPeer

from edgeherd.device import windows
from edgeherd.device.facts import framed
from edgeherd.device.port import ABSENT, Action, Change, Initialization, Query, Result
from edgeherd.device.remote_command import RemoteCommand

pytest_plugins = ("windows_peer",)

NONCE = "5e1f5e1f"
NEW = b"hostname: 'new'\r\n"


async def run(peer: WindowsPeer, command: RemoteCommand) -> dict[str, bytes]:
    """Run an command as a session does; what came back."""
    async with asyncssh.connect(
        peer.host,
        peer.port,
        config=None,
        username=USER,
        password=PASSWORD,
        client_keys=None,
        agent_path=None,
        known_hosts=([asyncssh.import_public_key(peer.host_key)], [], []),
    ) as connection:
        done = await connection.run(command.command, input=command.stdin(NONCE), encoding=None)
    assert isinstance(done.stdout, bytes)
    return framed(done.stdout, NONCE)


def sha(content: bytes) -> str:
    """The SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def change(device: FakeWindows, content: bytes | None = NEW, **other: object) -> Change:
    """A change of what is there now."""
    usual: dict[str, object] = {
        "path": CONFIG,
        "before": sha(device.files[CONFIG]) if CONFIG in device.files else ABSENT,
        "content": content,
        "unit": "iotedge",
        "action": Action.RESTART,
    }
    return Change(**{**usual, **other})  # type: ignore[arg-type]


async def result(peer: WindowsPeer, command: RemoteCommand) -> Result:
    """The one word that came back."""
    return Result((await run(peer, command))["result"].decode())


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("chunk", [0, 7])
async def test_observation_comes_back_whole(windows_peer: WindowsPeer, newline: bytes, chunk: int) -> None:
    """However Windows ends its lines and however slowly they come."""
    windows_peer.newline, windows_peer.chunk = newline, chunk
    values = await run(windows_peer, windows.observe(Query(others=("C:\\a b", CONFIG))))
    assert values["content"] == windows_peer.device.files[CONFIG]
    assert values["path"].decode() == CONFIG
    assert values["hash:0"] == b"absent"
    assert values["hash:1"].decode() == sha(windows_peer.device.files[CONFIG])
    assert b"ActiveState=active" in values["units"]
    assert "journal" not in values
    assert values["end"] == b"ok"


async def test_big_file_goes_there_and_back(windows_peer: WindowsPeer) -> None:
    """A megabyte of every byte there is."""
    content = bytes(range(256)) * 4096
    assert await result(windows_peer, windows.apply(change(windows_peer.device, content))) is Result.APPLIED
    assert (await run(windows_peer, windows.observe(Query())))["content"] == content


async def test_journal_comes_when_the_agent_does_not_run(windows_peer: WindowsPeer) -> None:
    """And only then; it is UTF-8, whatever the device's code page."""
    windows_peer.device.modules = ""
    values = await run(windows_peer, windows.observe(Query()))
    assert values["journal"].decode().startswith("Überwachung")


async def test_lost_connection_has_no_end(windows_peer: WindowsPeer) -> None:
    """Half an answer must not pass for one."""
    windows_peer.cut = 200
    try:
        values = await run(windows_peer, windows.observe(Query()))
    except asyncssh.Error:
        return
    assert "end" not in values


async def test_change_is_applied_once(windows_peer: WindowsPeer) -> None:
    """The second time, the file is no longer what was observed."""
    device = windows_peer.device
    first = change(device)
    assert await result(windows_peer, windows.apply(first)) is Result.APPLIED
    assert (device.files[CONFIG], device.restarts) == (NEW, 1)
    assert await result(windows_peer, windows.apply(first)) is Result.CHANGED
    assert device.restarts == 1


async def test_restart_alone_and_file_alone(windows_peer: WindowsPeer) -> None:
    """Each half of a change does without the other."""
    device = windows_peer.device
    old = device.files[CONFIG]
    assert await result(windows_peer, windows.apply(change(device, None))) is Result.APPLIED
    assert (device.files[CONFIG], device.restarts) == (old, 1)
    assert await result(windows_peer, windows.apply(change(device, action=Action.NONE))) is Result.APPLIED
    assert (device.files[CONFIG], device.restarts) == (NEW, 1)


async def test_refused_file_is_put_back(windows_peer: WindowsPeer) -> None:
    """And the daemon runs again, with what it had."""
    device = windows_peer.device
    old = device.files[CONFIG]
    assert await result(windows_peer, windows.apply(change(device, b"bad"))) is Result.REFUSED
    assert (device.files[CONFIG], device.active, device.restarts) == (old, "active", 2)


async def test_daemon_that_did_not_run_refuses_nothing(windows_peer: WindowsPeer) -> None:
    """A daemon that fails before and after says nothing about the new file."""
    windows_peer.device.active = "failed"
    assert await result(windows_peer, windows.apply(change(windows_peer.device, b"bad"))) is Result.APPLIED
    assert windows_peer.device.files[CONFIG] == b"bad"


async def test_device_that_is_let_go_keeps_what_its_daemon_refuses(windows_peer: WindowsPeer) -> None:
    """Its file is meant to be of no use to the daemon."""
    device = windows_peer.device
    assert await result(windows_peer, windows.apply(change(device, b"bad", action=Action.RETIRE))) is Result.APPLIED
    assert (device.files[CONFIG], device.restarts) == (b"bad", 1)


@pytest.mark.parametrize("trouble", [Result.FULL, Result.READ_ONLY, Result.UNWRITABLE, Result.OWNER])
async def test_trouble_while_writing_is_told(windows_peer: WindowsPeer, trouble: Result) -> None:
    """In one word each, and without a restart."""
    windows_peer.device.trouble = trouble
    assert await result(windows_peer, windows.apply(change(windows_peer.device))) is trouble
    assert windows_peer.device.restarts == 0


async def test_bent_folder_is_refused(windows_peer: WindowsPeer) -> None:
    """A junction on the way may lead anywhere."""
    windows_peer.device.links.add(r"C:\ProgramData\iotedge")
    assert await result(windows_peer, windows.apply(change(windows_peer.device))) is Result.PARENT


async def test_check_comes_back(windows_peer: WindowsPeer) -> None:
    """The JSON as it was printed."""
    assert (await run(windows_peer, windows.check()))["check"].decode() == windows_peer.device.report


async def test_fresh_device_is_initialised_once(windows_peer: WindowsPeer) -> None:
    """With the connection string exactly as it was given; what is there already is never initialised."""
    device = windows_peer.device
    del device.files[CONFIG]
    device.active = "inactive"
    fresh = await run(windows_peer, windows.observe(Query()))
    assert (fresh["kind"], fresh["package"]) == (b"absent", b"yes")
    secret = "HostName=h.azure-devices.net;DeviceId=it's $1 `;SharedAccessKey=c2VjcmV0"
    command = windows.initialize(Initialization(connection_string=secret, container_os="Linux", script=r"C:\a b\x.ps1"))
    assert await result(windows_peer, command) is Result.APPLIED
    assert await result(windows_peer, command) is Result.CHANGED
    assert device.initialized == [(secret, "Linux", r"C:\a b\x.ps1")]
    values = await run(windows_peer, windows.observe(Query()))
    assert secret.encode() in values["content"]


async def test_secret_is_in_no_command(windows_peer: WindowsPeer) -> None:
    """Neither as it is nor in base64."""
    del windows_peer.device.files[CONFIG]
    secret = "SharedAccessKey=c2VjcmV0"
    await run(windows_peer, windows.initialize(Initialization(connection_string=secret, container_os="Windows")))
    encoded = base64.b64encode(secret.encode()).decode()
    assert all(secret not in command and encoded not in command for command in windows_peer.commands)


async def test_whoever_is_no_administrator_changes_nothing(windows_peer: WindowsPeer) -> None:
    """And an observation says so."""
    windows_peer.device.admin = False
    assert await result(windows_peer, windows.apply(change(windows_peer.device))) is Result.UNWRITABLE
    assert (await run(windows_peer, windows.observe(Query())))["admin"] == b"no"


async def test_peer_knows_our_scripts_only(windows_peer: WindowsPeer) -> None:
    """Whatever else is sent is answered by nothing, and remembered."""
    alien = RemoteCommand(command=windows.COMMAND, lines=(base64.b64encode(b"calc").decode(),), seconds=1)
    assert await run(windows_peer, alien) == {}
    assert await run(windows_peer, RemoteCommand(command="calc.exe", lines=(), seconds=1)) == {}
    assert len(windows_peer.unexpected) == 2
    windows_peer.unexpected.clear()


def test_observed_names_fit_the_real_script() -> None:
    """What the peer says is what the script says."""
    source = windows_lab.script(windows.observe(Query()))
    reads = iter(["", "", ""])
    device = FakeWindows(modules="")
    for name, _ in device.answer(windows_lab.Name.OBSERVE, lambda: next(reads)):
        quoted = f"'{name}'" if not name.startswith("hash:") else '"hash:$number"'
        assert f"Tell {quoted}" in source or f"Say {quoted}" in source
