"""What the operator asks of an IoT hub's identity registry, and what it can answer."""

import dataclasses
from typing import Protocol

from edgeherd.model import Keys


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A device identity as the hub has it. `keys` is None unless it authenticates with symmetric keys."""

    device_id: str
    generation_id: str
    etag: str
    enabled: bool
    iot_edge: bool
    authentication: str
    keys: Keys | None
    status_reason: str | None = None
    device_scope: str | None = None
    parent_scopes: tuple[str, ...] = ()


class HubError(Exception):
    """The hub did not do what it was asked. Never stands for "absent"; `code` is the hub's own word for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class AlreadyExistsError(HubError):
    """409: the identity is there already, ours or not. Look again."""


class PreconditionFailedError(HubError):
    """412: the identity changed since it was read. Look again."""


class RefusedError(HubError):
    """401 or 403: the hub refuses the credential. Only the hub's administrator can mend that."""


class ThrottledError(HubError):
    """429: the hub wants to be left alone for a while."""


class InvalidError(HubError):
    """400: the hub refuses the content of the request."""


class UnavailableError(HubError):
    """5xx, time-out, broken connection: what happened is unknown. Look again."""


class Hub(Protocol):
    """The identity registry of one hub."""

    async def get(self, device_id: str) -> Identity | None:
        """The identity; None only when the hub itself says that there is none (404)."""

    async def create(self, device_id: str, keys: Keys, *, enabled: bool) -> Identity:
        """Create an edge-enabled identity with exactly these keys; AlreadyExistsError when there is one."""

    async def update(self, identity: Identity, *, enabled: bool, keys: Keys) -> Identity:
        """Write back what was read, edge-enabled and in the wanted state, only if it has not changed since."""

    async def delete(self, identity: Identity) -> None:
        """Delete just this version of the identity; one that is gone already is fine."""

    async def probe(self) -> None:
        """The cheapest request that needs the registry permission."""
