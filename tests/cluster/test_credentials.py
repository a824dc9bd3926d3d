"""How the operator logs in at the API server, and what it does when that does not last."""

import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from aiohttp import web

import fault_proxy
from edgeherd.cluster import credentials
from edgeherd.cluster.client import ApiClient
from edgeherd.cluster.credentials import Credentials
from edgeherd.cluster.errors import ApiError, ForbiddenError
from edgeherd_sim.kube.certificates import write_certificates

Answer = Callable[[web.Request], web.StreamResponse]


@dataclasses.dataclass(slots=True)
class Server:
    """An API server that knows one token, and writes down what it is asked."""

    token: str
    asked: list[tuple[str, str, bytes]] = dataclasses.field(default_factory=list)
    """Method, Authorization and body."""
    answer: Answer | None = None
    """Instead of the usual answer to a request that is logged in."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """401, or what was sent."""
        given = request.headers.get("Authorization", "")
        body = await request.read()
        self.asked.append((request.method, given, body))
        if given != f"Bearer {self.token}":
            return web.json_response({"message": "Unauthorized"}, status=401)
        if self.answer is not None:
            return self.answer(request)
        return web.json_response({"sent": json.loads(body) if body else None})

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its URL, in plain HTTP."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


class Login:
    """A way to log in, whose token can be renewed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.file = folder / "token"

    def write(self, token: str) -> None:
        """As the kubelet does it: nobody sees half of a file."""
        fresh = self.folder / "fresh"
        fresh.write_text(f"{token}\n")
        fresh.rename(self.file)

    def user(self) -> Mapping[str, Any]:
        """Of a kubeconfig."""
        return {"tokenFile": str(self.file)}

    async def credentials(self, url: str) -> Credentials:
        """Of a kubeconfig."""
        target = fault_proxy.Target(url=url, token="", ca_file=self.folder / "ca.crt")
        file = fault_proxy.write_kubeconfig(self.folder, target)
        said = json.loads(file.read_text())
        said["users"][0]["user"] = self.user()
        file.write_text(json.dumps(said))
        return await Credentials.find(str(file))


class Program(Login):
    """A program that fetches the token, and counts how often it was asked."""

    def user(self) -> Mapping[str, Any]:
        """See client-go's credential plugins."""
        kind = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
        script = (
            "import json, pathlib; "
            f"here = pathlib.Path({str(self.folder)!r}); "
            "(here / 'runs').open('a').write('x'); "
            "token = (here / 'token').read_text().strip(); "
            f"print(json.dumps({{**{kind!r}, 'status': {{'token': token}}}}))"
        )
        said = {"apiVersion": kind["apiVersion"], "command": sys.executable, "args": ["-c", script]}
        return {"exec": {**said, "interactiveMode": "Never"}}

    @property
    def runs(self) -> int:
        """How often it was asked."""
        return len((self.folder / "runs").read_text())


class Pod(Login):
    """The files that the kubelet puts into a Pod."""

    async def credentials(self, url: str) -> Credentials:
        """In a Pod there is no kubeconfig. Its API server speaks TLS, so the scheme is put right for the test."""
        host, _, port = url.removeprefix("http://").partition(":")
        os.environ |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        found = await Credentials.find(None, service_account=self.folder)
        assert found.server == url.replace("http", "https")
        found._configuration.host = url  # noqa: SLF001 - see above
        return found


