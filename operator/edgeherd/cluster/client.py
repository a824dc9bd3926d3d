"""Requests to the API server over bounded sessions, logged in as `credentials.py` says.

Speaks plain objects in JSON instead of a client's models: the operator's own kinds have none, and a body that is
read, computed on and compared needs none.
"""

import asyncio
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from edgeherd import __version__
from edgeherd.cluster.credentials import Credentials
from edgeherd.cluster.errors import ApiError, ConflictError, ContentRefusedError, ForbiddenError
from edgeherd.fence import OPEN, Fence

Body = dict[str, Any]

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "edgeherd"
USER_AGENT = f"edgeherd/{__version__}"
"""It is in the API server's audit log, and a part of its metrics."""

CONNECTIONS = 32
"""Connections to the API server at once; unbounded pools cost memory and stall the loop in TLS handshakes."""

_INVALID = frozenset({400, 413, 422})
_PATCH_DOES_NOT_FIT = "the server rejected our request due to an error in our request"
"""All that the API server says to a JSON patch whose `test` or path does not hold (seen with 1.36); a policy or a rule that
refuses what would come of it says more, with 422 too."""

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

TIMEOUT = aiohttp.ClientTimeout(total=60, connect=10)


def path(group: str, version: str, plural: str, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The path of a resource. `group` is empty for the core group."""
    root = f"/api/{version}" if not group else f"/apis/{group}/{version}"
    parts = [root]
    if namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts += [plural]
    parts += [quote(part, safe="") for part in (name, subresource) if part]
    return "/".join(parts)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request of a session, and what came of it."""

    path: str
    query: Mapping[str, str]
    status: int
    """The HTTP status, 0 without an answer."""
    trouble: str = ""
    """Why there was no answer."""


class ApiClient:
    """A session with the API server. Use as an async context manager."""

    def __init__(self, credentials: Credentials, fence: Fence = OPEN) -> None:
        self.answered: Callable[[str, str], None] = lambda *_: None
        """Is told the method of each request, and the HTTP status of its answer; '<error>' for none, as client-go has it."""
        self._credentials = credentials
        self._fence = fence
        self._session: Any = None

    @classmethod
    async def configured(cls, kubeconfig: str | None, *, fence: Fence = OPEN) -> Self:
        """From the Pod's ServiceAccount where there is one, else from a kubeconfig file. `fence` lets writes pass.

        Raises:
            ApiError: neither can be read.
        """
        return cls(await Credentials.find(kubeconfig), fence)

    async def __aenter__(self) -> Self:
        self._session = self.session()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    @property
    def server(self) -> str:
        """The API server's URL, without a path."""
        return self._credentials.server

    def session(
        self, observe: Callable[[Exchange], None] = lambda _: None, *, connections: int = CONNECTIONS
    ) -> aiohttp.ClientSession:
        """A session of its own, for the event loop that calls: logged in, observed from outside, and bounded.

        Raises:
            ApiError: the certificates of the configuration cannot be used.
        """
        credentials = self._credentials
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=credentials.tls()),
            headers={"User-Agent": USER_AGENT},
            middlewares=(_observed(observe, URL(self.server)), _authenticated(credentials)),
            request_class=_fenced(self._fence),
            proxy=credentials.proxy,
            trust_env=True,
        )

    async def request(
        self,
        method: str,
        url_path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "",
        accept: str = "application/json",
    ) -> Body:
        """One request; the decoded body of the answer, in the form that `accept` asks for.

        Raises:
            ConflictError: 409, or a JSON patch that does not fit the object any more.
            ForbiddenError: 403.
            ContentRefusedError: the content is refused.
            ApiError: any other refusal, or no answer.
            NotLeadingError: a write that the fence does not let pass.
        """
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type or "application/json"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.server}{url_path}" + (f"?{urlencode(query)}" if query else "")
        try:
            async with self._session.request(method, url, headers=headers, data=data, timeout=TIMEOUT) as response:
                raw = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            self.answered(method, "<error>")
            raise ApiError(0, f"The API server did not answer: {type(exc).__name__}") from exc
        self.answered(method, str(response.status))
        return _decoded(response.status, raw, content_type)

    async def find(self, url_path: str, *, accept: str = "application/json") -> Body | None:
        """The object at the path; None only when the API server says 404."""
        try:
            return await self.request("GET", url_path, accept=accept)
        except ApiError as exc:
            if exc.status == 404:
                return None
            raise

    async def apply(self, url_path: str, body: Body) -> Body:
        """Server-side apply under our field manager; it owns what the body names and nothing else."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self.request("PATCH", url_path, query=query, body=_yaml(body), content_type=APPLY)

    async def json_patch(self, url_path: str, operations: list[Body]) -> Body:
        """A JSON patch; its `test` operations guard against a stale read."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self.request("PATCH", url_path, query=query, body=operations, content_type=JSON_PATCH)


