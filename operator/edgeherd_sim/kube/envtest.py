"""Start the real thing from `$KUBEBUILDER_ASSETS`: etcd, kube-apiserver, and kube-controller-manager where it is there too.

The folder is what `setup-envtest` installs, and kube-controller-manager beside it. Nothing is downloaded here.
"""

import contextlib
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgeherd_sim.kube import control_plane
from edgeherd_sim.kube.kubeconfig import write_kubeconfig

ASSETS = "KUBEBUILDER_ASSETS"
"""The environment variable that names the folder of the programs."""

_READY_SECONDS = 60.0


class EnvtestError(Exception):
    """The real API server cannot be started; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealServer:
    """Where the real API server listens, and how to log in as its administrator."""

    url: str
    token: str = field(repr=False)
    ca_file: Path
    kubeconfig: Path
    audit_log: Path
    """What ServiceAccounts asked for: JSON lines of kind `Event`, `audit.k8s.io/v1`, at level Metadata."""
    programs: Path


def assets() -> Path | None:
    """The folder with etcd and kube-apiserver; None when the environment names none."""
    value = os.environ.get(ASSETS, "")
    return Path(value) if value else None


def has_controllers(folder: Path | None = None) -> bool:
    """Whether kube-controller-manager is in the folder (`$KUBEBUILDER_ASSETS` when left out)."""
    programs = folder or assets()
    return programs is not None and os.access(programs / control_plane.CONTROLLERS, os.X_OK)


@contextlib.contextmanager
def start(folder: Path | None = None, *, controllers: bool = False) -> Iterator[RealServer]:
    """Run etcd and kube-apiserver until the block ends.

    Args:
        folder: Where the programs are; `$KUBEBUILDER_ASSETS` when left out.
        controllers: Whether the caller is going to run `managed` too. Pods then need a ServiceAccount, as everywhere,
            and references to owners the rights that `OwnerReferencesPermissionEnforcement` asks for.

    Raises:
        EnvtestError: a program is missing or does not become ready.
    """
    programs = folder or assets()
    if programs is None:
        raise EnvtestError(f"{ASSETS} is not set; it names the folder with etcd and kube-apiserver")
    for name in ("etcd", "kube-apiserver"):
        if not os.access(programs / name, os.X_OK):
            raise EnvtestError(f"There is no program {name} in {programs}")
    home = Path(tempfile.mkdtemp(prefix="edgeherd-envtest-"))
    try:
        with contextlib.ExitStack() as stack:
            client, peer, port = _free_ports(3)
            etcd = control_plane.etcd(programs, home, client=client, peer=peer)
            stack.enter_context(control_plane.running(etcd, home / "etcd.log"))
            token = secrets.token_urlsafe(24)
            arguments = control_plane.api_server(
                programs, home, token=token, etcd=client, port=port, controllers=controllers
            )
            process = stack.enter_context(control_plane.running(arguments, home / "kube-apiserver.log"))
            url = f"https://127.0.0.1:{port}"
            ca_file, kubeconfig = home / "ca.crt", home / "kubeconfig"
            write_kubeconfig(kubeconfig, url=url, token=token, ca_file=ca_file)
            server = RealServer(
                url=url,
                token=token,
                ca_file=ca_file,
                kubeconfig=kubeconfig,
                audit_log=home / "audit.log",
                programs=programs,
            )
            _wait_until_ready(server, process)
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def managed(server: RealServer) -> Iterator[None]:
    """Run kube-controller-manager until the block ends: it collects garbage, empties namespaces, creates Pods and accounts.

    The garbage collector looks for new kinds every 30 s only, so CRDs are better installed before.

    Raises:
        EnvtestError: it ended by itself.
    """
    home = server.kubeconfig.parent
    arguments = control_plane.controller_manager(server.programs, home, url=server.url, token=server.token)
    with control_plane.running(arguments, home / f"{control_plane.CONTROLLERS}.log") as process:
        yield
        if process.poll() is not None:
            raise EnvtestError(f"{control_plane.CONTROLLERS} ended with {process.returncode}: {_tail(home)}")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; taken all at once, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until_ready(server: RealServer, process: subprocess.Popen[bytes]) -> None:
    home, deadline = server.kubeconfig.parent, time.monotonic() + _READY_SECONDS
    headers = {"Authorization": f"Bearer {server.token}"}
    request = urllib.request.Request(f"{server.url}/readyz", headers=headers)  # noqa: S310 - our own https address
    context = ssl.create_default_context(cafile=str(server.ca_file))
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EnvtestError(f"kube-apiserver ended with {process.returncode}: {_tail(home)}")
        try:
            urllib.request.urlopen(request, timeout=5, context=context).close()  # noqa: S310 - the same
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
        else:
            return
    raise EnvtestError(f"kube-apiserver was not ready after {_READY_SECONDS:.0f} s: {_tail(home)}")


def _tail(home: Path) -> str:
    """The end of the logs, for the error message."""
    logs = (path for path in sorted(home.glob("*.log")) if path.name != "audit.log")
    return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in logs)
