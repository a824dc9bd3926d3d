"""The simulator as a server: TLS on loopback, one bearer token, everything in memory."""

import asyncio
import contextlib
import hmac
import secrets
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from edgeherd_sim.kube.certificates import write_certificates
from edgeherd_sim.kube.collector import Collector
from edgeherd_sim.kube.failures import Failure, unauthorized
from edgeherd_sim.kube.handlers import Handlers, refusal
from edgeherd_sim.kube.kinds import Kinds
from edgeherd_sim.kube.kubeconfig import write_kubeconfig
from edgeherd_sim.kube.seed import seed
from edgeherd_sim.kube.store import Store

_OPEN_PATHS = {"/version", "/healthz", "/livez", "/readyz"}
_BODY_LIMIT = 3 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A simulator that is listening, and how to reach it."""

    url: str
    token: str = field(repr=False)
    ca_file: Path
    store: Store = field(repr=False)

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig for it, readable by its owner only."""
        write_kubeconfig(path, url=self.url, token=self.token, ca_file=self.ca_file)
        return path


def _authentication(token: str) -> Middleware:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="replace")
        try:
            if request.path not in _OPEN_PATHS and not hmac.compare_digest(given, expected):
                raise unauthorized()
            return await handler(request)
        except Failure as failure:
            return refusal(failure)

    return middleware


@contextlib.asynccontextmanager
async def serve(
    *, bind: str = "127.0.0.1", port: int = 0, token: str = "", folder: Path | None = None
) -> AsyncIterator[Server]:
    """Run the simulator until the block ends.

    Args:
        bind: The address to listen on.
        port: The port; any free one when 0.
        token: What clients send as bearer token; a random one when empty.
        folder: Where the certificates are written; a folder of its own, removed at the end, when left out.
    """
    token = token or secrets.token_urlsafe(24)
    home = folder or Path(tempfile.mkdtemp(prefix="edgeherd-kube-"))
    try:
        write_certificates(home, bind)
        store, kinds = Store(), Kinds()
        handlers = Handlers(store, kinds)
        seed(handlers.api)
        application = web.Application(middlewares=[_authentication(token)], client_max_size=_BODY_LIMIT)
        application.add_routes(handlers.routes())
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.3, access_log=None)
        await runner.setup()
        collecting = asyncio.create_task(Collector(handlers.api).run())
        try:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(home / "tls.crt", home / "tls.key")
            await web.TCPSite(runner, bind, port, ssl_context=context).start()
            listening = runner.addresses[0][1]
            host = f"[{bind}]" if ":" in bind else bind
            yield Server(url=f"https://{host}:{listening}", token=token, ca_file=home / "ca.crt", store=store)
        finally:
            collecting.cancel()
            handlers.streams.close()
            await runner.cleanup()
    finally:
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)
