"""An emulated hub and a client, for every test anew."""

from collections.abc import AsyncIterator

import pytest
from hub_client import Client, connected

from edgeherd_sim.hub.server import Hub, serve


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A hub on a free port of loopback."""
    async with serve() as running:
        yield running


@pytest.fixture
async def client(hub: Hub) -> AsyncIterator[Client]:
    """A client of that hub."""
    async with connected(hub) as client:
        yield client
