"""The two servers that the tests of the API simulator compare, as kubectl and a plain client see them."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from wire import Client

import processes

CRDS = Path(__file__).resolve().parent / "crds"
_LOG = re.compile(r"^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\.go:\d+\] .*\n", re.MULTILINE)
"""A line of klog: level and date, time, thread, place."""
KUBECTL = Path(sys.executable).parent / "kubectl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server, and a folder where clients may keep what they know of it."""

    client: Client
    kubeconfig: Path
    cache: Path

    def kubectl(self, *arguments: str, cwd: Path | None = None, kubeconfig: Path | None = None) -> str:
        """What one call of kubectl prints: its output, its complaints, and its exit code unless that is 0."""
        done = processes.run([KUBECTL, *arguments], cwd=cwd, env=self.environment(kubeconfig))
        said = without_log((done.stdout + done.stderr).decode())
        return said + (f"[exit {done.returncode}]\n" if done.returncode else "")

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """What kubectl is started with."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.cache),
            "KUBECACHEDIR": str(self.cache),
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
        }


def without_log(text: str) -> str:
    """What kubectl prints, without the lines of its log.

    They tell how the client fared: of a watch that its own deadline cut, which a slow machine shows and a quick one does
    not, and which over HTTP/1.1 looks different from HTTP/2. What the server answered is in none of them.
    """
    return _LOG.sub("", text)


def prepared(url: str, token: str, ca_file: Path, kubeconfig: Path, cache: Path) -> Target:
    """A target with our CRDs installed."""
    target = Target(client=Client(url, token, ca_file), kubeconfig=kubeconfig, cache=cache)
    target.kubectl("apply", "-k", str(CRDS))
    target.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
    return target
