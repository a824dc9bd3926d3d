"""A cluster and a hub in memory, for the links: what they did is counted, and every step of it can fail."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from edgeherd import resource
from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.hub.port import (
    AlreadyExistsError,
    HubError,
    Identity,
    Listed,
    PreconditionFailedError,
    UnavailableError,
)
from edgeherd.model import (
    SECRET_TYPE,
    Credentials,
    EdgeDevice,
    HubConnection,
    IdentityStatus,
    Keys,
    Secret,
    Status,
    Thumbprints,
)
from edgeherd_sim.hub import errors
from edgeherd_sim.hub.store import Store

HOST = "contoso.azure-devices.net"
ID = "press-01"


class CrashError(BaseException):
    """The process is gone: nobody catches this."""


@dataclasses.dataclass
class Steps:
    """Counts side effects; the chosen one goes wrong, before or after it is done."""

    at: int | None = None
    after: bool = False
    error: BaseException | None = None
    taken: list[str] = dataclasses.field(default_factory=list)

    def before(self, what: str) -> None:
        """A step begins."""
        self.taken.append(what)
        if self.at == len(self.taken) and not self.after:
            self._fail()

    def done(self) -> None:
        """A step was carried out."""
        if self.at == len(self.taken) and self.after:
            self._fail()

    def _fail(self) -> None:
        error, self.at = self.error, None
        if isinstance(error, HubError) and self.taken[-1] in {"secret", "status"}:
            raise ApiError(0, "The API server did not answer.")
        if error is not None:
            raise error


class MemoryCluster:
    """The Secret of one device, and its status. Stands for `cluster.port.Cluster`."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.secrets: dict[str, Secret] = {}
        self.status = Status()
        self.renewals_heard = 0

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """See `Cluster`."""
        del namespace
        return self.secrets.get(name)

    async def put_connection_secret(
        self,
        device: EdgeDevice,
        data: Mapping[str, str],
        *,
        annotations: Mapping[str, str],
        create: bool,
        obsolete: tuple[str, ...] = (),
    ) -> Secret:
        """See `Cluster`."""
        self.steps.before("secret")
        old = self.secrets.get(device.secret_name)
        if create and old is not None:
            raise ConflictError(409, "it is there")
        kept = {} if old is None else {key: value for key, value in old.data.items() if key not in obsolete}
        self.secrets[device.secret_name] = Secret(
            namespace=device.namespace,
            name=device.secret_name,
            type=SECRET_TYPE,
            data={**kept, **{key: value.encode() for key, value in data.items()}},
            labels={},
            annotations=dict(annotations),
            owner_uids=(device.uid,),
            resource_version="1",
        )
        self.steps.done()
        return self.secrets[device.secret_name]

    async def put_status(self, device: EdgeDevice, status: Status) -> None:
        """See `Cluster`."""
        del device
        self.steps.before("status")
        self.status = status
        self.steps.done()

    async def forget_renewal(self, device: EdgeDevice) -> None:
        """See `Cluster`."""
        del device
        self.renewals_heard += 1


