"""The emulated hub and the adapter, for every test anew."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hub_lab import Lab

from edgeherd.hub.azure import AzureHub
from edgeherd_sim.hub.server import serve


@pytest.fixture
async def lab(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    """A hub that listens on loopback; no proxy of this machine gets in between."""
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    async with serve() as hub:
        opener = Lab(hub=hub)
        yield opener
        opener.close()


@pytest.fixture
async def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop's clock stands still, so however slow the machine is, no time passes."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)


@pytest.fixture
def adapter(lab: Lab) -> AzureHub:
    """The adapter with the credential that an operator needs."""
    return lab.open()
