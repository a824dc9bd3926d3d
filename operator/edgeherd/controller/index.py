"""Who names which identity, and who uses which hub. Known from the watch alone, so that it costs no request."""

import dataclasses

from edgeherd.model import EdgeDevice, HubConnection, Key


@dataclasses.dataclass(frozen=True, slots=True)
class _Claimant:
    since: str
    uid: str
    key: Key
    hub_name: str
    device_id: str
    uses_hub: bool
    secret_name: str
    """Of the connection Secret, while it is looked after; empty before there is one."""


class DeviceIndex:
    """The EdgeDevices that exist, by the identity and by the hub that they name."""

    def __init__(self) -> None:
        self._claimants: dict[Key, _Claimant] = {}
        self._by_device_id: dict[str, dict[Key, _Claimant]] = {}
        self._hosts: dict[str, str] = {}
        self._going: set[str] = set()
        """The HubConnections that are being deleted."""

    def update(self, device: EdgeDevice) -> tuple[Key, ...]:
        """The watch showed a device; returns the HubConnection that waited for it to let go."""
        claimant = _Claimant(
            since=device.creation,
            uid=device.uid,
            key=device.key,
            hub_name=device.hub_name,
            device_id=device.device_id,
            uses_hub=device.uses_hub,
            secret_name="" if device.deleting or device.suspend else device.status.secret_name,
        )
        before = self._claimants.get(device.key)
        if before is not None and before.device_id != claimant.device_id:  # a namesake after a deletion nobody saw
            self.delete(device.key)
        self._claimants[device.key] = claimant
        self._by_device_id.setdefault(claimant.device_id, {})[device.key] = claimant
        return self._released(before) if before is not None and not claimant.uses_hub else ()

    def update_hub(self, connection: HubConnection) -> None:
        """The watch showed a HubConnection: two of them may name one hub."""
        self._hosts[connection.name] = connection.host_name.lower()
        if connection.deleting:
            self._going.add(connection.name)
        else:
            self._going.discard(connection.name)

    def delete(self, key: Key) -> tuple[Key, ...]:
        """An object is gone; returns what waited for that: devices behind it, and the HubConnection that it was the last user of."""
        if key.kind == HubConnection.__name__:
            self._hosts.pop(key.name, None)
            self._going.discard(key.name)
        claimant = self._claimants.pop(key, None)
        if claimant is None:
            return ()
        namesakes = self._by_device_id[claimant.device_id]
        del namesakes[key]
        if not namesakes:
            del self._by_device_id[claimant.device_id]
        return (*(c.key for c in self._same(claimant)), *self._released(claimant))

    def of_hub(self, name: str) -> tuple[Key, ...]:
        """The devices that name a HubConnection."""
        return tuple(c.key for c in self._claimants.values() if c.hub_name == name)

    def users_of(self, name: str) -> tuple[Key, ...]:
        """Those of them that may have something in its hub, by their names."""
        return tuple(sorted(c.key for c in self._claimants.values() if c.hub_name == name and c.uses_hub))

    def with_secret(self) -> tuple[tuple[Key, str], ...]:
        """The devices that are looked after and have a connection Secret, with its name."""
        return tuple((c.key, c.secret_name) for c in self._claimants.values() if c.secret_name)

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
        host = self._hosts.get(claimant.hub_name)
        if host is None:
            return []  # nobody can tell which hub that is
        namesakes = self._by_device_id.get(claimant.device_id, {}).values()
        return [c for c in namesakes if c.key != claimant.key and self._hosts.get(c.hub_name) == host]

    def _released(self, before: _Claimant) -> tuple[Key, ...]:
        """The HubConnection that is being deleted, if nobody uses it now that this one does not."""
        name = before.hub_name
        if name not in self._going or not before.uses_hub:
            return ()
        return () if self.users_of(name) else (Key(HubConnection.__name__, "", name),)
