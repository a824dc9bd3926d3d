"""An emulated hub, and the adapter over the real SDK that talks to it."""

import asyncio
import contextlib
import dataclasses
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from edgeherd.fence import OPEN, Fence
from edgeherd.hub import credential
from edgeherd.hub.azure import AzureHub, HubClient
from edgeherd.hub.port import HubError
from edgeherd.model import Keys
from edgeherd_sim.hub.server import Hub

KEYS = Keys(primary="cHJpbWFyeS1wcmltYXJ5LXByaW1hcnk=", secondary="c2Vjb25kYXJ5LXNlY29uZGFyeS1zZWM=")
OTHER_KEYS = Keys(primary="b3RoZXItb3RoZXItb3RoZXItb3RoZXI=", secondary="YW5vdGhlci1hbm90aGVyLWFub3RoZXI=")


@dataclasses.dataclass(frozen=True)
class Lab:
    """The hub, and how the operator would open it."""

    hub: Hub
    opened: list[HubClient] = dataclasses.field(default_factory=list)

    def open(
        self,
        *,
        policy: str = "registryReadWrite",
        key: str | None = None,
        port: int | None = None,
        ca_file: str | None = None,
        seconds: float = 30.0,
        operations_per_minute: int = 1000,
        answered: Callable[[str, str], None] = lambda *_: None,
        fence: Fence = OPEN,
    ) -> AzureHub:
        """The adapter with a credential that works, but for what is other."""
        parsed = credential.parse(self.hub.connection_string_of(policy))
        registry = HubClient(
            dataclasses.replace(parsed, key=key or parsed.key),
            port=port or self.hub.port,
            operations_per_minute=operations_per_minute,
            seconds=seconds,
            ca_file=ca_file or self.hub.ca_file,
            answered=answered,
            fence=fence,
        )
        self.opened.append(registry)
        return registry.on_behalf_of("plant-a")

    def close(self) -> None:
        """Close all that was opened."""
        for client in self.opened:
            client.close()

    @property
    def asked(self) -> list[tuple[str, str, int]]:
        """The requests that arrived: method, path and status, which is 0 where the connection was cut."""
        return [(entry.method, entry.path, entry.status) for entry in self.hub.requests]


@contextlib.asynccontextmanager
async def odd_server(context: ssl.SSLContext, answer: Callable[[], web.Response]) -> AsyncIterator[int]:
    """Something that is no hub and answers everything alike, on the port that is returned."""

    async def handle(request: web.Request) -> web.Response:
        del request
        return answer()

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@dataclasses.dataclass
class RawServer:
    """What answers with bytes of its own. It counts the requests, and the connections that the client closed."""

    port: int = 0
    requests: int = 0
    closed: int = 0
    changed: asyncio.Condition = dataclasses.field(default_factory=asyncio.Condition)

    async def until(self, reached: Callable[["RawServer"], bool]) -> None:
        """Wait until that holds."""
        async with self.changed:
            await self.changed.wait_for(lambda: reached(self))


@contextlib.asynccontextmanager
async def raw_server(
    context: ssl.SSLContext | None, answer: bytes, *, drip: bytes = b"", cut: bool = False
) -> AsyncIterator[RawServer]:
    """A server that answers each request with `answer`, then `drip` again and again; cut: then it hangs up."""
    server = RawServer()
    connections: set[tuple[asyncio.Task[None], asyncio.StreamWriter]] = set()

    async def counted(requests: int = 0, closed: int = 0) -> None:
        async with server.changed:
            server.requests += requests
            server.closed += closed
            server.changed.notify_all()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            await counted(requests=1)
            writer.write(answer)
            await writer.drain()
            if cut:
                return
            while drip:
                writer.write(drip)
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.readexactly(1), 0.02)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add((task, writer))
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await serve(reader, writer)
        writer.close()
        await counted(closed=1)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context, limit=1024 * 1024)
    server.port = int(listener.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listener.close()
        for _, writer in connections:
            writer.transport.abort()
        await asyncio.gather(*(task for task, _ in connections))


@contextlib.asynccontextmanager
async def counting_relay(port: int) -> AsyncIterator[tuple[int, list[int]]]:
    """A relay to that port: its own port, and a list that grows by one with every connection."""
    connections: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, back))
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1]), connections
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def outcome(call: Awaitable[object]) -> object:
    """What a call ended with: its value, or the kind and code of the error."""
    try:
        return await call
    except HubError as error:
        return type(error), error.code
