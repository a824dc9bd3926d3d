"""Waiting for what must come true. A test names what it waits for; how long that takes is not what it is about."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

PATIENCE_SECONDS = 30.0
"""After so long it will not come true any more, on whatever machine."""
_PAUSE_SECONDS = 0.02
_NEVER = "it did not come true in time"


async def until(
    holds: Callable[[], bool | Awaitable[bool]], *, every: float = _PAUSE_SECONDS, patience: float = PATIENCE_SECONDS
) -> None:
    """Let the event loop run until something holds; `holds` may have to be awaited itself."""
    deadline = time.monotonic() + patience
    while True:
        answer = holds()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert time.monotonic() < deadline, _NEVER
        await asyncio.sleep(every)


def wait_until(holds: Callable[[], bool], *, patience: float = PATIENCE_SECONDS) -> None:
    """The same in a thread: nothing else happens meanwhile."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, _NEVER
        time.sleep(_PAUSE_SECONDS)
