"""The two servers that the tests of the API simulator compare: the simulator itself, and the real one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from wire import Client

from edgeherd.sim.kube import envtest

CRDS = Path(__file__).resolve().parent / "crds"
KUBECTL = Path(sys.executable).parent / "kubectl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server, and a folder where clients may keep what they know of it."""

    client: Client
    kubeconfig: Path
    cache: Path

    def kubectl(self, *arguments: str, cwd: Path | None = None, kubeconfig: Path | None = None) -> str:
        """What one call of kubectl prints: its output, its complaints, and its exit code unless that is 0."""
        done = subprocess.run(
            [str(KUBECTL), *arguments],
            cwd=cwd,
            env=self.environment(kubeconfig),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr + (f"[exit {done.returncode}]\n" if done.returncode else "")

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """What kubectl is started with."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.cache),
            "KUBECACHEDIR": str(self.cache),
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
        }


def _prepared(url: str, token: str, ca_file: Path, kubeconfig: Path, cache: Path) -> Target:
    """A target with our CRDs installed."""
    target = Target(client=Client(url, token, ca_file), kubeconfig=kubeconfig, cache=cache)
    target.kubectl("apply", "-k", str(CRDS))
    target.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
    return target


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
        yield _prepared(facts["url"], token.read_text().strip(), ca_file, kubeconfig, folder)
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
        yield _prepared(server.url, server.token, server.ca_file, server.kubeconfig, folder)
