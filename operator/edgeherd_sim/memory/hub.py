"""The hub in memory: the emulator's registry without its wire."""

import dataclasses
from contextlib import AbstractContextManager
from typing import Any

from edgeherd.hub.port import (
    AlreadyExistsError,
    Hub,
    HubError,
    Identity,
    InvalidError,
    Listed,
    Owner,
    PreconditionFailedError,
    QuotaExceededError,
    RefusedError,
    ThrottledError,
    Twin,
    UnavailableError,
)
from edgeherd.model import Credentials, Keys, Thumbprints
from edgeherd_sim.hub import errors, model, rules
from edgeherd_sim.hub.store import Store
from edgeherd_sim.memory.steps import Steps

_REFUSALS: dict[int, type[HubError]] = {
    400: InvalidError,
    401: RefusedError,
    403: RefusedError,
    409: AlreadyExistsError,
    412: PreconditionFailedError,
    413: QuotaExceededError,
    429: ThrottledError,
}


class MemoryHub:
    """One hub. `twins` says whether its credential may read twins."""

    def __init__(self, store: Store | None = None, steps: Steps | None = None, *, twins: bool = True) -> None:
        self.store = Store() if store is None else store
        self.steps = Steps() if steps is None else steps
        self.twins = twins

    async def get(self, device_id: str) -> Identity | None:
        """See `Hub`."""
        with self._step("get identity"):
            return identity_of(self.store, device_id)

    async def twin(self, device_id: str) -> Twin | None:
        """See `Hub`."""
        with self._step("get twin"):
            found = identity_of(self.store, device_id)
            if found is None or not self.twins:
                return None
            _, twin = self.store.twin((device_id, ""))
            return Twin(etag=twin.etag, device_etag=found.etag, owner=_owner(twin))

    async def mark(self, device_id: str, owner: Owner, *, etag: str) -> bool:
        """See `Hub`."""
        with self._step("tag twin"):
            if not self.twins:
                return False
            try:
                self.store.patch_twin((device_id, ""), {"tags": {"edgeherd": dataclasses.asdict(owner)}}, etag)
            except errors.HubError as exc:
                raise _refusal(exc) from None
            return True

    async def agent_connected(self, device_id: str) -> bool | None:
        """See `Hub`."""
        try:
            with self._step("get twin of edgeAgent"):
                return self.store.module(device_id, "$edgeAgent").connected if self.twins else None
        except (HubError, errors.HubError):
            return None

    async def create(self, device_id: str, credentials: Credentials, *, enabled: bool) -> Identity:
        """See `Hub`."""
        with self._step("create identity"):
            return self._put(device_id, _body(credentials, enabled=enabled), None)

    async def update(self, identity: Identity, *, enabled: bool, credentials: Credentials) -> Identity:
        """See `Hub`. The scopes are echoed, as the hub demands."""
        echoed = {
            "statusReason": identity.status_reason,
            "deviceScope": identity.device_scope if identity.iot_edge else "",
            "parentScopes": list(identity.parent_scopes),
        }
        with self._step("update identity"):
            return self._put(identity.device_id, {**_body(credentials, enabled=enabled), **echoed}, identity.etag)

    async def delete(self, identity: Identity) -> None:
        """See `Hub`."""
        with self._step("delete identity"):
            try:
                self.store.delete_device(identity.device_id, identity.etag)
            except errors.HubError as exc:
                if exc.status != 404:
                    raise _refusal(exc) from None

    async def probe(self) -> None:
        """See `Hub`."""
        with self._step("probe hub"):
            return

    async def edge_devices(self) -> tuple[Listed, ...]:
        """See `Hub`."""
        with self._step("list edge devices"):
            return tuple(self._listed(device) for device in self.store.devices() if device.edge)

    def _listed(self, device: model.Identity) -> Listed:
        never = device.last_activity == model.NEVER
        first, second = device.authentication.primary_thumbprint, device.authentication.secondary_thumbprint
        twin = self.store.twins[device.key]
        scopes = device.parent_scopes
        return Listed(
            device_id=device.device_id,
            enabled=device.status == "enabled",
            authentication=device.authentication.type,
            connected=device.connected,
            last_activity="" if never else f"{device.last_activity[:19]}Z",
            modules=len(self.store.modules(device.device_id)),
            thumbprints=Thumbprints(primary=first, secondary=second) if first else None,
            owner=_owner(twin),
            parent=scopes[0].removeprefix(rules.SCOPE_PREFIX).rpartition("-")[0] if scopes else "",
            tags=tuple(sorted(name for name in twin.tags or {} if name != "edgeherd")),
            deployments=tuple(sorted(twin.configurations)),
        )

    def _step(self, what: str) -> AbstractContextManager[None]:
        return self.steps.step(what, HubError, UnavailableError("ConnectionError", "The hub could not be reached."))

    def _put(self, device_id: str, body: dict[str, Any], if_match: str | None) -> Identity:
        try:
            return _identity(self.store.put_device(device_id, body, if_match))
        except errors.HubError as exc:
            raise _refusal(exc) from None