def _authenticated(credentials: Credentials) -> aiohttp.ClientMiddlewareType:
    """Requests are logged in. A refused login (401) is renewed, and the request sent once more if that gave another one."""
    server = URL(credentials.server).origin()

    def log_in(request: aiohttp.ClientRequest) -> str:
        authorization = credentials.authorization()
        if authorization:
            request.headers["Authorization"] = authorization
        return authorization

    async def send(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if request.url.origin() != server:
            return await handler(request)  # a redirect to where the login is nobody's business
        request.server_hostname = credentials.server_name
        sent = log_in(request)
        response = await handler(request)
        if response.status == 401 and await credentials.renew(sent):
            response.release()
            log_in(request)
            response = await handler(request)
        return response

    return send


def _observed(observe: Callable[[Exchange], None], server: URL) -> aiohttp.ClientMiddlewareType:
    """What comes of each request is told, after its login was renewed if need be."""
    prefix = server.path.rstrip("/")

    async def send(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        path, query = request.url.path.removeprefix(prefix), dict(request.url.query)
        try:
            response = await handler(request)
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            observe(Exchange(path=path, query=query, status=0, trouble=type(exc).__name__))
            raise
        except asyncio.CancelledError:
            # Who asked gave it up: kopf has a time-out of its own around a watch, which nothing else shows.
            observe(Exchange(path=path, query=query, status=0, trouble=TimeoutError.__name__))
            raise
        observe(Exchange(path=path, query=query, status=response.status))
        return response

    return send


def _fenced(fence: Fence) -> type[aiohttp.ClientRequest]:
    """Requests that ask the fence when they have their connection, for which they may have waited long."""

    class Request(aiohttp.ClientRequest):
        async def send(self, conn: Any) -> aiohttp.ClientResponse:
            if self.method != "GET":
                fence.check()
            return await super().send(conn)

    return Request


def _yaml(body: Body) -> bytes:
    r"""JSON that a YAML parser reads as it is meant.

    The API server takes an apply for YAML, whose escapes have no surrogate pairs: '\\ud83d\\ude00' is refused, so text
    goes as it is. What YAML has no place for, or takes for a line break, is escaped.
    """
    text = json.dumps(body, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode("utf-8", "replace")


def _decoded(status: int, raw: bytes, content_type: str) -> Body:
    try:
        answer = json.loads(raw) if raw else {}
    except ValueError:
        answer = {}
    if status < 400:
        return answer if isinstance(answer, dict) else {}
    message = str(answer.get("message", "")) or f"HTTP {status}"
    if status == 409 or (status == 422 and content_type == JSON_PATCH and message == _PATCH_DOES_NOT_FIT):
        raise ConflictError(status, message)
    # A list of a status with two items of one key is a 500 of the server's typed patch.
    if status in _INVALID or (status == 500 and "failed to create typed patch object" in message):
        raise ContentRefusedError(status, message)
    if status == 403:
        raise ForbiddenError(status, message)
    raise ApiError(status, message)
