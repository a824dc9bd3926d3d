"""Who is calling, and what they may do."""

import base64
import binascii
import dataclasses
import enum
import json
import re
from collections.abc import Mapping

from edgeherd_sim.hub import sas
from edgeherd_sim.hub.model import Key
from edgeherd_sim.hub.store import Store

_JWT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")


class Right(enum.Flag):
    """What a shared access policy can allow."""

    NONE = 0
    REGISTRY_READ = enum.auto()
    REGISTRY_WRITE = enum.auto()
    SERVICE = enum.auto()
    DEVICE = enum.auto()
    ALL = REGISTRY_READ | REGISTRY_WRITE | SERVICE | DEVICE


BUILT_IN: Mapping[str, Right] = {
    "iothubowner": Right.ALL,
    "service": Right.SERVICE,
    "device": Right.DEVICE,
    "registryRead": Right.REGISTRY_READ,
    "registryReadWrite": Right.REGISTRY_READ | Right.REGISTRY_WRITE,
}
"""The policies that every hub is born with."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who was let in. `identity` is set when a device or module calls with its own key."""

    name: str
    rights: Right
    entra: bool = False
    identity: Key | None = None


class Authenticator:
    """Checks the `Authorization` header against policies, bearer tokens and the devices' own keys."""

    def __init__(
        self, store: Store, *, hosts: tuple[str, ...], policies: Mapping[str, str], bearer_token: str | None = None
    ) -> None:
        self.policies = dict(policies)
        self.hosts = hosts
        self._store = store
        self._bearer_token = bearer_token

    def identify(self, header: str | None, path: str, *, now: float) -> Caller:
        """The caller, or 401. `path` is decoded."""
        if not header:
            raise sas.unauthorized()
        scheme, _, credential = header.partition(" ")
        if scheme.lower() == "bearer":
            return self._bearer(credential.strip(), now)
        token = sas.parse(header)
        if not sas.covers(token, self.hosts, path):
            raise sas.unauthorized()
        caller, keys = self._policy(token.policy) if token.policy else self._device(token)
        if not sas.valid(token, keys, now=now):
            raise sas.unauthorized()
        return caller

    def _policy(self, name: str) -> tuple[Caller, tuple[str, ...]]:
        key = self.policies.get(name)
        if key is None:
            raise sas.unauthorized()
        return Caller(name=name, rights=BUILT_IN.get(name, Right.ALL)), (key,)

    def _device(self, token: sas.Token) -> tuple[Caller, tuple[str, ...]]:
        """A token without a policy is signed by the key of the device or module that its resource names."""
        match token.resource.split("/")[1:]:
            case ["devices", device]:
                keys = [(found, "") for found in sas.ids(device)]
            case ["devices", device, "modules", module]:
                keys = list(zip(sas.ids(device), sas.ids(module), strict=True))
            case _:
                raise sas.unauthorized()
        key: Key = next((key for key in keys if key in self._store.identities), keys[0])
        identity = self._store.identities.get(key)
        device_identity = self._store.identities.get((key[0], ""))
        if identity is None or device_identity is None or device_identity.status != "enabled":
            raise sas.unauthorized()
        return Caller(name="/".join(filter(None, key)), rights=Right.NONE, identity=key), identity.authentication.keys

    def _bearer(self, token: str, now: float) -> Caller:
        one_token = self._bearer_token
        if not (token == one_token if one_token is not None else _unexpired_jwt(token, now)):
            raise sas.unauthorized()
        return Caller(name="bearer", rights=Right.ALL & ~Right.DEVICE, entra=True)


def _unexpired_jwt(token: str, now: float) -> bool:
    """Three parts, JSON inside, not expired. Nobody's signature is checked: there is no Entra here."""
    match = _JWT.fullmatch(token)
    if match is None:
        return False
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in match.groups())
        return isinstance(header, dict) and float(claims.get("exp", now + 1)) > now
    except (ValueError, AttributeError, TypeError, OverflowError, binascii.Error):
        return False
