"""Between a client and an API server, on loopback: lets everything through, until it is told to do what networks and servers do."""

import asyncio
import dataclasses
import json
import pathlib
import ssl
import urllib.parse
from collections.abc import Mapping
from typing import Self

import aiohttp
from aiohttp import web

from edgeherd_sim.kube.certificates import write_certificates

REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 410: "Expired", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An API server, and its administrator's login."""

    url: str
    token: str = dataclasses.field(repr=False)
    ca_file: pathlib.Path

    @classmethod
    def of(cls, kubeconfig: pathlib.Path) -> "Target":
        """From a kubeconfig as the stand-ins and envtest write it, which is JSON."""
        said = json.loads(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = said["clusters"][0]["cluster"], said["users"][0]["user"]
        return cls(url=cluster["server"], token=user["token"], ca_file=pathlib.Path(cluster["certificate-authority"]))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request that came by, and how it was answered."""

    method: str
    path: str
    query: Mapping[str, str]
    status: int

    @property
    def watches(self) -> bool:
        """Whether it is a watch."""
        return self.query.get("watch") == "true"


def status_body(code: int) -> dict[str, object]:
    """What an API server says with an error."""
    about = {"code": code, "reason": REASONS[code], "message": f"the proxy says {code}"}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", **about}


def write_kubeconfig(folder: pathlib.Path, target: Target, *, token_file: pathlib.Path | None = None) -> pathlib.Path:
    """A kubeconfig in the folder, with the token in it or in a file of its own."""
    user = {"tokenFile": str(token_file)} if token_file else {"token": target.token}
    cluster = {"server": target.url, "certificate-authority": str(target.ca_file)}
    said = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [{"name": "one", "cluster": cluster}],
        "users": [{"name": "one", "user": user}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(said), encoding="utf-8")
    return file


class FaultProxy:
    """One API server's proxy, until the block ends. All faults are off at first, and each lasts until it is taken back."""

    def __init__(self, target: Target, folder: pathlib.Path) -> None:
        """The folder is its own: the certificates and kubeconfigs are there."""
        self._target = target
        self._folder = folder
        self._port = 0
        self._site: web.TCPSite | None = None
        application = web.Application(client_max_size=1 << 22)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        self._open: set[asyncio.Queue[bytes]] = set()
        self.token: str | None = None
        """The only bearer token that is accepted; None: whatever comes."""
        self.answers: dict[str, int] = {}
        """Statuses that are answered to paths which end like this, instead of asking the API server."""
        self.silent = False
        """Whether open watches show nothing."""
        self.mute = False
        """Whether connections are taken and no request is answered, as a load balancer does before a server that hangs."""
        self.seen: list[Seen] = []

    async def __aenter__(self) -> Self:
        write_certificates(self._folder)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(self._target.ca_file)), limit=0),
            headers={"Authorization": f"Bearer {self._target.token}"},
            timeout=aiohttp.ClientTimeout(total=None),
        )
        await self._runner.setup()
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut_watches()
        await self._runner.cleanup()
        await self._session.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self._port}"

    def kubeconfig(self, *, token_file: pathlib.Path | None = None) -> pathlib.Path:
        """A kubeconfig that leads here, with the token in a file or with one that is good for ever."""
        here = Target(url=self.url, token="any", ca_file=self._folder / "ca.crt")
        return write_kubeconfig(self._folder, here, token_file=token_file)

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._open)

    def send_errors(self, code: int) -> None:
        """End all open watches with an ERROR event."""
        event = json.dumps({"type": "ERROR", "object": status_body(code)}).encode() + b"\n"
        for stream in self._open:
            stream.put_nowait(event)
            stream.put_nowait(b"")

    def cut_watches(self) -> None:
        """End all open watches, as an API server does that is restarted."""
        for stream in self._open:
            stream.put_nowait(b"")

    async def leave(self) -> None:
        """Be away: connections end, and new ones are refused."""
        self.cut_watches()
        if self._site is not None:
            await self._site.stop()
        self._site = None
        server = self._runner.server
        assert server is not None
        for connection in server.connections:
            connection.force_close()

    async def listen(self) -> None:
        """Be there, where it was before if it was."""
        if self._site is not None:
            return
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key")
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=context)
        await self._site.start()
        self._port = self._runner.addresses[0][1]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.mute:
            await asyncio.Event().wait()
        status = self._refusal(request)
        if status:
            self._note(request, status)
            return web.json_response(status_body(status), status=status)
        url = f"{self._target.url}{request.raw_path}"
        kept = {name: value for name, value in request.headers.items() if name in {"Accept", "Content-Type"}}
        async with self._session.request(
            request.method, url, headers=kept, data=await request.read() or None
        ) as answer:
            self._note(request, answer.status)
            if request.query.get("watch") == "true" and answer.status == 200:
                return await self._stream(request, answer)
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

    def _refusal(self, request: web.Request) -> int:
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return 401
        return next((status for end, status in self.answers.items() if request.path.endswith(end)), 0)

    def _note(self, request: web.Request, status: int) -> None:
        query = dict(urllib.parse.parse_qsl(request.query_string))
        self.seen.append(Seen(method=request.method, path=request.path, query=query, status=status))

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass a watch on, line by line, with what is put in between."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        reading = asyncio.create_task(self._read(answer, lines))
        self._open.add(lines)
        try:
            while line := await lines.get():
                await response.write(line)
        except ConnectionResetError:
            return response  # the client left
        finally:
            self._open.discard(lines)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        await response.write_eof()
        return response

    async def _read(self, answer: aiohttp.ClientResponse, lines: "asyncio.Queue[bytes]") -> None:
        held = b""
        try:
            async for data in answer.content.iter_any():
                *whole, held = (held + data).split(b"\n")
                if not self.silent:
                    for line in whole:
                        lines.put_nowait(line + b"\n")
        finally:
            lines.put_nowait(b"")
