"""Servers that mean no good: every one ends in time, with the right error, and nothing of what it said in it."""

import asyncio
import contextlib
import os
import random
import resource
import struct
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import asyncssh
import pytest
from sshd_lab import LOOPBACK, Sshd, key, look, private, public

from edgeherd.device import scripts
from edgeherd.device.errand import Errand
from edgeherd.device.port import DeviceError, HostKeyMismatchError, LoginRefusedError, OddAnswerError, UnreachableError
from edgeherd.device.port import Login as PortLogin
from edgeherd.device.ssh import SshDoor, door, session

SAID = "mind-the-gap"
"""What every rogue says when it can."""
HOST_KEY, CLIENT_KEY = key(), key()

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines and caps that a test can wait for."""
    monkeypatch.setattr(door, "CONNECT_SECONDS", 0.6)
    monkeypatch.setattr(door, "LOGIN_SECONDS", 0.6)
    monkeypatch.setattr(session, "OUTPUT_BYTES", 256 * 1024)
    errand = Errand(command="look", lines=("x" * 100_000,), seconds=0.6)
    monkeypatch.setattr(scripts, "observe", lambda _: errand)


def login(port: int, **other: object) -> PortLogin:
    """At a rogue."""
    usual = {"host_keys": (public(HOST_KEY),), "private_key": private(CLIENT_KEY)}
    return PortLogin(host="127.0.0.1", port=port, user="x", limits=LOOPBACK, **{**usual, **other})  # type: ignore[arg-type]


async def ends(port: int, error: type[DeviceError], **other: object) -> str:
    """It does, soon, small and as it should; its text."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.timeout(8):
        with pytest.raises(error) as caught:
            await look(login(port, **other))
    assert SAID not in "".join(traceback.format_exception(caught.value))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    return str(caught.value)


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Something that listens and is no SSH server; its port."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
            await asyncio.sleep(60)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def says(text: bytes, *, again: bool = False) -> Serve:
    """Says it, once or for ever."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        while again:
            writer.write(text)
            await writer.drain()
            await asyncio.sleep(0)

    return serve


@pytest.mark.parametrize(
    ("text", "again"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"SSH-2.0-mind-the-gap\r\n", False, id="its name and nothing more"),
        pytest.param(b"SSH-1.5-mind-the-gap\r\n", False, id="a version of long ago"),
        pytest.param(b"HTTP/1.1 400 mind-the-gap\r\n\r\n", False, id="another protocol"),
        pytest.param(b"mind-the-gap\r\n", True, id="endless banners"),
        pytest.param(b"mind-the-gap" * 100, True, id="one endless line"),
        pytest.param(b"SSH-2.0-Odd\r\n" + b"\xff" * 64, False, id="a packet of nonsense"),
        pytest.param(b"SSH-2.0-Odd\r\n\x00\x00\x80\x00" + b"\x00" * 64, True, id="a packet that is long"),
        pytest.param(b"SSH-2.0-Odd\r\n\x00\x00\x00\x0c\x0a\x02" + b"\x00" * 10, True, id="endless ignored packets"),
        pytest.param(
            b"SSH-2.0-Odd\r\n" + struct.pack(">IBBI", 44, 8, 1, 2) + struct.pack(">I", 12) + SAID.encode() + bytes(14),
            False,
            id="a farewell",
        ),
    ],
)
async def test_what_is_no_ssh_server_is_unreachable_in_time(text: bytes, again: bool) -> None:
    """Silence, tarpits and noise all end at the deadline or before; asking for the host key too."""
    async with listening(says(text, again=again)) as port:
        await ends(port, UnreachableError)
        async with asyncio.timeout(8):
            with pytest.raises(UnreachableError):
                await SshDoor().host_key(login(port))


async def test_a_server_that_hangs_up_at_once() -> None:
    """As one does that has too many guests."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with listening(serve) as port:
        await ends(port, UnreachableError)


