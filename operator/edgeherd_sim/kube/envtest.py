"""Start the real thing: etcd and kube-apiserver from `$KUBEBUILDER_ASSETS`, for tests that compare with it.

The folder is what `setup-envtest` installs. Nothing is downloaded here.
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

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from edgeherd_sim.kube.certificates import write_certificates
from edgeherd_sim.kube.kubeconfig import write_kubeconfig

ASSETS = "KUBEBUILDER_ASSETS"
"""The environment variable that names the folder of the programs."""

_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0


class EnvtestError(Exception):
    """The real API server cannot be started; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealServer:
    """Where the real API server listens, and how to log in as its administrator."""

    url: str
    token: str = field(repr=False)
    ca_file: Path
    kubeconfig: Path


def assets() -> Path | None:
    """The folder with etcd and kube-apiserver; None when the environment names none."""
    value = os.environ.get(ASSETS, "")
    return Path(value) if value else None


@contextlib.contextmanager
def start(folder: Path | None = None) -> Iterator[RealServer]:
    """Run etcd and kube-apiserver until the block ends.

    Args:
        folder: Where the two programs are; `$KUBEBUILDER_ASSETS` when left out.

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
            stack.enter_context(_running(_etcd(programs, home, client, peer), home / "etcd.log"))
            token = secrets.token_urlsafe(24)
            write_certificates(home)
            arguments = _api_server(programs, home, token=token, etcd=client, port=port)
            process = stack.enter_context(_running(arguments, home / "kube-apiserver.log"))
            url = f"https://127.0.0.1:{port}"
            ca_file = home / "ca.crt"
            _wait_until_ready(url, token, ca_file, process, home)
            kubeconfig = home / "kubeconfig"
            write_kubeconfig(kubeconfig, url=url, token=token, ca_file=ca_file)
            yield RealServer(url=url, token=token, ca_file=ca_file, kubeconfig=kubeconfig)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; taken all at once, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _etcd(programs: Path, home: Path, client: int, peer: int) -> list[str]:
    return [
        str(programs / "etcd"),
        f"-data-dir={home / 'etcd'}",
        f"-listen-client-urls=http://127.0.0.1:{client}",
        f"-advertise-client-urls=http://127.0.0.1:{client}",
        f"-listen-peer-urls=http://127.0.0.1:{peer}",
        "-unsafe-no-fsync=true",
    ]


def _api_server(programs: Path, home: Path, *, token: str, etcd: int, port: int) -> list[str]:
    """The command line of an API server that takes one administrator's token; flags known from v1.29 to v1.36."""
    private, public, tokens = home / "sa.key", home / "sa.pub", home / "tokens.csv"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_private(
        private,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ),
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    _write_private(tokens, f'{token},admin,admin,"system:masters"\n'.encode())
    return [
        str(programs / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={home / 'tls.crt'}",
        f"--tls-private-key-file={home / 'tls.key'}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        f"--service-account-key-file={public}",
        f"--service-account-signing-key-file={private}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.0.0.0/24",
        # Its controller does not run here, so no namespace would ever get its account.
        "--disable-admission-plugins=ServiceAccount",
    ]


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


@contextlib.contextmanager
def _running(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is stopped by its own process id when the block ends."""
    with log.open("wb") as stream:
        process = subprocess.Popen(arguments, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)  # noqa: S603 - the programs that the user named
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, token: str, ca_file: Path, process: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    request = urllib.request.Request(f"{url}/readyz", headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - our own https address
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EnvtestError(f"kube-apiserver ended with {process.returncode}: {_tail(home)}")
        with contextlib.suppress(OSError, urllib.error.URLError):
            context = ssl.create_default_context(cafile=str(ca_file))
            with urllib.request.urlopen(request, timeout=5, context=context):  # noqa: S310 - the same
                return
        time.sleep(0.1)
    raise EnvtestError(f"kube-apiserver was not ready after {_READY_SECONDS:.0f} s: {_tail(home)}")


def _tail(home: Path) -> str:
    """The end of both logs, for the error message."""
    return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in sorted(home.glob("*.log")))
