"""An emulated hub, and the adapter over the real SDK that talks to it."""

import concurrent.futures
import contextlib
import dataclasses
import ssl
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from edgeherd.hub import credential
from edgeherd.hub.azure import AzureHub
from edgeherd.model import Keys
from edgeherd.sim.hub.server import Hub

KEYS = Keys(primary="cHJpbWFyeS1wcmltYXJ5LXByaW1hcnk=", secondary="c2Vjb25kYXJ5LXNlY29uZGFyeS1zZWM=")
OTHER_KEYS = Keys(primary="b3RoZXItb3RoZXItb3RoZXItb3RoZXI=", secondary="YW5vdGhlci1hbm90aGVyLWFub3RoZXI=")


@dataclasses.dataclass(frozen=True)
class Lab:
    """The hub, and how the operator would open it."""

    hub: Hub
    executor: concurrent.futures.ThreadPoolExecutor

    def open(  # noqa: PLR0913 - each is a way to go wrong
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
        return AzureHub(
            dataclasses.replace(parsed, key=key or parsed.key),
            port=port or self.hub.port,
            operations_per_minute=operations_per_minute,
            executor=self.executor,
            timeout=timeout,
            ca_file=ca_file or self.hub.ca_file,
        )

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
