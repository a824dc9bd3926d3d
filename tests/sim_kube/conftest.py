"""The simulator and the real server, each started once."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kube_lab import Target, prepared

from edgeherd_sim.kube import envtest


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The simulator, started from the command line, with our CRDs."""
    folder = tmp_path_factory.mktemp("simulator")
    token = folder / "token"
    token.write_text("a-token-of-the-tests\n")
    process = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "edgeherd"),
            *("sim", "kube", "--output", "json", "--token-file", str(token)),
            *("--kubeconfig", str(folder / "kubeconfig")),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        facts = json.loads(process.stdout.readline())
        kubeconfig, ca_file = Path(facts["kubeconfig"]), Path(facts["caFile"])
        yield prepared(facts["url"], token.read_text().strip(), ca_file, kubeconfig, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
        process.stdout.close()


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The real API server, with our CRDs; skips where there is none."""
    if envtest.assets() is None:
        pytest.skip(f"{envtest.ASSETS} is not set: there is no real kube-apiserver to compare with")
    with envtest.start() as server:
        folder = tmp_path_factory.mktemp("real")
        yield prepared(server.url, server.token, server.ca_file, server.kubeconfig, folder)
