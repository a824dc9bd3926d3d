"""The fixture `windows_peer`. Use: `pytest_plugins = ("windows_peer",)`."""

from collections.abc import AsyncIterator

import pytest
from windows_lab import WindowsPeer, serve


@pytest.fixture
async def windows_peer() -> AsyncIterator[WindowsPeer]:
    """A Windows device that was initialised and runs; change `windows_peer.device` for another one."""
    async with serve() as peer:
        yield peer
