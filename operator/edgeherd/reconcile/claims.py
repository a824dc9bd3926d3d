"""Who has an identity when several EdgeDevices name it: the oldest of those that may.

What the watch told costs nothing and is enough for a clear message, because keys keep two from sharing an identity. An
adoption takes keys over, so before one the API server itself is asked who else there is.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from edgeherd.clock import Clock
from edgeherd.cluster.port import Cluster
from edgeherd.errors import Stalled
from edgeherd.model import EdgeDevice, HubConnection, Key
from edgeherd.reconcile.hub_clients import HubClients


class Index(Protocol):
    """Who names which identity, as the watch saw it."""

    def older_claimants(self, device: EdgeDevice) -> tuple[Key, ...]:
        """The older devices that name the same identity of the same hub, the oldest first."""

    def naming(self, device_id: str) -> tuple[Key, ...]:
        """The devices that name this device id, of whatever hub."""

    def delete(self, key: Key) -> tuple[Key, ...]:
        """An object is gone; those that waited behind it."""


class Claims:
    """Tells who comes first."""

    def __init__(self, cluster: Cluster, hubs: HubClients, index: Index, clock: Clock) -> None:
        self._cluster = cluster
        self._hubs = hubs
        self._index = index
        self._clock = clock
        self._lock = asyncio.Lock()
        self._listed: tuple[float, list[EdgeDevice]] = (float("-inf"), [])

    async def require_first(self, device: EdgeDevice, connection: HubConnection) -> None:
        """By what the watch told.

        Raises:
            Stalled: an older EdgeDevice has the identity.
        """
        if _has(device, connection):
            return
        for key in self._index.older_claimants(device):
            other = await self._cluster.edge_device(key.namespace, key.name)
            if other is None:
                self._index.delete(key)  # its deletion fell into a gap of the watch
            elif other.device_id == device.device_id and await self._counts(other, connection):
                raise _conflict(device, other)

    async def require_sole(self, device: EdgeDevice, connection: HubConnection) -> None:
        """By what the API server has now.

        Raises:
            Stalled: somebody else has the identity, or an older EdgeDevice may have it.
        """
        for other in _older(device, await self._all()):
            if await self._counts(other, connection):
                raise _conflict(device, other)

    async def is_held(self, device: EdgeDevice, connection: HubConnection) -> bool:
        """Whether another EdgeDevice has the identity, by its status."""
        for key in self._index.naming(device.device_id):
            other = await self._cluster.edge_device(key.namespace, key.name)
            if other is not None and other.uid != device.uid and _has(other, connection):
                return True
        return False

    async def require_own_machine(self, device: EdgeDevice, found: str, fingerprint: str) -> None:
        """The machine is set up as the device id `found`, and showed this host key: is it another EdgeDevice's?

        Raises:
            Stalled: it is; two that take turns would stop its modules for ever.
        """
        for key in self._index.naming(found):
            other = await self._cluster.edge_device(key.namespace, key.name)
            if other is None or other.uid == device.uid or other.deleting or other.device_id != found:
                continue
            there = other.status.device
            if there.applied_generation is not None and there.host_key_fingerprint == fingerprint:
                message = (
                    f"{device.ssh.host} is set up as '{found}' by another EdgeDevice{_where(device, other)}: both reach the same "
                    "machine, whose host key is the same. Nothing was changed. Fix spec.ssh.host, or delete one of them; "
                    "machines that were cloned need host keys of their own."
                )
                raise Stalled("MachineConflict", message)

    async def _all(self) -> list[EdgeDevice]:
        """A list that was begun after this was called. Many that are adopted at once share one."""
        asked = self._clock.monotonic()
        async with self._lock:
            begun, found = self._listed
            if begun <= asked:
                begun = self._clock.monotonic()
                found = await self._cluster.edge_devices()
                self._listed = (begun, found)
        return found

    async def _counts(self, other: EdgeDevice, connection: HubConnection) -> bool:
        """Whether an EdgeDevice has the identity, or may have it: one that is not admitted blocks nobody."""
        if _has(other, connection):
            return True
        named = await self._cluster.hub_connection(other.hub_name)
        same = named is not None and named.host_name.lower() == connection.host_name.lower()
        if named is None or not same or named.deleting or other.suspend or other.deleting:
            return False
        return await self._hubs.admits(other, named)


def _has(device: EdgeDevice, connection: HubConnection) -> bool:
    """Whether it has its identity already, by its status."""
    had = device.status.identity
    where = (had.device_id, had.hub_host_name.lower())
    return bool(had.generation_id) and where == (device.device_id, connection.host_name.lower())


def _older(device: EdgeDevice, others: Iterable[EdgeDevice]) -> list[EdgeDevice]:
    """Those that name the same id and are older, or have it already."""
    return [
        other
        for other in others
        if other.uid != device.uid
        and other.device_id == device.device_id
        and ((other.creation, other.uid) < (device.creation, device.uid) or other.status.identity.generation_id)
    ]


def _where(device: EdgeDevice, other: EdgeDevice) -> str:
    """Another tenant's objects are not named."""
    return f", '{other.name}'" if other.namespace == device.namespace else " of another namespace"


def _conflict(device: EdgeDevice, other: EdgeDevice) -> Stalled:
    """Another tenant's objects are not named."""
    whose = (
        f"EdgeDevice '{other.name}'" if other.namespace == device.namespace else "An EdgeDevice of another namespace"
    )
    message = (
        f"{whose} names the same device id '{device.device_id}' and comes first. "
        "Give this one another spec.deviceId, or delete one of them."
    )
    return Stalled("IdentityConflict", message)
