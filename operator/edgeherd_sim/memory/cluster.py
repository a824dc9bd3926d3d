"""The cluster in memory. It answers as an API server does, with the client that `edgeherd.cluster` has."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from edgeherd.cluster.errors import ApiError, ConflictError, ContentRefusedError, ForbiddenError
from edgeherd.cluster.port import Cluster
from edgeherd.model import (
    FINALIZER,
    IN_USE_FINALIZER,
    KNOWN_HOSTS_TYPE,
    SECRET_TYPE,
    Condition,
    EdgeDevice,
    HubConnection,
    Secret,
    Status,
)
from edgeherd_sim.memory.steps import Steps

_MANAGED_BY = {"app.kubernetes.io/managed-by": "edgeherd"}
_EVENT_BYTES = 1024
"""So much of a message the client sends."""

_DEVICE_METADATA = ("resource_version", "finalizers", "force_delete", "requested_at", "renew_key", "check_requested")
"""Metadata and annotations, which are no part of the spec. `deletionTimestamp` is not here: it moves the generation."""

_HUB_NOT_SPEC = frozenset(
    {"name", "uid", "generation", "resource_version", "deleted_at", "force_delete", "finalizers", "requested_at"}
    | {"observed_generation", "conditions", "last_handled_reconcile_at"}
)
"""What of a HubConnection is no part of its spec."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An Event of an EdgeDevice."""

    device: str
    warning: bool
    reason: str
    message: str


