"""What every request to the API server has with it, and what is told of its answer."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from kubernetes.aio import client as kubernetes_client

from edgeherd import __version__
from edgeherd.cluster.client import ApiClient
from edgeherd.cluster.credentials import Credentials
from edgeherd.cluster.errors import ApiError


class Server:
    """Answers with a status, and remembers who asked for what."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[tuple[str, str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        """The same to everybody."""
        self.asked.append((request.method, request.path_qs, request.headers["User-Agent"]))
        return web.json_response({"message": "x"}, status=self.status)


@contextlib.asynccontextmanager
async def connected(server: Server) -> AsyncIterator[ApiClient]:
    """A client of that server, which goes before the client does."""
    runner = web.ServerRunner(web.Server(server.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = kubernetes_client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        async with ApiClient(Credentials(configuration)) as api:
            yield api
    finally:
        await runner.cleanup()


async def test_each_request_names_edgeherd() -> None:
    """Its version in the user agent; its name as the manager of what it writes."""
    server = Server()
    async with connected(server) as api:
        await api.find("/api/v1/namespaces/a/secrets/b")
        await api.apply("/apis/x", {"a": 1})
        await api.json_patch("/apis/x", [{"op": "test", "path": "/a", "value": 1}])
    agent = f"edgeherd/{__version__}"
    assert server.asked == [
        ("GET", "/api/v1/namespaces/a/secrets/b", agent),
        ("PATCH", "/apis/x?fieldManager=edgeherd&force=true", agent),
        ("PATCH", "/apis/x?fieldManager=edgeherd", agent),
    ]


async def test_each_answer_is_told() -> None:
    """With its status, whatever becomes of it; and that there was none."""
    server, told = Server(), list[tuple[str, str]]()
    async with connected(server) as api:
        api.answered = lambda *said: told.append(said)
        for server.status in (200, 404, 429, 500):
            with contextlib.suppress(ApiError):
                await api.request("GET", "/x")
    nobody = Credentials(kubernetes_client.Configuration(host="http://127.0.0.1:1"))
    async with ApiClient(nobody) as nowhere:
        nowhere.answered = lambda *said: told.append(said)
        with pytest.raises(ApiError):
            await nowhere.request("PATCH", "/x", body={}, content_type="application/json")
    codes = [("GET", "200"), ("GET", "404"), ("GET", "429"), ("GET", "500"), ("PATCH", "<error>")]
    assert told == codes
