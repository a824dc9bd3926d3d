"""HubConnections: may this device use that hub, and the one client per hub that all its devices share."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from edgeherd.cluster.port import Cluster
from edgeherd.errors import Stalled, Waiting
from edgeherd.hub import credential
from edgeherd.hub.credential import HubCredential, WorkloadIdentity
from edgeherd.hub.port import Hub
from edgeherd.model import EdgeDevice, HubConnection


class Client(Protocol):
    """The client of one hub, which all its devices share."""

    def on_behalf_of(self, namespace: str) -> Hub:
        """The hub as one namespace uses it."""

    def close(self) -> None:
        """Let go of its connections."""


HubCredentials = HubCredential | WorkloadIdentity
ClientFactory = Callable[[HubConnection, HubCredentials], Client]


@dataclasses.dataclass(frozen=True, slots=True)
class _Open:
    """A client, with all that it was made from."""

    made_from: tuple[object, ...] = dataclasses.field(repr=False)
    client: Client


@dataclasses.dataclass(frozen=True, slots=True)
class HubAccess:
    """A hub as one device uses it, with the HubConnection that says so."""

    connection: HubConnection
    hub: Hub


class HubClients:
    """Opens hubs on demand; a rotated Secret or an edited HubConnection is picked up at the next use."""

    def __init__(self, cluster: Cluster, *, namespace: str, factory: ClientFactory) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._factory = factory
        self._open: dict[str, _Open] = {}

    async def for_device(self, device: EdgeDevice) -> HubAccess:
        """The hub that the device names, if the device may use it.

        Raises:
            Waiting: the HubConnection or its Secret is not there yet, or the HubConnection is being deleted.
            Stalled: the hub's rules forbid it, or the credential cannot be used.
        """
        connection = await self.named(device.hub_name)
        await self.admit(device, connection)
        if connection.deleting and not device.status.identity.is_known:
            message = (
                f"HubConnection '{connection.name}' is being deleted, so it takes no new EdgeDevice. Delete this one, or wait: "
                "it goes on when the HubConnection has been created anew."
            )
            raise Waiting("HubDeleting", message, retry_after=60, observed=False)
        return await self._access(device, connection)

    async def for_release(self, device: EdgeDevice) -> HubAccess:
        """The hub that the device names, to leave it: whether it may still be used does not matter.

        Raises:
            Waiting: the HubConnection or its Secret is not there.
            Stalled: the credential cannot be used.
        """
        return await self._access(device, await self.named(device.hub_name))

    async def _access(self, device: EdgeDevice, connection: HubConnection) -> HubAccess:
        return HubAccess(connection, (await self.open(connection)).on_behalf_of(device.namespace))

    async def named(self, name: str) -> HubConnection:
        """The HubConnection of that name.

        Raises:
            Waiting: there is none.
        """
        connection = await self._cluster.hub_connection(name)
        if connection is None:
            message = f"There is no HubConnection '{name}'. Ask the platform's administrator, or fix spec.hubRef."
            raise Waiting("HubNotFound", message, retry_after=60, observed=False)
        return connection

    def forget(self, name: str) -> None:
        """The HubConnection is gone."""
        known = self._open.pop(name, None)
        if known is not None:
            known.client.close()

    def close(self) -> None:
        """Let go of all hubs."""
        for name in tuple(self._open):
            self.forget(name)

    async def admits(self, device: EdgeDevice, connection: HubConnection) -> bool:
        """Whether the device may use the hub."""
        try:
            await self.admit(device, connection)
        except Stalled:
            return False
        return True

    async def admit(self, device: EdgeDevice, connection: HubConnection) -> None:
        """The administrator's rules of the hub.

        Raises:
            Stalled: the device may not use it.
        """
        selector = connection.namespace_selector
        if selector is not None and not matches(selector, await self._cluster.namespace_labels(device.namespace)):
            message = f"HubConnection '{connection.name}' does not allow namespace '{device.namespace}' (spec.allowedNamespaces)."
            raise Stalled("HubNotAllowed", message)
        pattern = connection.device_id_pattern
        if pattern is not None and not id_matches(pattern, device.device_id, device.namespace):
            message = (
                f"HubConnection '{connection.name}' allows device ids like '{pattern}' only "
                f"(spec.deviceIdPattern); this one is '{device.device_id}'."
            )
            raise Stalled("DeviceIdNotAllowed", message)

    async def open(self, connection: HubConnection) -> Client:
        """The client of a hub.

        Raises:
            Waiting: the Secret is not there yet.
            Stalled: the Secret's content cannot be used.
        """
        login = await self._login(connection)
        made_from = (login, connection.port, connection.registry_operations_per_minute)
        known = self._open.get(connection.name)
        if known is None or known.made_from != made_from:
            self.forget(connection.name)
            known = self._open[connection.name] = _Open(made_from, self._factory(connection, login))
        return known.client

    async def _login(self, connection: HubConnection) -> HubCredentials:
        if connection.secret_name is None:
            return WorkloadIdentity(
                host_name=connection.host_name, client_id=connection.client_id, tenant_id=connection.tenant_id
            )
        where = (
            f"Secret '{connection.secret_name}' in namespace '{self._namespace}' (HubConnection '{connection.name}')"
        )
        secret = await self._cluster.secret(self._namespace, connection.secret_name)
        if secret is None:
            raise Waiting("HubSecretNotFound", f"There is no {where}. Create it.", retry_after=30, observed=False)
        raw = secret.data.get(connection.secret_key)
        if raw is None:
            raise Stalled("HubSecretInvalid", f"{where} has no key '{connection.secret_key}'. Add it.")
        try:
            login = credential.parse(raw.decode())
        except ValueError as exc:
            reason = "is not text" if isinstance(exc, UnicodeDecodeError) else str(exc)
            raise Stalled("HubSecretInvalid", f"Key '{connection.secret_key}' of {where} {reason}.") from None
        if login.host_name.lower() != connection.host_name.lower():
            message = f"{where} is for hub '{login.host_name}', but spec.hostName is '{connection.host_name}'. Fix one of them."
            raise Stalled("HubSecretInvalid", message)
        return login


def id_matches(pattern: str, device_id: str, namespace: str) -> bool:
    """Whether a device id matches `spec.deviceIdPattern`: only '*' and '{namespace}' are special."""
    parts = [re.escape(part) for part in pattern.replace("{namespace}", namespace).split("*")]
    return re.fullmatch(".*".join(parts), device_id) is not None


def is_ambiguous(pattern: str) -> bool:
    """Whether `spec.deviceIdPattern` ties ids to namespaces, but lets two namespaces claim one id.

    The place of the namespace in an id is known when nothing of unknown length stands before it, and its end when a character
    follows that no name of a namespace has (RFC 1123 labels: lower-case letters, digits and '-'); the same from the end.
    """
    if "{namespace}" not in pattern or "*" not in pattern:
        return False
    head, tail = pattern.partition("*")[0], pattern.rpartition("*")[2]
    after = head.partition("{namespace}")[2] if "{namespace}" in head else ""
    before = tail.rpartition("{namespace}")[0] if "{namespace}" in tail else ""
    return not any(_FOREIGN.search(text.replace("{namespace}", "")) for text in (after, before))


_FOREIGN = re.compile(r"[^a-z0-9-]")


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels match a LabelSelector, as Kubernetes defines it."""
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions: Sequence[Mapping[str, Any]] = selector.get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