@asynccontextmanager
async def between(sshd: Sshd, change: Callable[[bytes, int], bytes], pause: float = 0) -> AsyncIterator[int]:
    """Somebody between us and a real sshd, who changes what it says; `change` gets a chunk and where it starts."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(sshd.host, sshd.port)

        async def there() -> None:
            while chunk := await reader.read(65536):
                ours.write(chunk)

        task = asyncio.create_task(there())
        try:
            total = 0
            while chunk := await theirs.read(1 if pause else 65536):
                writer.write(change(chunk, total))
                await writer.drain()
                total += len(chunk)
                await asyncio.sleep(pause)
            writer.transport.abort()
        finally:
            task.cancel()
            ours.close()

    async with listening(serve) as port:
        yield port


async def test_a_tarpit_that_answers_byte_by_byte(sshd: Sshd) -> None:
    """Each answer comes in time, all of them do not."""
    async with between(sshd, lambda chunk, _: chunk, pause=0.05) as port:
        await ends(port, UnreachableError, host_keys=(public(sshd.host_key),))


async def test_bytes_that_somebody_changed_on_the_way(sshd: Sshd) -> None:
    """Wherever it is: nothing but a DeviceError comes of it, and never another host key."""
    dice = random.Random(7)  # noqa: S311 - nothing is kept secret with it
    good = public(sshd.host_key)

    async def one(where: int, flip: int) -> None:
        def change(chunk: bytes, start: int) -> bytes:
            changed = bytearray(chunk)
            if start <= where < start + len(chunk):
                changed[where - start] ^= flip
            return bytes(changed)

        async with between(sshd, change) as port:
            with contextlib.suppress(DeviceError):
                async with SshDoor().connect(sshd.login(port=port, host_keys=(good,))) as there:
                    assert there.fingerprint == sshd.host_key.get_fingerprint()
            with contextlib.suppress(DeviceError):
                assert await SshDoor().host_key(sshd.login(port=port)) == good

    for _ in range(8):
        await asyncio.gather(*(one(dice.randrange(2200), 1 << dice.randrange(8)) for _ in range(12)))


class Rogue(asyncssh.SSHServer):
    """A server that lets us in; what it does then is in the tests."""

    def __init__(self) -> None:
        self.connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """See `asyncssh.SSHServer`, as for all of these."""
        self.connection = conn

    def public_key_auth_supported(self) -> bool:
        """By key."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whichever."""
        del username, key
        return True


Process = Callable[[asyncssh.SSHServerProcess[bytes]], Coroutine[None, None, None]]


@asynccontextmanager
async def rogue(
    factory: Callable[[], asyncssh.SSHServer], process: Process | None = None, **options: object
) -> AsyncIterator[int]:
    """One that speaks SSH; its port."""
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=factory,
        server_host_keys=[HOST_KEY],
        process_factory=process,
        encoding=None,
        **options,
    )
    try:
        yield acceptor.get_port()
    finally:
        acceptor.close()


async def test_another_host_key() -> None:
    """It hears no user name."""
    heard: list[str] = []

    class Listens(Rogue):
        def begin_auth(self, username: str) -> bool:
            heard.append(username)
            return True

    async with rogue(Listens) as port:
        await ends(port, HostKeyMismatchError, host_keys=(public(key()),))
    assert not heard


async def test_endless_banners_before_the_login() -> None:
    """In packets of their own."""

    class Talks(Rogue):
        async def begin_auth(self, username: str) -> bool:
            del username
            assert self.connection is not None
            while not self.connection.is_closed():
                self.connection.send_auth_banner(SAID * 100)
                await asyncio.sleep(0)
            return True

    async with rogue(Talks) as port:
        assert await ends(port, UnreachableError) == "it did not answer in time"


async def test_silence_after_the_key_exchange() -> None:
    """Nobody is let in, and nobody is refused."""

    class Silent(Rogue):
        async def begin_auth(self, username: str) -> bool:
            del username
            await asyncio.sleep(60)
            return True

    async with rogue(Silent) as port:
        assert await ends(port, UnreachableError) == "it did not answer in time"
        assert await SshDoor().host_key(login(port)) == public(HOST_KEY)


async def test_refusals_without_end() -> None:
    """Each with the same offer; every method is tried once, and the password sent once."""
    tried: list[str] = []

    class Refuses(Rogue):
        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            del username, key
            tried.append("key")
            return False

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            del username
            tried.append(password)
            return False

    async with rogue(Refuses) as port:
        await ends(port, LoginRefusedError, password="mauve")
    assert tried == ["key", "mauve"]


