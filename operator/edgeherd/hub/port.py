"""What the operator asks of an IoT hub's identity registry, and what it can answer."""

import dataclasses
import re
from typing import Protocol

from edgeherd.model import Credentials, Keys, Thumbprints


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A device identity as the hub has it.

    `authentication` is the hub's word: 'sas', 'selfSigned', 'certificateAuthority' or 'none'. `credentials` are the keys
    or thumbprints that go with the first two; None with the others.
    """

    device_id: str
    generation_id: str
    etag: str
    enabled: bool
    iot_edge: bool
    authentication: str
    credentials: Credentials | None
    status_reason: str | None = None
    device_scope: str | None = None
    parent_scopes: tuple[str, ...] = ()

    @property
    def keys(self) -> Keys | None:
        """The symmetric keys, if it has any."""
        return self.credentials if isinstance(self.credentials, Keys) else None

    @property
    def thumbprints(self) -> Thumbprints | None:
        """The thumbprints, if it has any."""
        return self.credentials if isinstance(self.credentials, Thumbprints) else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The EdgeDevice that an identity belongs to, as `tags.edgeherd` of the device twin names it, across clusters."""

    uid: str
    namespace: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """What the device twin tells of an identity."""

    etag: str
    device_etag: str
    """The etag of the identity."""
    owner: Owner | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An edge device as the hub's device list shows it; times are those of the hub, in UTC, and empty for never.

    `parent` is the device id of its parent; `tags` are the names of its twin's tags, without the one that names `owner`;
    `deployments` are the automatic deployments that it is a target of.
    """

    device_id: str
    enabled: bool
    authentication: str
    connected: bool
    last_activity: str
    modules: int
    thumbprints: Thumbprints | None = None
    owner: Owner | None = None
    parent: str = ""
    tags: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()


def error_code(text: str) -> str:
    """A hub's word for a trouble, as it may be shown: whoever answers for a hub may write anything there."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", text)[:64] or "Unknown"


class HubError(Exception):
    """The hub did not do what it was asked. Never stands for "absent"; `code` is the hub's own word for it.

    `retry_after` are seconds, where it is known when asking again has a chance.
    """

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        self.code = error_code(code)
        super().__init__(f"{self.code}: {message}")
        self.message = message
        self.retry_after = retry_after


class AlreadyExistsError(HubError):
    """409: the identity is there already, ours or not. Look again."""


class PreconditionFailedError(HubError):
    """412: the identity changed since it was read. Look again."""


class RefusedError(HubError):
    """401 or 403: the hub refuses the credential. Only the hub's administrator can fix that."""


class QuotaExceededError(HubError):
    """403002 or 413: the hub is full, or its quota for the day is used up."""


class ThrottledError(HubError):
    """429: the hub wants to be left alone for a while."""


class BusyError(HubError):
    """We ask the hub as often as we may; nothing was sent."""


class InvalidError(HubError):
    """400: the hub refuses the content of the request."""


class UnavailableError(HubError):
    """5xx, time-out, broken connection: what happened is unknown. Look again."""


class Hub(Protocol):
    """The identity registry of one hub, on behalf of one namespace."""

    async def get(self, device_id: str) -> Identity | None:
        """The identity; None only when the hub itself says that there is none (404)."""

    async def twin(self, device_id: str) -> Twin | None:
        """The device twin, which the hub lets be read sixty times as often as the identity.

        None where it cannot tell: the credential may not read twins, or there is none. `get` decides then.
        """

    async def mark(self, device_id: str, owner: Owner, *, etag: str) -> bool:
        """Write the owner into the twin's tags if the twin still has this etag ('*' for any); False if that is not allowed."""

    async def agent_connected(self, device_id: str) -> bool | None:
        """Whether the hub sees the device's edgeAgent connected; None where it cannot be told, or for any trouble."""

    async def create(self, device_id: str, credentials: Credentials, *, enabled: bool) -> Identity:
        """Create an edge-enabled identity with exactly these credentials; AlreadyExistsError when there is one."""

    async def update(self, identity: Identity, *, enabled: bool, credentials: Credentials) -> Identity:
        """Write back what was read, edge-enabled and in the wanted state, only if it has not changed since."""

    async def delete(self, identity: Identity) -> None:
        """Delete just this version of the identity; one that is gone already is fine."""

    async def probe(self) -> None:
        """The cheapest request that needs the registry permission."""

    async def edge_devices(self) -> tuple[Listed, ...]:
        """All edge devices of the hub, by their ids."""
