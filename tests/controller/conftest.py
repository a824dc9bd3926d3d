"""API servers for the tests of the watch: the simulator, and the real one where there is one."""

import contextlib
import pathlib
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from watch_lab import HUBS, Cluster

import fault_proxy
from edgeherd.cluster.client import ApiClient
from edgeherd_sim.kube import envtest
from edgeherd_sim.kube import server as simulator
from fault_proxy import FaultProxy
from waiting import until


@pytest.fixture(scope="session")
def real_server() -> Iterator[fault_proxy.Target]:
    """The real API server; skips where there is none."""
    if envtest.assets() is None:
        pytest.skip(f"{envtest.ASSETS} is not set: there is no real kube-apiserver")
    with envtest.start() as server:
        yield fault_proxy.Target(url=server.url, token=server.token, ca_file=server.ca_file)


@contextlib.asynccontextmanager
async def _target(request: pytest.FixtureRequest) -> AsyncIterator[fault_proxy.Target]:
    if request.param == "real":
        yield request.getfixturevalue("real_server")
    else:
        async with simulator.serve() as server:
            yield fault_proxy.Target(url=server.url, token=server.token, ca_file=server.ca_file)


@pytest_asyncio.fixture(params=["simulator", "real"])
async def cluster(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> AsyncIterator[Cluster]:
    """A cluster without HubConnections. No thread of a watch outlives the test."""
    (tmp_path / "proxy").mkdir()
    (tmp_path / "direct").mkdir()
    token_file = tmp_path / "token"
    token_file.write_text("first\n")
    async with contextlib.AsyncExitStack() as stack:
        target = await stack.enter_async_context(_target(request))
        proxy = await stack.enter_async_context(FaultProxy(target, tmp_path / "proxy"))
        kubeconfig = fault_proxy.write_kubeconfig(tmp_path / "direct", target)
        direct = await stack.enter_async_context(await ApiClient.configured(str(kubeconfig)))
        through = await stack.enter_async_context(
            await ApiClient.configured(str(proxy.kubeconfig(token_file=token_file)))
        )
        found = Cluster(direct=direct, proxy=proxy, through=through, token_file=token_file)
        await found.install()
        await direct.request("DELETE", HUBS)
        yield found
        await until(lambda: "watch" not in {thread.name for thread in threading.enumerate()})