async def test_a_farewell_in_its_own_words() -> None:
    """They are not repeated."""

    class Leaves(Rogue):
        def begin_auth(self, username: str) -> bool:
            del username
            assert self.connection is not None
            self.connection.disconnect(asyncssh.DISC_BY_APPLICATION, SAID)
            return True

    async with rogue(Leaves) as port:
        assert await ends(port, UnreachableError) == "the device closed the connection"


def _raw(connection: asyncssh.SSHServerConnection) -> asyncio.Transport:
    transport = connection._transport  # noqa: SLF001 - to say what no server says
    assert transport is not None
    return transport


async def test_garbage_after_the_key_exchange() -> None:
    """No packet has such a tag."""

    class Garbles(Rogue):
        def begin_auth(self, username: str) -> bool:
            del username
            assert self.connection is not None
            _raw(self.connection).write(os.urandom(4096))
            return True

    async with rogue(Garbles) as port:
        await ends(port, UnreachableError)


async def _silent(process: asyncssh.SSHServerProcess[bytes]) -> None:
    del process
    await asyncio.sleep(60)


async def _floods(process: asyncssh.SSHServerProcess[bytes]) -> None:
    while True:
        process.stdout.write(SAID.encode() * 1000)
        process.stderr.write(SAID.encode() * 1000)
        await process.stdout.drain()


async def _closes(process: asyncssh.SSHServerProcess[bytes]) -> None:
    process.channel.get_extra_info("connection").abort()


async def _closes_later(process: asyncssh.SSHServerProcess[bytes]) -> None:
    process.stdout.write(SAID.encode())
    await process.stdout.drain()
    await asyncio.sleep(0.05)
    process.channel.get_extra_info("connection").abort()


async def _garbles(process: asyncssh.SSHServerProcess[bytes]) -> None:
    _raw(process.channel.get_extra_info("connection")).write(os.urandom(100_000))
    await asyncio.sleep(60)


async def _leaves(process: asyncssh.SSHServerProcess[bytes]) -> None:
    process.channel.get_extra_info("connection").disconnect(asyncssh.DISC_BY_APPLICATION, SAID)


async def _never_ends(process: asyncssh.SSHServerProcess[bytes]) -> None:
    process.stdout.write(SAID.encode())
    process.stdout.write_eof()
    await asyncio.sleep(60)


async def _closes_channel(process: asyncssh.SSHServerProcess[bytes]) -> None:
    process.channel.close()


async def _trickles(process: asyncssh.SSHServerProcess[bytes]) -> None:
    while True:
        process.stdout.write(b".")
        await asyncio.sleep(0.01)


async def _overruns(process: asyncssh.SSHServerProcess[bytes]) -> None:
    channel = process.channel
    packet = struct.pack(">I", 30000) + bytes(30000)
    for _ in range(200):
        channel.send_packet(asyncssh.constants.MSG_CHANNEL_DATA, packet)
        await asyncio.sleep(0)
    await asyncio.sleep(60)


async def _opens_windows(process: asyncssh.SSHServerProcess[bytes]) -> None:
    while not process.channel.is_closing():
        process.channel.send_packet(asyncssh.constants.MSG_CHANNEL_WINDOW_ADJUST, struct.pack(">I", 0xFFFFFFFF))
        await asyncio.sleep(0)


async def _asks(process: asyncssh.SSHServerProcess[bytes]) -> None:
    connection = process.channel.get_extra_info("connection")
    while not connection.is_closed():
        connection.send_packet(asyncssh.constants.MSG_GLOBAL_REQUEST, struct.pack(">I", 12) + SAID.encode() + b"\x01")
        process.channel.send_packet(
            asyncssh.constants.MSG_CHANNEL_REQUEST, struct.pack(">I", 12) + SAID.encode() + b"\x01"
        )
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("process", "error"),
    [
        pytest.param(_silent, UnreachableError, id="says nothing"),
        pytest.param(_floods, OddAnswerError, id="talks on both streams for ever"),
        pytest.param(_trickles, UnreachableError, id="talks slowly for ever"),
        pytest.param(_closes, UnreachableError, id="hangs up"),
        pytest.param(_closes_later, UnreachableError, id="hangs up half-way"),
        pytest.param(_leaves, UnreachableError, id="hangs up with words"),
        pytest.param(_garbles, UnreachableError, id="sends garbage"),
        pytest.param(_never_ends, UnreachableError, id="says all and never ends"),
        pytest.param(_closes_channel, UnreachableError, id="ends without a word or a status"),
        pytest.param(_overruns, DeviceError, id="sends more than there is a window for"),
        pytest.param(_opens_windows, UnreachableError, id="opens windows without end"),
        pytest.param(_asks, UnreachableError, id="asks without end"),
    ],
)
async def test_a_server_that_lets_us_in(process: Process, error: type[DeviceError]) -> None:
    """And then misbehaves while a command runs."""
    async with rogue(Rogue, process) as port:
        await ends(port, error)


