"""Which EdgeDevices name the same identity. Known from the watch alone, so that it costs no request."""

import dataclasses
from collections.abc import Mapping

from edgeherd.model import EdgeDevice, HubConnection, Key


@dataclasses.dataclass(frozen=True, slots=True)
class _Claimant:
    since: str
    uid: str
    key: Key
    hub_name: str
    device_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Hub:
    uid: str
    host: str


class DeviceIndex:
    """The EdgeDevices that exist, by the identity that they name."""

    def __init__(self) -> None:
        self._claimants: dict[Key, _Claimant] = {}
        self._by_device_id: dict[str, dict[Key, _Claimant]] = {}
        self._hubs: dict[str, _Hub] = {}

    def known(self, kind: str, namespace: str = "") -> Mapping[Key, str]:
        """The uids of the objects of a kind, of all namespaces when none is named."""
        if kind == HubConnection.__name__:
            return {Key(kind, "", name): hub.uid for name, hub in self._hubs.items()}
        return {key: c.uid for key, c in self._claimants.items() if not namespace or key.namespace == namespace}

    def uid(self, key: Key) -> str:
        """Of an object as it was seen last; empty for one that is not known."""
        found = self._hubs.get(key.name) if key.kind == HubConnection.__name__ else self._claimants.get(key)
        return found.uid if found else ""

    def update(self, device: EdgeDevice) -> None:
        """The watch showed a device."""
        claimant = _Claimant(device.creation, device.uid, device.key, device.hub_name, device.device_id)
        before = self._claimants.get(device.key)
        if before is not None and before.device_id != claimant.device_id:  # a namesake after a deletion nobody saw
            self.delete(device.key)
        self._claimants[device.key] = claimant
        self._by_device_id.setdefault(claimant.device_id, {})[device.key] = claimant

    def update_hub(self, connection: HubConnection) -> None:
        """The watch showed a HubConnection: two of them may name one hub."""
        self._hubs[connection.name] = _Hub(connection.uid, connection.host_name.lower())

    def delete(self, key: Key) -> tuple[Key, ...]:
        """An object is gone; returns the devices that waited behind it."""
        if key.kind == HubConnection.__name__:
            self._hubs.pop(key.name, None)
        claimant = self._claimants.pop(key, None)
        if claimant is None:
            return ()
        namesakes = self._by_device_id[claimant.device_id]
        del namesakes[key]
        if not namesakes:
            del self._by_device_id[claimant.device_id]
        return tuple(c.key for c in self._same(claimant))

    def of_hub(self, name: str) -> tuple[Key, ...]:
        """The devices that name a HubConnection."""
        return tuple(c.key for c in self._claimants.values() if c.hub_name == name)

    def naming(self, device_id: str) -> tuple[Key, ...]:
        """The devices that name this device id, of whatever hub."""
        return tuple(self._by_device_id.get(device_id, ()))

    def older_claimants(self, device: EdgeDevice) -> tuple[Key, ...]:
        """The older devices that name the same identity of the same hub, the oldest first."""
        self.update(device)
        mine = self._claimants[device.key]
        older = [c for c in self._same(mine) if (c.since, c.uid) < (mine.since, mine.uid)]
        return tuple(c.key for c in sorted(older, key=lambda c: (c.since, c.uid)))

    def _same(self, claimant: _Claimant) -> list[_Claimant]:
        host = self._host(claimant.hub_name)
        if host is None:
            return []  # nobody can tell which hub that is
        namesakes = self._by_device_id.get(claimant.device_id, {}).values()
        return [c for c in namesakes if c.key != claimant.key and self._host(c.hub_name) == host]

    def _host(self, hub_name: str) -> str | None:
        hub = self._hubs.get(hub_name)
        return None if hub is None else hub.host
