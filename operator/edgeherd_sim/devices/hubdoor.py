"""How a device asks its hub whether the key opens it."""

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import hmac
import pathlib
import socket
import ssl
import time
import urllib.parse
from collections.abc import AsyncIterator
from typing import Any, Protocol, runtime_checkable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from edgeherd import config
from edgeherd_sim.devices.messages import CLASSIC, NOT_TRUSTED

API_VERSION = "2020-03-13"
_AGENT = "$edgeAgent"
_SECONDS = 10.0
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

    async def agent_connects(self, identity: config.ConnectionString | config.X509) -> None:
        """The module `$edgeAgent` shows itself. A hub that refuses it, or is not there, sees nobody."""

    async def agent_leaves(self, host_name: str, device_id: str) -> None:
        """Its connection ended."""


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

    async def agent_connects(self, identity: config.ConnectionString | config.X509) -> None:
        """See `AgentHub`. A device's key may speak for its modules; without a key it is said behind the hub's back."""
        if isinstance(identity, config.X509):
            await self._agent_is(identity.iothub_hostname, identity.device_id, "connect")
            return
        device = urllib.parse.quote(identity.device_id, safe="")
        path = f"/devices/{device}/modules/{_AGENT}/messages/deviceBound?api-version={API_VERSION}"
        await self._answer(
            "GET", identity.host_name, path, headers={"Authorization": sas_token(identity, now=time.time())}
        )

    async def agent_leaves(self, host_name: str, device_id: str) -> None:
        """See `AgentHub`. HTTPS has no connection that could end, so the emulator is told by its control API."""
        await self._agent_is(host_name, device_id, "disconnect")

    async def _agent_is(self, host_name: str, device_id: str, what: str) -> None:
        path = f"/$sim/devices/{urllib.parse.quote(device_id, safe='')}/modules/{_AGENT}/{what}"
        await self._answer("POST", host_name, path)

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
        yield HttpsHub(session, port)
