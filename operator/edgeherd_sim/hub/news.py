"""What edgeAgents hear from their hub by AMQP or MQTT, which is not spoken here: whose desired properties have changed."""

import asyncio
import contextlib

from edgeherd_sim.hub.model import Key
from edgeherd_sim.hub.store import Store

_AGENT = "$edgeAgent"


class News:
    """Counts the changes of `$edgeAgent` twins since the hub was started."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._count = 0
        self._versions: dict[str, int] = {}
        self._changed: dict[str, int] = {}
        """By device, the number of its last change."""
        self.waiting = 0
        """How many wait for something new."""
        self._more = asyncio.Event()
        self._closed = False
        store.listeners.append(self._note)

    async def after(self, count: int, *, seconds: float) -> tuple[int, list[str]]:
        """The number of the last change, and the devices with one after `count`; waits so long for the first of them."""
        if count == self._count and not self._closed:
            self.waiting += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._more.wait()
            self.waiting -= 1
        return self._count, sorted(device for device, number in self._changed.items() if number > count)

    def close(self) -> None:
        """Nobody waits any more."""
        self._closed = True
        self._more.set()

    def _note(self, key: Key | None) -> None:
        if key is None or key[1] != _AGENT:
            return
        twin = self._store.twins.get(key)
        if twin is None:
            self._versions.pop(key[0], None)
            self._changed.pop(key[0], None)
        elif self._versions.get(key[0]) != twin.desired.version:
            self._versions[key[0]] = twin.desired.version
            self._count += 1
            self._changed[key[0]] = self._count
            self._more.set()
            self._more = asyncio.Event()
