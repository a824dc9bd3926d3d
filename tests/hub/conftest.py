"""The emulated hub and the adapter, for every test anew."""

import concurrent.futures
from collections.abc import AsyncIterator, Iterator

import pytest
from hub_lab import Lab

from edgeherd.hub import azure
from edgeherd.hub.azure import AzureHub
from edgeherd_sim.hub.server import serve


@pytest.fixture
def executor() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """The threads of the SDK, all ended when the test is."""
    with azure.pool() as pool:
        yield pool


@pytest.fixture
async def lab(executor: concurrent.futures.ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    """A hub that listens on loopback; no proxy of this machine gets in between."""
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    async with serve() as hub:
        yield Lab(hub=hub, executor=executor)


@pytest.fixture
def adapter(lab: Lab) -> AzureHub:
    """The adapter with the credential that an operator needs."""
    return lab.open()
