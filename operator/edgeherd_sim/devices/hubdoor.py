"""How a device asks its hub whether the key opens it."""

import asyncio
import base64
import contextlib
import dataclasses
import functools
import hashlib
import hmac
import pathlib
import socket
import ssl
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from edgeherd import config
from edgeherd_sim.devices.feed import Feed
from edgeherd_sim.devices.messages import CLASSIC, NOT_TRUSTED

API_VERSION = "2020-03-13"
_AGENT = "$edgeAgent"
_SECONDS = 10.0
_NEWS_SECONDS = 40.0
_LIFETIME = 3600


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the hub said: when it was no, the daemon writes into its journal why.

    `unreachable` is for a connection that failed, `status` and `body` for an answer, `reason` for anything else.
    """

    accepted: bool
    reason: str = ""
    unreachable: str = ""
    status: str = ""
    body: str = ""


class Hub(Protocol):
    """Whoever decides about keys."""

    async def ask(self, connection: config.ConnectionString) -> Answer:
        """Whether the hub lets this device in."""

    async def present(self, x509: config.X509, thumbprint: str) -> Answer:
        """Whether the hub lets a device with this certificate in."""


@runtime_checkable
class AgentHub(Protocol):
    """A hub that sees who is connected. Whoever only decides about keys need not be one."""

    async def agent_connects(self, identity: config.ConnectionString | config.X509) -> bool:
        """The module `$edgeAgent` shows itself. A hub that refuses it, or is not there, sees nobody: False."""

    async def agent_leaves(self, host_name: str, device_id: str) -> None:
        """Its connection ended."""


@runtime_checkable
class DeploymentHub(Protocol):
    """A hub with deployments, which edgeAgent hears of."""

    async def agent_twin(self, host_name: str, device_id: str) -> Mapping[str, Any] | None:
        """The properties of `$edgeAgent`: `desired` with its `$version`, and `reported`; None where the hub does not say."""

    async def agent_reports(self, host_name: str, device_id: str, patch: Mapping[str, Any]) -> bool:
        """Whether the hub took the report."""

    def follow(
        self, host_name: str, device_id: str, changed: Callable[[], None]
    ) -> contextlib.AbstractContextManager[None]:
        """Have `changed` called whenever the desired properties have changed, until the block ends."""


class _Pinned(AbstractResolver):
    """Every name is at one address: hub names of tests are in no DNS."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver`."""
        del family
        kind = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        return [ResolveResult(hostname=host, host=self._address, port=port, family=kind, proto=0, flags=0)]

    async def close(self) -> None:
        """See `AbstractResolver`."""


