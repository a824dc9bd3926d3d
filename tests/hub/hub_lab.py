"""An emulated hub, and the adapter over the real SDK that talks to it."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

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
    executor: concurrent.futures.ThreadPoolExecutor

    def open(
        self,
        *,
        policy: str = "registryReadWrite",
        key: str | None = None,
        port: int | None = None,
        ca_file: str | None = None,
        timeout: tuple[float, float] = (30.0, 30.0),
        operations_per_minute: int = 1000,
    ) -> AzureHub:
        """The adapter with a credential that works, but for what is other."""
        parsed = credential.parse(self.hub.connection_string_of(policy))
        registry = HubClient(
            dataclasses.replace(parsed, key=key or parsed.key),
            port=port or self.hub.port,
            operations_per_minute=operations_per_minute,
            executor=self.executor,
            timeout=timeout,
            ca_file=ca_file or self.hub.ca_file,
        )
        return registry.on_behalf_of("plant-a")

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