class MemoryCluster:
    """EdgeDevices, HubConnections, Secrets, namespaces and Events.

    The methods that are not `async` are what people do to the cluster; no step counts them. A namespace need not be
    put for objects to be in it.
    """

    def __init__(self, steps: Steps | None = None) -> None:
        self.steps = Steps() if steps is None else steps
        self.devices: dict[tuple[str, str], EdgeDevice] = {}
        self.hubs: dict[str, HubConnection] = {}
        self.secrets: dict[tuple[str, str], Secret] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        self.events: list[Event] = []
        self.lists_secrets = True
        """Whether the operator may list Secrets."""
        self.secrets_asked_for: list[str] = []
        """The Secrets whose versions were asked for: 'all', or one by name."""
        self._terminating: set[str] = set()
        self._version = 0

    # ---- what people do

    def put_device(self, device: EdgeDevice) -> EdgeDevice:
        """Create an EdgeDevice as it is given, status and all; or apply another spec and other annotations to it."""
        old = self.devices.get((device.namespace, device.name))
        if old is None:
            return self._keep_device(device)
        server_owned = ("uid", "creation", "deleted_at", "finalizers", "status")
        return self._write_device(old, **_but(device, *server_owned, "generation", "resource_version"))

    def edit_device(self, namespace: str, name: str, **changes: Any) -> EdgeDevice:
        """Change fields of an EdgeDevice."""
        return self._write_device(self.devices[namespace, name], **changes)

    def delete_device(self, namespace: str, name: str) -> None:
        """Ask for the deletion of an EdgeDevice; at once where no finalizer holds it."""
        old = self.devices[namespace, name]
        self._write_device(old, deleted_at=old.deleted_at or _now())

    def put_hub(self, hub: HubConnection) -> HubConnection:
        """Create a HubConnection as it is given, status and all; or apply another spec to it."""
        old = self.hubs.get(hub.name)
        if old is None:
            return self._keep_hub(hub)
        spec = {key: value for key, value in _fields(hub).items() if key not in _HUB_NOT_SPEC}
        return self._write_hub(old, **spec)

    def edit_hub(self, name: str, **changes: Any) -> HubConnection:
        """Change fields of a HubConnection."""
        return self._write_hub(self.hubs[name], **changes)

    def delete_hub(self, name: str) -> None:
        """Ask for the deletion of a HubConnection; at once where no finalizer holds it."""
        old = self.hubs[name]
        self._write_hub(old, deleted_at=old.deleted_at or _now())

    def put_secret(
        self,
        namespace: str,
        name: str,
        data: Mapping[str, bytes],
        *,
        type_: str = "Opaque",
        owner_uids: tuple[str, ...] = (),
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Secret:
        """Create a Secret, or put this one in its place."""
        secret = Secret(
            namespace=namespace,
            name=name,
            type=type_,
            data=dict(data),
            labels=dict(labels or {}),
            annotations=dict(annotations or {}),
            owner_uids=owner_uids,
            resource_version="",
        )
        return self._write_secret(secret)

    def delete_secret(self, namespace: str, name: str) -> None:
        """Delete a Secret."""
        del self.secrets[namespace, name]

    def delete_namespace(self, name: str) -> None:
        """Ask for the deletion of a namespace: Secrets go first, EdgeDevices as their finalizers let them, and nothing new comes."""
        self._terminating.add(name)
        for key in [key for key in self.secrets if key[0] == name]:
            del self.secrets[key]
        for key in [key for key in self.devices if key[0] == name]:
            self.delete_device(*key)

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Create a namespace, or give it these labels in place of the ones that it has."""
        self.namespaces[name] = {**labels, "kubernetes.io/metadata.name": name}

    # ---- what the operator does: see `Cluster`

    async def edge_device(self, namespace: str, name: str) -> EdgeDevice | None:
        """See `Cluster`."""
        return self.devices.get((namespace, name))

    async def edge_devices(self) -> list[EdgeDevice]:
        """See `Cluster`."""
        return [self.devices[key] for key in sorted(self.devices)]

    async def hub_connections(self) -> list[HubConnection]:
        """See `Cluster`."""
        return [self.hubs[name] for name in sorted(self.hubs)]

    async def hub_connection(self, name: str) -> HubConnection | None:
        """See `Cluster`."""
        return self.hubs.get(name)

    async def namespace_labels(self, name: str) -> Mapping[str, str]:
        """See `Cluster`."""
        return self.namespaces.get(name, {})

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """See `Cluster`."""
        return self.secrets.get((namespace, name))

    async def may_list_secrets(self, namespaces: Iterable[str]) -> bool:
        """See `Cluster`."""
        del namespaces
        return self.lists_secrets

    async def secret_versions(self, namespaces: Iterable[str]) -> Mapping[tuple[str, str], str]:
        """See `Cluster`."""
        if not self.lists_secrets:
            raise ForbiddenError(403, "secrets is forbidden")
        self.secrets_asked_for.append("all")
        wanted = set(namespaces)
        return {
            (secret.namespace, secret.name): secret.resource_version
            for secret in self.secrets.values()
            if _MANAGED_BY.items() <= secret.labels.items() and wanted & {"", secret.namespace}
        }

    async def secret_version(self, namespace: str, name: str) -> str:
        """See `Cluster`."""
        self.secrets_asked_for.append(name)
        found = self.secrets.get((namespace, name))
        return found.resource_version if found is not None else ""

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
        wanted = _owned(device, device.secret_name, SECRET_TYPE, data, annotations)
        return self._put_owned(wanted, create=create, obsolete=obsolete)

    async def put_known_hosts(self, device: EdgeDevice, known_hosts: str, *, create: bool) -> None:
        """See `Cluster`."""
        wanted = _owned(device, device.known_hosts_name, KNOWN_HOSTS_TYPE, {"known_hosts": known_hosts}, {})
        self._put_owned(wanted, create=create)

    async def add_finalizer(self, device: EdgeDevice) -> EdgeDevice:
        """See `Cluster`."""
        with self._step("add finalizer"):
            found = self._unchanged(device)
            return self._write_device(found, finalizers=_with(found, FINALIZER))

    async def remove_finalizer(self, device: EdgeDevice) -> EdgeDevice:
        """See `Cluster`."""
        with self._step("remove finalizer"):
            found = self._unchanged(device)
            return self._write_device(found, finalizers=_without(found, FINALIZER))

    async def add_hub_finalizer(self, hub: HubConnection) -> HubConnection:
        """See `Cluster`."""
        with self._step("add hub finalizer"):
            found = self._unchanged_hub(hub)
            return self._write_hub(found, finalizers=_with(found, IN_USE_FINALIZER))

    async def remove_hub_finalizer(self, hub: HubConnection) -> None:
        """See `Cluster`."""
        with self._step("remove hub finalizer"):
            found = self._unchanged_hub(hub)
            self._write_hub(found, finalizers=_without(found, IN_USE_FINALIZER))

    async def forget_renewal(self, device: EdgeDevice) -> None:
        """See `Cluster`."""
        with self._step("forget renewal"):
            found = self._found(device)
            if found.uid != device.uid:
                raise ContentRefusedError(
                    422, f"EdgeDevice '{device.name}' is invalid: metadata.uid: field is immutable"
                )
            self._write_device(found, renew_key="")

    async def put_status(self, device: EdgeDevice, status: Status) -> EdgeDevice:
        """See `Cluster`."""
        with self._step("status"):
            found = self._found(device)
            if found.uid != device.uid:
                raise ConflictError(409, f"EdgeDevice '{device.name}' has another uid by now")
            return self._write_device(found, status=status)

    async def put_hub_status(
        self, hub: HubConnection, conditions: tuple[Condition, ...], observed: int, *, handled: str
    ) -> None:
        """See `Cluster`."""
        with self._step("hub status"):
            found = self._found_hub(hub)
            if found.uid != hub.uid:
                raise ConflictError(409, f"HubConnection '{hub.name}' has another uid by now")
            self._write_hub(
                found, conditions=conditions, observed_generation=observed, last_handled_reconcile_at=handled
            )

    async def event(self, device: EdgeDevice, *, warning: bool, reason: str, message: str) -> None:
        """See `Cluster`."""
        try:
            with self._step(f"event {reason}"):
                self._require_alive(device.namespace, "events")
                text = message if len(message.encode()) <= _EVENT_BYTES else _cut(message)
                self.events.append(Event(device=device.name, warning=warning, reason=reason, message=text))
        except ApiError:
            return

    # ---- how the API server does it

    def _step(self, what: str) -> AbstractContextManager[None]:
        return self.steps.step(what, ApiError, ApiError(0, "The API server did not answer."))

    def _require_alive(self, namespace: str, what: str) -> None:
        """Nothing is created in a namespace that is being deleted."""
        if namespace in self._terminating:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise ForbiddenError(403, f"{what} is forbidden: {why}")

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    def _found(self, device: EdgeDevice) -> EdgeDevice:
        """The object of that name as it is now."""
        found = self.devices.get((device.namespace, device.name))
        if found is None:
            raise _not_found("EdgeDevice", device.name)
        return found

    def _unchanged(self, device: EdgeDevice) -> EdgeDevice:
        """The object as it was read: a JSON patch tests the resourceVersion."""
        found = self._found(device)
        if found.resource_version != device.resource_version:
            raise ConflictError(422, f"EdgeDevice '{device.name}' was changed meanwhile.")
        return found

    def _found_hub(self, hub: HubConnection) -> HubConnection:
        """The object of that name as it is now."""
        found = self.hubs.get(hub.name)
        if found is None:
            raise _not_found("HubConnection", hub.name)
        return found

    def _unchanged_hub(self, hub: HubConnection) -> HubConnection:
        """The object as it was read."""
        found = self._found_hub(hub)
        if found.resource_version != hub.resource_version:
            raise ConflictError(422, f"HubConnection '{hub.name}' was changed meanwhile.")
        return found

    def _write_hub(self, old: HubConnection, **changes: Any) -> HubConnection:
        """As `_write_device` does it."""
        new = dataclasses.replace(old, **changes)
        if new == old:
            return old
        spec = {key: value for key, value in _fields(new).items() if key not in _HUB_NOT_SPEC}
        if new.deleted_at != old.deleted_at or any(value != getattr(old, key) for key, value in spec.items()):
            new = dataclasses.replace(new, generation=old.generation + 1)
        if new.deleting and not new.finalizers:
            del self.hubs[new.name]
            return new
        return self._keep_hub(new)

    def _keep_hub(self, hub: HubConnection) -> HubConnection:
        kept = dataclasses.replace(hub, resource_version=self._next_version())
        self.hubs[hub.name] = kept
        return kept

    def _write_device(self, old: EdgeDevice, **changes: Any) -> EdgeDevice:
        """A write that changes nothing is none; one that leaves a deleted object without finalizers removes it."""
        new = dataclasses.replace(old, **changes)
        if new == old:
            return old
        if _but(new, *_DEVICE_METADATA, "status") != _but(old, *_DEVICE_METADATA, "status"):
            new = dataclasses.replace(new, generation=old.generation + 1)
        if new.deleting and not new.finalizers:
            del self.devices[new.namespace, new.name]
            self._collect_garbage(new)
            return new
        return self._keep_device(new)

    def _keep_device(self, device: EdgeDevice) -> EdgeDevice:
        kept = dataclasses.replace(device, resource_version=self._next_version())
        self.devices[device.namespace, device.name] = kept
        return kept

    def _collect_garbage(self, owner: EdgeDevice) -> None:
        """The Secrets that were this object's alone go with it."""
        for key, secret in list(self.secrets.items()):
            if secret.owner_uids == (owner.uid,):
                del self.secrets[key]

    def _put_owned(self, wanted: Secret, *, create: bool, obsolete: tuple[str, ...] = ()) -> Secret:
        """Create a Secret; or apply it, which creates it too, keeps what it does not name and cannot change the type."""
        with self._step(f"{'create' if create else 'update'} {wanted.name}"):
            old = self.secrets.get((wanted.namespace, wanted.name))
            if old is None:
                self._require_alive(wanted.namespace, f'secrets "{wanted.name}"')
                if obsolete:  # they go by a merge patch, which wants an object
                    raise _not_found("Secret", wanted.name)
                return self._write_secret(wanted)
            if create:
                raise ConflictError(409, f"Secret '{wanted.name}' already exists.")
            if old.type != wanted.type:
                raise ContentRefusedError(422, f"Secret '{wanted.name}' is invalid: type: field is immutable")
            kept = {key: value for key, value in old.data.items() if key not in obsolete}
            merged = dataclasses.replace(
                old,
                data={**kept, **wanted.data},
                labels={**old.labels, **wanted.labels},
                annotations={**old.annotations, **wanted.annotations},
                owner_uids=tuple(dict.fromkeys([*old.owner_uids, *wanted.owner_uids])),
            )
            return old if merged == old else self._write_secret(merged)

    def _write_secret(self, secret: Secret) -> Secret:
        kept = dataclasses.replace(secret, resource_version=self._next_version())
        self.secrets[secret.namespace, secret.name] = kept
        return kept


def _fields(found: EdgeDevice | HubConnection) -> dict[str, Any]:
    """The fields of an object."""
    return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}


