"""The one door to the Kubernetes API: `kubernetes.aio` over one bounded session.

Speaks plain objects in JSON instead of the client's models: the operator's own kinds have none, and a body that is
read, computed on and compared needs none.
"""

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

from edgeherd.cluster.errors import ApiError, ConflictError, ContentRefusedError, ForbiddenError

Body = dict[str, Any]
_log = logging.getLogger(__name__)

APPLY = "application/apply-patch+yaml; charset=utf-8"
"""The client passes bytes through where the type is not the bare one."""

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "edgeherd"

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


class ApiClient:
    """A session with the API server. Use as an async context manager."""

    def __init__(self, configuration: Any) -> None:
        self.configuration = configuration
        self._api: Any = None

    @classmethod
    async def configured(cls, kubeconfig: str | None) -> Self:
        """From the Pod's ServiceAccount where there is one, else from a kubeconfig file.

        Raises:
            ApiError: neither can be read.
        """
        configuration = kubernetes_client.Configuration()
        try:
            if kubeconfig is None:
                try:
                    kubernetes_config.load_incluster_config(client_configuration=configuration)
                except kubernetes_config.ConfigException:
                    await kubernetes_config.load_kube_config(client_configuration=configuration)
            else:
                await kubernetes_config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
        except (kubernetes_config.ConfigException, OSError) as exc:
            raise ApiError(0, f"No usable Kubernetes configuration: {exc}") from exc
        configuration.connection_pool_maxsize = CONNECTIONS
        return cls(configuration)

    async def __aenter__(self) -> Self:
        self._api = kubernetes_client.ApiClient(self.configuration)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

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
        """
        headers = {"Accept": accept}
        if content_type:
            headers["Content-Type"] = content_type
        authorization = (await self._auth_headers()).get("authorization")
        if authorization:
            headers["Authorization"] = authorization
        url = f"{self.configuration.host}{url_path}" + (f"?{urlencode(query)}" if query else "")
        try:
            response = await self._api.call_api(method, url, headers, body, _request_timeout=TIMEOUT)
            raw = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            raise ApiError(0, f"The API server did not answer: {type(exc).__name__}") from exc
        return _decoded(response.status, raw or b"", content_type)

    async def _auth_headers(self) -> dict[str, str]:
        settings = self.configuration.auth_settings()
        if asyncio.iscoroutine(settings):
            settings = await settings
        return {s["key"]: s["value"] for s in settings.values() if s["in"] == "header" and s["value"]}

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
        return await self.request("PATCH", url_path, body=operations, content_type=JSON_PATCH)

    async def connection(self) -> dict[str, Any]:
        """What another client (kopf's watches) needs to reach the same API server as the same user."""
        headers = await self._auth_headers()
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return {
            "server": self.configuration.host,
            "ca_path": self.configuration.ssl_ca_cert,
            "certificate_path": self.configuration.cert_file,
            "private_key_path": self.configuration.key_file,
            "scheme": scheme.capitalize() or None,
            "token": token or None,
            "insecure": None if self.configuration.verify_ssl else True,
        }


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