async def test_a_server_that_reads_nothing() -> None:
    """Its window is closed: what we have to say waits, and the deadline does not."""
    async with rogue(Rogue, _silent, window=1024) as port:
        assert "did not finish" in await ends(port, UnreachableError)


async def test_a_server_that_answers_no_request_for_a_session() -> None:
    """Neither with yes nor with no."""

    class Thinks(Rogue):
        async def session_requested(self) -> bool:
            await asyncio.sleep(60)
            return True

    async with rogue(Thinks) as port:
        assert "did not finish" in await ends(port, UnreachableError)


async def test_an_answer_without_an_exit_status_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is that it is whole."""
    monkeypatch.setattr(scripts, "observe", lambda _: Errand(command="look", lines=(), seconds=5))

    async def answers(process: asyncssh.SSHServerProcess[bytes]) -> None:
        nonce = (await process.stdin.readline()).strip()
        process.stdout.write(nonce + b" kind ZmlsZQ==\n" + nonce + b" end b2sK\n")
        process.channel.close()

    async with rogue(Rogue, answers) as port:
        assert await look(login(port)) == "file"


async def test_a_server_that_wants_to_come_back_through_us() -> None:
    """To a port, a socket, an agent or a display of ours, or to a session: nothing of it is opened."""
    refused: list[str] = []

    async def opens(process: asyncssh.SSHServerProcess[bytes]) -> None:
        connection = process.channel.get_extra_info("connection")
        ways = {
            "tcp": lambda: connection.create_connection(asyncssh.SSHTCPSession, "127.0.0.1", 22),
            "unix": lambda: connection.create_unix_connection(asyncssh.SSHUNIXSession, "/run/agent"),
            "x11": lambda: connection.create_x11_connection(asyncssh.SSHTCPSession, "127.0.0.1", 6000),
            "agent": lambda: connection.create_agent_connection(asyncssh.SSHUNIXSession),
        }
        for name, way in ways.items():
            try:
                await way()
            except asyncssh.ChannelOpenError:
                refused.append(name)
        process.exit(0)

    os.environ["SSH_AUTH_SOCK"] = "/run/agent"
    try:
        async with rogue(Rogue, opens) as port:
            await ends(port, DeviceError)
    finally:
        del os.environ["SSH_AUTH_SOCK"]
    assert refused == ["tcp", "unix", "x11", "agent"]


async def test_packets_that_make_no_sense() -> None:
    """Changed before they were sealed, so that it is the protocol's own machinery that must hold."""
    dice = random.Random(11)  # noqa: S311 - nothing is kept secret with it

    class Mumbles(Rogue):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            send, left = conn.send_packet, dice.randrange(1, 12)

            def mumble(kind: int, *parts: bytes, **other: object) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    whole = bytearray(b"".join(parts))
                    for _ in range(dice.randrange(1, 4)):
                        if whole:
                            whole[dice.randrange(len(whole))] = dice.randrange(256)
                    cut = dice.randrange(len(whole) + 1) if dice.random() < 0.4 else len(whole)
                    kind = dice.randrange(1, 101) if dice.random() < 0.2 else kind
                    parts = (bytes(whole[:cut]),)
                send(kind, *parts, **other)

            conn.send_packet = mumble  # type: ignore[method-assign]

    async def answers(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await process.stdin.readline()
        process.stdout.write(SAID.encode())
        process.exit(0)

    async with rogue(Mumbles, answers) as port:
        for _ in range(15):
            results = await asyncio.gather(*(look(login(port)) for _ in range(10)), return_exceptions=True)
            assert [one for one in results if not isinstance(one, DeviceError)] == []
