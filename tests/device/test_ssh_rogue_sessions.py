"""Servers that let us in and then misbehave: each ends in time, and nothing of what it said is in the error."""

import asyncio
import os
import random
import struct
from collections.abc import Callable

import asyncssh
import pytest
from rogue_lab import SAID, SOON, Process, Rogue, ends, login, raw, rogue
from sshd_lab import look

from edgeherd.device import scripts
from edgeherd.device.port import DeviceError, OddAnswerError, UnreachableError
from edgeherd.device.remote_command import RemoteCommand

pytestmark = pytest.mark.usefixtures("short_command")


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
    raw(process.channel.get_extra_info("connection")).write(os.urandom(100_000))
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
async def test_a_server_that_lets_us_in(
    process: Process, error: type[DeviceError], short_command: Callable[[float], None]
) -> None:
    """And then misbehaves while a command runs."""
    if error is OddAnswerError:  # by what it says, and not by the time that it takes
        short_command(SOON)
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
    monkeypatch.setattr(scripts, "observe", lambda _: RemoteCommand(command="look", lines=(), seconds=5))

    async def answers(process: asyncssh.SSHServerProcess[bytes]) -> None:
        nonce = (await process.stdin.readline()).strip()
        process.stdout.write(b"\n" + nonce + b" kind\nfile\n" + nonce + b" end\nok")
        process.channel.close()

    async with rogue(Rogue, answers) as port:
        assert await look(login(port)) == "file"


async def test_a_server_that_wants_to_come_back_through_us(monkeypatch: pytest.MonkeyPatch) -> None:
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

    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    async with rogue(Rogue, opens) as port:
        await ends(port, DeviceError)
    assert refused == ["tcp", "unix", "x11", "agent"]


@pytest.mark.usefixtures("short_login")
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
