"""The ports for probes and metrics. They are served by the main loop, so that a probe sees when it hangs."""

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from aiohttp import web

from edgeherd.masking import masked
from edgeherd.settings import Address
from edgeherd.telemetry import health
from edgeherd.telemetry.health import Check, State
from edgeherd.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], web.Response]


@contextlib.asynccontextmanager
async def serving(
    *, metrics_address: Address | None, probe_address: Address | None, metrics: Metrics, state: Callable[[], State]
) -> AsyncIterator[list[int]]:
    """Serve /metrics, /healthz and /readyz until the block ends. What has no address is not served.

    Returns:
        The ports: that of the metrics, and that of the probes.

    Raises:
        ValueError: an address cannot be listened on.
    """
    probes: dict[str, Handler] = {
        "/healthz": lambda request: _answer(request, health.live(state())),
        "/readyz": lambda request: _answer(request, health.ready(state())),
    }
    scrapes: dict[str, Handler] = {"/metrics": lambda request: _scrape(request, metrics)}
    async with contextlib.AsyncExitStack() as stack:
        ports = [
            await stack.enter_async_context(_listening(address, handlers))
            for address, handlers in ((metrics_address, scrapes), (probe_address, probes))
            if address is not None
        ]
        yield ports


@contextlib.asynccontextmanager
async def _listening(address: Address, handlers: Mapping[str, Handler]) -> AsyncIterator[int]:
    app = web.Application()
    app.add_routes([web.get(path, _asynchronous(handler)) for path, handler in handlers.items()])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address.host or None, address.port).start()
        except OSError as exc:
            reason = os.strerror(exc.errno).lower() if exc.errno else str(exc)
            raise ValueError(f"{address.setting} is '{address}', which cannot be listened on: {reason}") from None
        port = int(runner.addresses[0][1])
        _log.info("serves %s on port %d", " and ".join(handlers), port)
        yield port
    finally:
        await runner.cleanup()


def _asynchronous(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return handler(request)

    return handle


def _answer(request: web.Request, checks: tuple[Check, ...]) -> web.Response:
    passed, text = health.told(request.path.strip("/"), checks, verbose="verbose" in request.query)
    return web.Response(status=200 if passed else 500, text=masked(text))


def _scrape(request: web.Request, metrics: Metrics) -> web.Response:
    body, media_type = metrics.text(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": media_type})
