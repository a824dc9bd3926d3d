"""The simulator and the real server, each started once."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kube_lab import Target, prepared

import processes
from edgeherd_sim.kube import envtest


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The simulator, started from the command line, with our CRDs."""
    folder = tmp_path_factory.mktemp("simulator")
    token = folder / "token"
    token.write_text("a-token-of-the-tests\n")
    command = [
        *(Path(sys.executable).parent / "edgeherd", "sim", "kube", "--output", "json", "--token-file", token),
        *("--kubeconfig", folder / "kubeconfig"),
    ]
    with processes.running(command) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        kubeconfig, ca_file = Path(facts["kubeconfig"]), Path(facts["caFile"])
        yield prepared(facts["url"], token.read_text().strip(), ca_file, kubeconfig, folder)
        process.terminate()
        assert process.wait(timeout=processes.SECONDS) == 0


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The real API server, with our CRDs; skips where there is none."""
    if envtest.assets() is None:
        pytest.skip(f"{envtest.ASSETS} is not set: there is no real kube-apiserver to compare with")
    with envtest.start() as server:
        folder = tmp_path_factory.mktemp("real")
        yield prepared(server.url, server.token, server.ca_file, server.kubeconfig, folder)