@dataclasses.dataclass
class MemoryHubClient:
    """The client of one hub, which all its devices share: what the factory of the operator's hubs makes."""

    hub: MemoryHub = dataclasses.field(default_factory=MemoryHub)
    closed: bool = False
    remaining: int = 50

    def on_behalf_of(self, namespace: str) -> Hub:
        """The hub as one namespace uses it."""
        del namespace
        return self.hub

    def close(self) -> None:
        """Nobody needs it any more."""
        self.closed = True


def identity_of(store: Store, device_id: str) -> Identity | None:
    """What the registry has, in the operator's terms."""
    found = store.identities.get((device_id, ""))
    return None if found is None else _identity(found)


def _owner(twin: model.Twin) -> Owner | None:
    said = (twin.tags or {}).get("edgeherd")
    return Owner(**said) if said else None


def _identity(found: model.Identity) -> Identity:
    return Identity(
        device_id=found.device_id,
        generation_id=found.generation_id,
        etag=found.etag,
        enabled=found.status == "enabled",
        iot_edge=found.edge,
        authentication=found.authentication.type,
        credentials=_credentials(found.authentication),
        status_reason=found.status_reason,
        device_scope=found.device_scope,
        parent_scopes=found.parent_scopes,
    )


def _credentials(said: model.Authentication) -> Credentials | None:
    if said.type == "sas" and said.primary_key and said.secondary_key:
        return Keys(primary=said.primary_key, secondary=said.secondary_key)
    if said.type == "selfSigned" and said.primary_thumbprint:
        return Thumbprints(primary=said.primary_thumbprint, secondary=said.secondary_thumbprint)
    return None


def _body(credentials: Credentials, *, enabled: bool) -> dict[str, Any]:
    """An edge device as the hub's wire has it."""
    if isinstance(credentials, Keys):
        keys = {"primaryKey": credentials.primary, "secondaryKey": credentials.secondary}
        authentication: dict[str, Any] = {"type": "sas", "symmetricKey": keys}
    else:
        thumbprints = {"primaryThumbprint": credentials.primary, "secondaryThumbprint": credentials.secondary}
        authentication = {"type": "selfSigned", "x509Thumbprint": thumbprints}
    return {
        "status": "enabled" if enabled else "disabled",
        "capabilities": {"iotEdge": True},
        "authentication": authentication,
    }


def _refusal(error: errors.HubError) -> HubError:
    """The emulator's refusal as the adapter maps it; an update of what is gone is one of what has changed."""
    gone = error.code == "DeviceNotFound"
    kind = PreconditionFailedError if gone else _REFUSALS.get(error.status, UnavailableError)
    return kind(error.code, error.message)


_PORT: type[Hub] = MemoryHub
"""mypy sees that all of the port is here."""
