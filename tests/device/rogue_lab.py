"""Servers that mean no good, and what must come of it."""

import asyncio
import resource
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import asyncssh
import pytest
from sshd_lab import LOOPBACK, Sshd, key, look, private, public

from edgeherd.device.port import DeviceError, Login

SAID = "mind-the-gap"
"""What every rogue says when it can."""
SOON = 30.0
"""Whatever ends by itself has ended by then, on a slow machine too: a rogue goes on for a minute."""
HOST_KEY, CLIENT_KEY = key(), key()

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]
Process = Callable[[asyncssh.SSHServerProcess[bytes]], Coroutine[None, None, None]]


def login(port: int, **other: object) -> Login:
    """At a rogue."""
    usual = {"host_keys": (public(HOST_KEY),), "private_key": private(CLIENT_KEY)}
    return Login(host="127.0.0.1", port=port, user="x", limits=LOOPBACK, **{**usual, **other})  # type: ignore[arg-type]


async def ends(port: int, error: type[DeviceError], **other: object) -> str:
    """It does, soon, small and as it should; its text."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.timeout(SOON):
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


def raw(connection: asyncssh.SSHServerConnection) -> asyncio.Transport:
    """What is below SSH."""
    transport = connection._transport  # noqa: SLF001 - to say what no server says
    assert transport is not None
    return transport