def _but(device: EdgeDevice, *names: str) -> dict[str, Any]:
    """The fields of an EdgeDevice, without these."""
    return {name: value for name, value in _fields(device).items() if name not in names}


def _with(found: EdgeDevice | HubConnection, finalizer: str) -> tuple[str, ...]:
    """Its finalizers and one more.

    Raises:
        ContentRefusedError: it is being deleted.
    """
    if found.deleting and finalizer not in found.finalizers:
        raise ContentRefusedError(422, "no new finalizers can be added if the object is being deleted")
    return (*found.finalizers, finalizer)


def _without(found: EdgeDevice | HubConnection, finalizer: str) -> tuple[str, ...]:
    left = list(found.finalizers)
    left.remove(finalizer)
    return tuple(left)


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _owned(
    device: EdgeDevice, name: str, type_: str, data: Mapping[str, str], annotations: Mapping[str, str]
) -> Secret:
    """A Secret that goes when the EdgeDevice goes."""
    return Secret(
        namespace=device.namespace,
        name=name,
        type=type_,
        data={key: value.encode() for key, value in data.items()},
        labels=_MANAGED_BY,
        annotations=dict(annotations),
        owner_uids=(device.uid,),
        resource_version="",
    )


def _cut(message: str) -> str:
    return message.encode()[: _EVENT_BYTES - 3].decode("utf-8", "ignore") + "..."


def _not_found(kind: str, name: str) -> ApiError:
    return ApiError(404, f"{kind} '{name}' not found")


_PORT: type[Cluster] = MemoryCluster
"""mypy sees that all of the port is here."""
