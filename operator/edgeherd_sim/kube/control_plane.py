"""etcd, kube-apiserver and kube-controller-manager: their command lines, and processes that end with this one."""

import concurrent.futures
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeherd_sim.kube.certificates import write_certificates
from edgeherd_sim.kube.kubeconfig import write_kubeconfig

CONTROLLERS = "kube-controller-manager"

_LAUNCHER = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="envtest")
"""The kernel ends a program when the thread that started it ends, whatever the process does (prctl(2), PR_SET_PDEATHSIG);
this thread lives as long as the process."""

_ENDS_WITH_ITS_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.getppid() == int(sys.argv[1]) or sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""1 is PR_SET_PDEATHSIG. What was set outlives the exec; between fork and exec no Python may run, so this runs after it."""

_AUDIT_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: [system:serviceaccounts]
  - level: None
"""


def etcd(programs: Path, home: Path, *, client: int, peer: int) -> list[str]:
    """The command line of an etcd that listens on two ports of loopback."""
    program = programs / "etcd"
    arguments = [
        f"--data-dir={home / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
    ]
    known = subprocess.run([program, "--help"], capture_output=True, check=False)  # noqa: S603 - the program that the user named
    if b"--unsafe-no-fsync" in known.stdout + known.stderr:  # not in 3.4, which Debian 12 has
        arguments.append("--unsafe-no-fsync=true")
    return [str(program), *arguments]


def api_server(programs: Path, home: Path, *, token: str, etcd: int, port: int, controllers: bool) -> list[str]:
    """The command line of an API server that takes one administrator's token; flags known from v1.29 to v1.36.

    It writes `audit.log`: what ServiceAccounts ask for, and whether they may. With `controllers` it is as strict as the
    strictest clusters about owners, and a Pod needs a ServiceAccount, which somebody must create in each namespace.
    """
    write_certificates(home)
    (home / "audit-policy.yaml").write_text(_AUDIT_POLICY)
    _write_private(home / "tokens.csv", f'{token},admin,admin,"system:masters"\n'.encode())
    key = ec.generate_private_key(ec.SECP256R1())
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    _write_private(home / "sa.key", key.private_bytes(*private))
    public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (home / "sa.pub").write_bytes(key.public_key().public_bytes(*public))
    return [
        str(programs / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={home / 'tls.crt'}",
        f"--tls-private-key-file={home / 'tls.key'}",
        f"--token-auth-file={home / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-account-key-file={home / 'sa.pub'}",
        f"--service-account-signing-key-file={home / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.0.0.0/24",
        f"--audit-policy-file={home / 'audit-policy.yaml'}",
        f"--audit-log-path={home / 'audit.log'}",
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
        if controllers
        else "--disable-admission-plugins=ServiceAccount",
    ]


def controller_manager(programs: Path, home: Path, *, url: str, token: str) -> list[str]:
    """The command line of all controllers that a cluster has, as the administrator. Their own port is closed."""
    kubeconfig = home / f"{CONTROLLERS}.kubeconfig"
    write_kubeconfig(kubeconfig, url=url, token=token, ca_file=home / "ca.crt")
    return [
        str(programs / CONTROLLERS),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        f"--service-account-private-key-file={home / 'sa.key'}",
        f"--root-ca-file={home / 'ca.crt'}",
    ]


@contextlib.contextmanager
def running(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program until the block ends, or this process does. It is killed, by its own process id: nothing of it is kept."""
    process = _LAUNCHER.submit(_started, arguments, log).result()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _started(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", "-c", _ENDS_WITH_ITS_PARENT, str(os.getpid()), *arguments]
    with log.open("wb") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)  # noqa: S603 - the programs that the user named


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
