"""Every script that does more than look passes the fence before it is started, and before it has all that it needs."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncssh
import pytest
from script_lab import CONFIG, NEW, OLD, Machine, change, other
from sshd_lab import LOOPBACK, key, private, public

from edgeherd.device import scripts, windows
from edgeherd.device.port import Change, Initialization, Login, OddAnswerError, Platform, Query, Session
from edgeherd.device.ssh import SshConnector
from edgeherd.device.ssh.session import TAIL_BYTES
from edgeherd.fence import NotLeadingError
from edgeherd_sim.memory import run_here
from fences import TestFence
from ports import READS, writes
from waiting import until

INITIALIZATION = Initialization(connection_string="c", container_os="Windows")
COMMANDS = {
    "apply": scripts.apply(change()),
    "check": scripts.check(),
    "initialize": windows.initialize(INITIALIZATION),
}
CALLS: dict[str, Callable[[Session], Awaitable[object]]] = {
    "apply": lambda session: session.apply(change()),
    "check": lambda session: session.check(),
    "initialize": lambda session: session.initialize(INITIALIZATION),
    "observe": lambda session: session.observe(Query()),
}


@dataclasses.dataclass
class Peer:
    """An SSH server that runs nothing, and keeps what it was sent."""

    login: Login
    commands: list[str] = dataclasses.field(default_factory=list)
    reads: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    """Until it is set nothing is read, and the client may send no more than fits into the window."""
    inputs: list[bytes] = dataclasses.field(default_factory=list)

    async def handle(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        """One command."""
        self.commands.append(process.command or "")
        await self.reads.wait()
        self.inputs.append(await process.stdin.read())
        process.stdout.write(b"nothing\n")
        process.exit(0)


class _Server(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        del username
        return False


WINDOW = 16 * 1024


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """One that takes little at a time, as Dropbear does."""
    host_key, own = key(), key()
    login = Login(
        host="127.0.0.1",
        port=0,
        user="edgeops",
        private_key=private(own),
        host_keys=(public(host_key),),
        limits=LOOPBACK,
    )
    found = Peer(login=login)
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=_Server,
        server_host_keys=[host_key],
        process_factory=found.handle,
        encoding=None,
        window=WINDOW,
    )
    found.login = dataclasses.replace(login, port=server.get_port())
    yield found
    found.reads.set()
    server.close()
    await server.wait_closed()


@contextlib.asynccontextmanager
async def session(peer: Peer, fence: TestFence, name: str = "") -> AsyncIterator[Session]:
    """A session behind a fence; that of a Windows device where only such have the method."""
    platform = Platform.WINDOWS if name == "initialize" else Platform.LINUX
    login = dataclasses.replace(peer.login, platform=platform)
    async with SshConnector(run_here, fence=fence).connect(login) as opened:
        yield opened


@pytest.mark.parametrize("name", writes(Session))
async def test_no_script_passes_a_closed_fence(peer: Peer, name: str) -> None:
    """It is not even started; with an open fence it is."""
    peer.reads.set()
    async with session(peer, TestFence(), name) as closed:
        with pytest.raises(NotLeadingError):
            await CALLS[name](closed)
    assert peer.commands == []
    async with session(peer, TestFence(passes=9), name) as opened:
        with pytest.raises(OddAnswerError):
            await CALLS[name](opened)
    assert len(peer.commands) == 1


@pytest.mark.parametrize("name", sorted(READS[Session]))
async def test_looking_is_free(peer: Peer, name: str) -> None:
    """Nobody asks the fence for it."""
    peer.reads.set()
    fence = TestFence()
    async with session(peer, fence, name) as opened:
        with pytest.raises(OddAnswerError):
            await CALLS[name](opened)
    assert (len(peer.commands), fence.asked) == (1, 0)


@pytest.mark.parametrize("name", writes(Session))
async def test_a_script_that_was_started_gets_nothing_to_do(peer: Peer, name: str) -> None:
    """The fence closed while the device opened the session: the script reads to the end, and that comes too early."""
    peer.reads.set()
    async with session(peer, TestFence(passes=1), name) as opened:
        with pytest.raises(NotLeadingError):
            await CALLS[name](opened)
        await until(lambda: len(peer.inputs) == 1)
    whole = COMMANDS[name].stdin("n" * 32)
    assert len(peer.inputs[0]) == max(0, len(whole) - TAIL_BYTES)


async def test_the_end_of_a_long_input_waits_until_the_device_took_the_rest(peer: Peer) -> None:
    """That may last; the fence closes meanwhile, and the end is never sent."""
    fence = TestFence(passes=9)
    content = b"#" * 10 * WINDOW
    async with session(peer, fence) as opened:
        applying = asyncio.create_task(opened.apply(change(content)))
        await until(lambda: len(peer.commands) == 1)
        assert fence.asked == 1
        fence.passes = 1
        peer.reads.set()
        with pytest.raises(NotLeadingError):
            await applying
        await until(lambda: len(peer.inputs) == 1)
    whole = scripts.apply(change(content)).stdin(peer.inputs[0][:32].decode())
    assert peer.inputs[0] == whole[:-TAIL_BYTES]


INPUTS = [
    pytest.param(change(), id="the daemon's file"),
    pytest.param(change(None, other("/etc/iotedge/x.pem", b"x" * 2 * TAIL_BYTES)), id="another file"),
    pytest.param(change(NEW, other("/etc/iotedge/x.pem", b"x" * 2 * TAIL_BYTES)), id="both"),
    pytest.param(change(b"#", other("/etc/iotedge/x.pem", b"x" * 2 * TAIL_BYTES)), id="a small one after a large one"),
]


@pytest.mark.parametrize("wanted", INPUTS)
def test_without_its_end_an_input_is_no_change(machine: Machine, wanted: Change) -> None:
    """The script finds out, and everything is as before."""
    command = scripts.apply(wanted)
    stdin = command.stdin("5e1f")
    assert len(stdin) > TAIL_BYTES
    assert machine.run(command, stdin=stdin[:-TAIL_BYTES]) == {"result": b"incomplete", "end": b""}
    assert (list(machine.files()), machine.config.read_bytes(), machine.calls) == ([CONFIG], OLD, [])
    assert machine.leftovers() == []


@pytest.mark.parametrize("name", ["apply", "check"])
def test_a_script_without_input_does_nothing(machine: Machine, name: str) -> None:
    """Nor does it say anything."""
    machine.stub("iotedge", 'echo "iotedge $*" >> ROOT/calls')
    assert machine.run(COMMANDS[name], stdin=b"") == {}
    assert machine.calls == []
