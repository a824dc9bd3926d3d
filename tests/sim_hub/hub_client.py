"""A client of the emulator that says nothing but what it is told, and signs for itself."""

import base64
import contextlib
import dataclasses
import hashlib
import hmac
import json
import ssl
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import yarl

from edgeherd_sim.hub.server import Hub

VERSION = "2021-04-12"
PRIMARY = "cHJpbWFyeS1wcmltYXJ5LXByaW1hcnk="
SECONDARY = "c2Vjb25kYXJ5LXNlY29uZGFyeS1zZWM="
KEYS = {"type": "sas", "symmetricKey": {"primaryKey": PRIMARY, "secondaryKey": SECONDARY}}
UNAUTHORIZED = (401, "IotHubUnauthorizedAccess")


def once(text: str) -> str:
    """Percent-encoded as this SDK does it."""
    return urllib.parse.quote_plus(text)


def token(
    resource: str,
    key: str,
    *,
    policy: str | None = None,
    expires_in: int = 3600,
    encode: Callable[[str], str] = once,
    sign: Callable[[str], str] | None = None,
) -> str:
    """A shared access signature: `encode` makes `sr`, `sign` what the signature covers (the same, unless said)."""
    expiry = int(time.time()) + expires_in
    covered = f"{(sign or encode)(resource)}\n{expiry}".encode()
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), covered, hashlib.sha256)).decode()
    name = f"&skn={policy}" if policy else ""
    return f"SharedAccessSignature sr={encode(resource)}&sig={urllib.parse.quote(signature)}&se={expiry}{name}"


def owner(hub: Hub, policy: str = "iothubowner") -> str:
    """The signature of a service client."""
    return token(hub.authority, hub.policies[policy], policy=policy)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def outcome(self) -> tuple[int, str]:
        """The status, and the hub's word for the error; empty without one."""
        return self.status, self.headers.get("iothub-errorcode", "")


@dataclasses.dataclass(frozen=True)
class Client:
    """A service client with one connection."""

    hub: Hub
    session: aiohttp.ClientSession

    async def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        if_match: str | None = None,
        authorization: str | None = None,
        version: str | None = VERSION,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request to a target that is encoded already; a body that is no bytes becomes JSON."""
        sent = {"Authorization": owner(self.hub) if authorization is None else authorization, **(headers or {})}
        if if_match is not None:
            sent["If-Match"] = if_match
        if version is not None:
            target += f"{'&' if '?' in target else '?'}api-version={version}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        url = yarl.URL(f"{self.hub.url}{target}", encoded=True)
        async with self.session.request(method, url, data=data, headers=sent) as response:
            raw = await response.read()
            return Answer(response.status, json.loads(raw) if raw else None, response.headers)

    async def get(self, device_id: str = "press-01") -> Any:
        """A device's identity, which must be there."""
        answer = await self.send("GET", f"/devices/{device_id}")
        assert answer.status == 200
        return answer.body

    async def put(self, body: Any = None, *, device_id: str = "press-01", if_match: str | None = None) -> Answer:
        """Create a device, or update it when there is an If-Match."""
        return await self.send("PUT", f"/devices/{device_id}", {} if body is None else body, if_match=if_match)

    async def made(self, body: Any = None, *, device_id: str = "press-01", if_match: str | None = None) -> Any:
        """Create or update a device, which must work; the identity as it is answered."""
        answer = await self.put(body, device_id=device_id, if_match=if_match)
        assert answer.outcome == (200, "")
        return answer.body

    async def control(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        """One request to the control API, which wants no signature."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send(method, f"/$sim{target}", body, authorization="", version=None, headers=named)


@contextlib.asynccontextmanager
async def connected(hub: Hub) -> AsyncIterator[Client]:
    """A client on a connection of its own, which trusts the hub's authority only."""
    context = ssl.create_default_context(cafile=hub.ca_file)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(30)) as session:
        yield Client(hub, session)
