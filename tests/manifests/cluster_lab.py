"""API servers to apply manifests to, as kubectl sees them."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
from collections.abc import Iterable, Iterator

import processes
import yaml_files
from kustomize import KUBECTL, Body

SERVER_SIDE = ("apply", "--server-side")
CLIENT_SIDE = ("apply",)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A server, and a folder where kubectl may keep what it knows of it."""

    kubeconfig: pathlib.Path
    cache: pathlib.Path
    has_controllers: bool
    """Whether Pods and what aggregated roles grant come to be."""

    def run(self, *arguments: str | pathlib.Path, send: Iterable[Body] = ()) -> "subprocess.CompletedProcess[bytes]":
        """One call of kubectl, with these objects for its standard input."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.cache),
            "KUBECACHEDIR": str(self.cache),
            "KUBECONFIG": str(self.kubeconfig),
        }
        text = "\n---\n".join(json.dumps(body) for body in send)
        return processes.run([KUBECTL, *arguments], stdin=text.encode(), env=environment)

    def kubectl(self, *arguments: str | pathlib.Path, send: Iterable[Body] = ()) -> str:
        """One call that goes well; what it prints."""
        done = self.run(*arguments, send=send)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        return done.stdout.decode()

    def objects(self, *arguments: str | pathlib.Path, send: Iterable[Body] = ()) -> list[Body]:
        """What a call prints with `-o yaml`: objects, or a list of them."""
        printed = yaml_files.documents(self.kubectl(*arguments, "-o", "yaml", send=send))
        return [body for one in printed for body in (one["items"] if one["kind"] == "List" else [one])]

    @contextlib.contextmanager
    def applied(self, bodies: list[Body]) -> Iterator[None]:
        """These objects until the block ends. Namespaces stay: a real cluster takes 5 s to begin with one's deletion."""
        self.kubectl("apply", "-f", "-", send=bodies)
        try:
            yield
        finally:
            self.remove([body for body in bodies if body["kind"] != "Namespace"])

    def remove(self, bodies: list[Body]) -> None:
        """As the README says; what is in a namespace goes with it, before or after it is asked for."""
        self.kubectl("delete", "--ignore-not-found", "-f", "-", send=bodies)