def sas_token(connection: config.ConnectionString, *, now: float) -> str:
    """The device's own token: it names no policy."""
    resource = urllib.parse.quote(f"{connection.host_name}/devices/{connection.device_id}", safe="")
    expiry = int(now) + _LIFETIME
    key = connection.shared_access_key
    secret = base64.b64decode(key + "=" * (-len(key) % 4))
    digest = hmac.digest(secret, f"{resource}\n{expiry}".encode(), hashlib.sha256)
    signature = urllib.parse.quote(base64.b64encode(digest), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"


class HttpsHub:
    """The hub that the connection string names, by HTTPS."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._port = port
        self._feeds: dict[str, Feed] = {}

    async def ask(self, connection: config.ConnectionString) -> Answer:
        """See `Hub`."""
        device = urllib.parse.quote(connection.device_id, safe="")
        path = f"/devices/{device}/messages/deviceBound?api-version={API_VERSION}"
        headers = {"Authorization": sas_token(connection, now=time.time())}
        return await self._answer("GET", connection.host_name, path, headers=headers)

    async def present(self, x509: config.X509, thumbprint: str) -> Answer:
        """See `Hub`. The emulator takes the thumbprint by its control API: it asks for no certificate by TLS."""
        path = f"/$sim/devices/{urllib.parse.quote(x509.device_id, safe='')}/present"
        return await self._answer("POST", x509.iothub_hostname, path, json={"thumbprint": thumbprint})

    async def agent_connects(self, identity: config.ConnectionString | config.X509) -> bool:
        """See `AgentHub`. A device's key may speak for its modules; without a key it is said behind the hub's back."""
        if isinstance(identity, config.X509):
            return await self._agent_is(identity.iothub_hostname, identity.device_id, "connect")
        device = urllib.parse.quote(identity.device_id, safe="")
        path = f"/devices/{device}/modules/{_AGENT}/messages/deviceBound?api-version={API_VERSION}"
        headers = {"Authorization": sas_token(identity, now=time.time())}
        return (await self._answer("GET", identity.host_name, path, headers=headers)).accepted

    async def agent_leaves(self, host_name: str, device_id: str) -> None:
        """See `AgentHub`. HTTPS has no connection that could end, so the emulator is told by its control API."""
        await self._agent_is(host_name, device_id, "disconnect")

    async def agent_twin(self, host_name: str, device_id: str) -> Mapping[str, Any] | None:
        """See `DeploymentHub`. By the control API: a real agent asks by AMQP or MQTT."""
        found = await self._told(host_name, f"{_agent(device_id)}/twin", seconds=_SECONDS)
        return found if isinstance(found, dict) else None

    async def agent_reports(self, host_name: str, device_id: str, patch: Mapping[str, Any]) -> bool:
        """See `DeploymentHub`."""
        return (await self._answer("PATCH", host_name, f"{_agent(device_id)}/reported", json=patch)).accepted

    @contextlib.contextmanager
    def follow(self, host_name: str, device_id: str, changed: Callable[[], None]) -> Iterator[None]:
        """See `DeploymentHub`."""
        feed = self._feeds.get(host_name)
        if feed is None:
            ask = functools.partial(self._news, host_name)
            feed = self._feeds[host_name] = Feed(ask)
        with feed.follow(device_id, changed):
            yield

    async def close(self) -> None:
        """Hear of nothing any more."""
        for feed in self._feeds.values():
            await feed.close()

    async def _news(self, host_name: str, after: int) -> Any:
        return await self._told(host_name, f"/$sim/news?after={after}", seconds=_NEWS_SECONDS)

    async def _told(self, host_name: str, path: str, *, seconds: float) -> Any:
        """What the control API says; None where it does not."""
        url = f"https://{host_name}:{self._port}{path}"
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.get(url, timeout=timeout) as response:
                return await response.json() if response.status == 200 else None
        except (aiohttp.ClientError, OSError, ValueError):
            return None

    async def _agent_is(self, host_name: str, device_id: str, what: str) -> bool:
        return (await self._answer("POST", host_name, f"{_agent(device_id)}/{what}")).accepted

    async def _answer(self, method: str, host_name: str, path: str, **more: Any) -> Answer:
        url = f"https://{host_name}:{self._port}{path}"
        try:
            async with self._session.request(method, url, **more) as response:
                status, words, body = response.status, response.reason, await response.text()
        except TimeoutError:
            return Answer(accepted=False, unreachable="Connection timed out (os error 110)")
        except aiohttp.ClientConnectorDNSError:
            return Answer(accepted=False, unreachable=CLASSIC.no_name)
        except (aiohttp.ClientSSLError, ssl.SSLError):
            return Answer(accepted=False, unreachable=NOT_TRUSTED)
        except (aiohttp.ClientError, OSError):
            return Answer(accepted=False, unreachable="tcp connect error: Connection refused (os error 111)")
        if status in {200, 204}:
            return Answer(accepted=True)
        return Answer(accepted=False, status=f"{status} {words}", body=body.replace("\n", " "))


@contextlib.asynccontextmanager
async def https_hub(
    *, ca_file: pathlib.Path | None = None, port: int = 443, address: str | None = None
) -> AsyncIterator[HttpsHub]:
    """The door to hubs on the network.

    Args:
        ca_file: the authority to trust; the system's when None.
        port: connection strings name no port, so it is the same for all hubs.
        address: where every hub is, whatever its name; by DNS when None.
    """
    context = await asyncio.to_thread(ssl.create_default_context, cafile=str(ca_file) if ca_file else None)
    connector = aiohttp.TCPConnector(ssl=context, limit=64, resolver=_Pinned(address) if address else None)
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        hub = HttpsHub(session, port)
        try:
            yield hub
        finally:
            await hub.close()


def _agent(device_id: str) -> str:
    """Where the control API has `$edgeAgent`."""
    return f"/$sim/devices/{urllib.parse.quote(device_id, safe='')}/modules/{_AGENT}"
