"""What the watch shows of all objects, counted as it comes: to ask how many are healthy costs nothing for each object."""

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from edgeherd.model import Condition, EdgeDevice, HubConnection, Key

_T = TypeVar("_T")


class Standing(NamedTuple):
    """What a condition says, without its words."""

    condition: str
    status: str
    reason: str


class Software(NamedTuple):
    """What runs on a device, as far as its status tells; empty where it does not."""

    runtime_version: str
    agent_image: str


class _Census(Generic[_T]):
    """How many objects have each of some properties. What is gone is counted no more."""

    def __init__(self) -> None:
        self.counts: dict[_T, int] = {}
        self._of: dict[Key, tuple[_T, ...]] = {}
        self._same: dict[tuple[_T, ...], tuple[_T, ...]] = {}
        """Most objects are alike: those share one tuple."""

    def put(self, key: Key, properties: tuple[_T, ...]) -> None:
        before = self._of.get(key, ())
        if before == properties:
            return
        self._subtract(before)
        for each in properties:
            self.counts[each] = self.counts.get(each, 0) + 1
        if len(self._same) > len(self._of) + _SLACK:
            self._same = {mine: mine for mine in self._of.values()}
        self._of[key] = self._same.setdefault(properties, properties)

    def drop(self, key: Key) -> None:
        self._subtract(self._of.pop(key, ()))

    def _subtract(self, properties: tuple[_T, ...]) -> None:
        for each in properties:
            self.counts[each] -= 1
            if not self.counts[each]:
                del self.counts[each]


_SLACK = 1000


class Fleet:
    """Takes what the event handler sees."""

    def __init__(self) -> None:
        self._devices = _Census[Standing]()
        self._software = _Census[Software]()
        self._hubs = _Census[Standing]()

    @property
    def devices(self) -> Mapping[Standing, int]:
        """How many EdgeDevices stand so."""
        return self._devices.counts

    @property
    def software(self) -> Mapping[Software, int]:
        """How many EdgeDevices run it."""
        return self._software.counts

    @property
    def hubs(self) -> Mapping[Standing, int]:
        """How many HubConnections stand so."""
        return self._hubs.counts

    def update(self, device: EdgeDevice) -> None:
        """An EdgeDevice was seen."""
        known = device.status.device
        self._devices.put(device.key, _standings(device.status.conditions))
        self._software.put(device.key, (Software(known.runtime_version, known.agent_image),))

    def update_hub(self, connection: HubConnection) -> None:
        """A HubConnection was seen."""
        self._hubs.put(connection.key, _standings(connection.conditions))

    def delete(self, key: Key) -> None:
        """An object is gone."""
        for census in (self._devices, self._software, self._hubs):
            census.drop(key)


def _standings(conditions: tuple[Condition, ...]) -> tuple[Standing, ...]:
    return tuple(Standing(c.type, c.status, c.reason) for c in conditions)
