"""The simulator and the real server, each started once."""

from collections.abc import Iterator

import pytest
from kube_lab import Target, prepared

import simulator as simulator_process
from edgeherd_sim.kube import envtest


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The simulator, started from the command line, with our CRDs."""
    folder = tmp_path_factory.mktemp("simulator")
    with simulator_process.running(folder) as server:
        yield prepared(server.url, server.token, server.ca_file, server.kubeconfig, folder)


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The real API server, with our CRDs; skips where there is none."""
    if envtest.assets() is None:
        pytest.skip(f"{envtest.ASSETS} is not set: there is no real kube-apiserver to compare with")
    with envtest.start() as server:
        folder = tmp_path_factory.mktemp("real")
        yield prepared(server.url, server.token, server.ca_file, server.kubeconfig, folder)
