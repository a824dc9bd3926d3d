"""Which edgeAgents have other desired properties, as the emulated hub tells it: one request waits for a whole fleet."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

_RETRY_SECONDS = 1.0


class Feed:
    """What one hub tells, for as long as somebody follows."""

    def __init__(self, ask: Callable[[int], Awaitable[Any]]) -> None:
        self._ask = ask
        """News after a number, {"at": number, "devices": [id]}; None where the hub did not answer."""
        self._followers: dict[str, set[Callable[[], None]]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def follow(self, device_id: str, changed: Callable[[], None]) -> Iterator[None]:
        """Call `changed` whenever that device's properties have changed, until the block ends."""
        self._followers.setdefault(device_id, set()).add(changed)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._listen())
        try:
            yield
        finally:
            self._followers[device_id].discard(changed)
            if not self._followers[device_id]:
                del self._followers[device_id]
            if not self._followers:
                self._task.cancel()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        after = 0
        while True:
            news = await self._ask(after)
            if news is None:
                # Another hub may be there when it answers again, which counts anew.
                after = 0
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            after = news["at"]
            for device_id in news["devices"]:
                for changed in tuple(self._followers.get(device_id, ())):
                    changed()