@pytest.fixture(params=[Login, Program, Pod], ids=["a token file", "a program", "a Pod"])
def login(request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    """Each way to log in."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "")
    write_certificates(tmp_path)
    made: Login = request.param(tmp_path)
    made.write("first")
    return made


@contextlib.asynccontextmanager
async def client(login: Login, server: Server) -> AsyncIterator[ApiClient]:
    """One that is logged in like that."""
    async with server.listening() as url, ApiClient(await login.credentials(url)) as api:
        yield api


async def test_a_refused_login_is_renewed_and_the_request_sent_again(login: Login) -> None:
    """With its body, once. What comes later has the new login from the start."""
    server = Server("second")
    async with client(login, server) as api:
        login.write("second")
        for number in (1, 2):
            assert await api.request("POST", "/x", body={"n": number}, content_type="application/json") == {
                "sent": {"n": number}
            }
    first, second = ("POST", "Bearer first", b'{"n": 1}'), ("POST", "Bearer second", b'{"n": 1}')
    last = ("POST", "Bearer second", b'{"n": 2}')
    assert server.asked in ([first, second, last], [second, last])  # the Pod's file is looked at before each request


async def test_a_login_that_stays_refused_is_an_error_and_no_absence(login: Login) -> None:
    """The same login is not sent twice for one request."""
    server = Server("another")
    async with client(login, server) as api:
        with pytest.raises(ApiError) as caught:
            await api.find("/x")
    assert (caught.value.status, len(server.asked)) == (401, 1)


async def test_what_a_login_may_not_do_is_no_reason_for_another(login: Login) -> None:
    """Only 401 is."""
    server = Server("first", answer=lambda _: web.json_response({"message": "not you"}, status=403))
    async with client(login, server) as api:
        login.write("second")
        server.token = "second" if isinstance(login, Pod) else "first"
        with pytest.raises(ForbiddenError):
            await api.find("/x")
    assert len(server.asked) == 1


async def test_no_other_host_gets_the_login(login: Login) -> None:
    """However politely the API server sends there."""
    other, server = Server("nobody's"), Server("first")
    async with other.listening() as elsewhere, client(login, server) as api:
        server.answer = lambda _: web.Response(status=307, headers={"Location": f"{elsewhere}/x"})
        with pytest.raises(ApiError):
            await api.request("GET", "/x")
    assert [given for _, given, _ in other.asked] == [""]


async def test_many_that_are_refused_run_the_program_once(tmp_path: pathlib.Path) -> None:
    """And not for each request of an API server that refuses everything."""
    write_certificates(tmp_path)
    login, server = Program(tmp_path), Server("second")
    login.write("first")
    async with client(login, server) as api:
        login.write("second")
        await asyncio.gather(*(api.request("GET", "/x") for _ in range(20)))
        assert login.runs == 2
        server.token = "third"
        await asyncio.gather(*(api.request("GET", "/x") for _ in range(20)), return_exceptions=True)
        assert login.runs == 2


async def test_a_program_that_fails_leaves_the_login_as_it_was(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may succeed the next time."""
    monkeypatch.setattr(credentials, "RELOAD_SECONDS", 0.0)
    write_certificates(tmp_path)
    login, server = Program(tmp_path), Server("second")
    login.write("first")
    async with client(login, server) as api:
        login.file.unlink()
        with pytest.raises(ApiError, match="401"):
            await api.request("GET", "/x")
        login.write("second")
        assert await api.request("GET", "/x") == {"sent": None}


async def test_a_program_that_hangs_is_not_waited_for(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may want the operator to end."""
    monkeypatch.setattr(credentials, "LOAD_SECONDS", 0.1)

    async def hang(**_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(credentials.kubernetes_config, "load_kube_config", hang)
    login = Login(tmp_path)
    with pytest.raises(ApiError, match=r"The program that the kubeconfig .* names took longer than 0 s"):
        await login.credentials("http://127.0.0.1:1")


@pytest.mark.parametrize("spoil", [pathlib.Path.unlink, lambda file: file.write_text("")], ids=["gone", "empty"])
async def test_a_token_that_cannot_be_read_leaves_the_login_as_it_was(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[pathlib.Path], object]
) -> None:
    """The kubelet may be at it."""
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.setenv(name, "")
    write_certificates(tmp_path)
    login, server = Pod(tmp_path), Server("first")
    login.write("first")
    async with client(login, server) as api:
        spoil(login.file)
        assert await api.request("GET", "/x") == {"sent": None}
        login.write("second")
        server.token = "second"
        assert await api.request("GET", "/x") == {"sent": None}


UNUSABLE = (
    ("there is no file", None, "There is no kubeconfig {file}, which KUBECONFIG names."),
    ("it is empty", "", "The kubeconfig {file} cannot be read: TypeError"),
    ("it is no YAML", "token: 'c2VjcmV0", "The kubeconfig {file} cannot be read: ScannerError"),
    ("it has no context", "{clusters: [], contexts: [], users: []}", "The kubeconfig {file} cannot be used: Invalid kube-config file. Expected key current-context in {file}"),
)  # fmt: skip


@pytest.mark.parametrize(("content", "says"), [row[1:] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
async def test_a_kubeconfig_that_cannot_be_used_is_one_sentence(
    tmp_path: pathlib.Path, content: str | None, says: str
) -> None:
    """Which quotes nothing of the file."""
    file = tmp_path / "kubeconfig"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ApiError) as caught:
        await Credentials.find(str(file))
    assert str(caught.value) == says.format(file=file)


async def test_certificates_that_cannot_be_used_are_one_sentence(tmp_path: pathlib.Path) -> None:
    """They are read when a session is begun."""
    (tmp_path / "ca.crt").write_text("no certificate")
    target = fault_proxy.Target(url="https://127.0.0.1:1", token="t", ca_file=tmp_path / "ca.crt")
    found = await Credentials.find(str(fault_proxy.write_kubeconfig(tmp_path, target)))
    with pytest.raises(ApiError, match="The certificates of the Kubernetes configuration cannot be used: "):
        found.tls()


async def test_without_a_pod_and_a_kubeconfig_both_places_are_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them was meant."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    nowhere = tmp_path / "config"
    monkeypatch.setattr(credentials.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(nowhere))
    with pytest.raises(ApiError) as caught:
        await Credentials.find(None, service_account=tmp_path)
    assert str(caught.value) == (
        f"There is no way to the API server: neither the files in {tmp_path} as in a Pod, nor a kubeconfig {nowhere}. "
        "KUBECONFIG may name one."
    )