class MemoryHub:
    """The emulator's registry without its wire. Stands for `hub.port.Hub`."""

    def __init__(self, store: Store, steps: Steps, *, twins: bool = True) -> None:
        self.store = store
        self.steps = steps
        self.twins = twins

    async def get(self, device_id: str) -> Identity | None:
        """See `Hub`."""
        self.steps.before("get")
        found = identity_of(self.store, device_id)
        self.steps.done()
        return found

    async def twin_etag(self, device_id: str) -> str | None:
        """See `Hub`."""
        self.steps.taken.append("twin_etag")
        found = identity_of(self.store, device_id)
        return found.etag if found and self.twins else None

    async def agent_connected(self, device_id: str) -> bool | None:
        """See `Hub`."""
        self.steps.taken.append("agent_connected")
        return self.store.module(device_id, "$edgeAgent").connected if self.twins else None

    async def create(self, device_id: str, credentials: Credentials, *, enabled: bool) -> Identity:
        """See `Hub`."""
        self.steps.before("create")
        return self._put(device_id, credentials, enabled=enabled, if_match=None)

    async def update(self, identity: Identity, *, enabled: bool, credentials: Credentials) -> Identity:
        """See `Hub`."""
        self.steps.before("update")
        more = {"deviceScope": identity.device_scope if identity.iot_edge else ""}
        return self._put(identity.device_id, credentials, enabled=enabled, if_match=identity.etag, **more)

    async def delete(self, identity: Identity) -> None:
        """See `Hub`."""
        self.steps.before("delete")
        try:
            self.store.delete_device(identity.device_id, identity.etag)
        except errors.HubError as exc:
            if exc.status != 404:
                raise mapped(exc) from None
        self.steps.done()

    async def probe(self) -> None:
        """See `Hub`."""

    async def edge_devices(self) -> tuple[Listed, ...]:
        """See `Hub`."""
        return ()

    def _put(
        self, device_id: str, credentials: Credentials, *, enabled: bool, if_match: str | None, **more: Any
    ) -> Identity:
        body = {
            "status": "enabled" if enabled else "disabled",
            "capabilities": {"iotEdge": True},
            "authentication": as_body(credentials),
            **more,
        }
        try:
            self.store.put_device(device_id, body, if_match)
        except errors.HubError as exc:
            raise mapped(exc) from None
        self.steps.done()
        found = identity_of(self.store, device_id)
        assert found is not None
        return found


def mapped(error: errors.HubError) -> HubError:
    """The emulator's refusal as the adapter maps it."""
    kinds = {409: AlreadyExistsError, 412: PreconditionFailedError, 404: PreconditionFailedError}
    return kinds.get(error.status, UnavailableError)(error.code, "")


def as_body(credentials: Credentials) -> dict[str, Any]:
    """Credentials as the hub's wire has them."""
    if isinstance(credentials, Keys):
        return {"symmetricKey": {"primaryKey": credentials.primary, "secondaryKey": credentials.secondary}}
    thumbprints = {"primaryThumbprint": credentials.primary, "secondaryThumbprint": credentials.secondary}
    return {"type": "selfSigned", "x509Thumbprint": thumbprints}


def identity_of(store: Store, device_id: str) -> Identity | None:
    """What the registry has, in the operator's terms."""
    found = store.identities.get((device_id, ""))
    if found is None:
        return None
    said = found.authentication
    credentials: Credentials | None = None
    if said.primary_key and said.secondary_key:
        credentials = Keys(primary=said.primary_key, secondary=said.secondary_key)
    elif said.primary_thumbprint:
        credentials = Thumbprints(primary=said.primary_thumbprint, secondary=said.secondary_thumbprint)
    return Identity(
        device_id=device_id,
        generation_id=found.generation_id,
        etag=found.etag,
        enabled=found.status == "enabled",
        iot_edge=found.edge,
        authentication=said.type,
        credentials=credentials,
        device_scope=found.device_scope,
        parent_scopes=found.parent_scopes,
    )


def edge_device(*, uid: str = "u1", status: Status | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> EdgeDevice:  # fmt: skip
    """An EdgeDevice; `spec` goes over the usual one."""
    ssh = {"host": "h", "user": "u", "credentialsSecretRef": {"name": "ssh"}}
    body = {
        "metadata": {
            "name": ID,
            "namespace": "plant-a",
            "uid": uid,
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": annotations or {},
        },
        "spec": {"hubRef": {"name": "contoso"}, "ssh": ssh, **spec},
    }
    device = resource.edge_device(body)
    return dataclasses.replace(device, status=status or Status())


def connection(**spec: Any) -> HubConnection:
    """A HubConnection to the hub."""
    auth = {"connectionStringSecretRef": {"name": "hub"}}
    usual = {"hostName": HOST, "auth": auth, "allowedNamespaces": {"from": "All"}}
    return resource.hub_connection(
        {"metadata": {"name": "contoso", "uid": "h", "generation": 1}, "spec": {**usual, **spec}}
    )


def with_identity(status: Status, identity: Identity, origin: Any) -> Status:
    """The status after a pass that got this far."""
    said = IdentityStatus(
        hub_host_name=HOST,
        device_id=identity.device_id,
        generation_id=identity.generation_id,
        etag=identity.etag,
        origin=origin,
        status="Enabled" if identity.enabled else "Disabled",
    )
    return dataclasses.replace(status, identity=said)
