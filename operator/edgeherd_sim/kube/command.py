"""`edgeherd sim kube`: the simulator from the command line."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import click

from edgeherd_sim import stop
from edgeherd_sim.kube.server import Server, serve


@click.command("kube")
@click.option("--bind", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 takes a free one."
)
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to say where it listens: a few lines, or one line of JSON.",
)
@click.option(
    "--kubeconfig",
    "kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the kubeconfig to this file (mode 0600, replaced when it exists); else to a temporary folder.",
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Accept the bearer token in this file; a random one when left out.",
)
def command(bind: str, port: int, output: str, kubeconfig: Path | None, token_file: Path | None) -> None:
    """A Kubernetes API simulator, in memory.

    kubectl, kopf and the Kubernetes clients work against it as against kube-apiserver 1.36: CustomResourceDefinitions
    with their schemas, CEL rules, columns and subresources; Secrets, ConfigMaps, Namespaces, Events, Leases, RBAC
    objects and Deployments as stored objects; server-side apply, watches, finalizers, garbage collection.
    It is not a cluster: it runs no Pods, its one user may do everything, and all is gone when it ends.

    \b
    Start it and use it:
      edgeherd sim kube --kubeconfig ./kubeconfig &
      export KUBECONFIG=./kubeconfig
      kubectl apply -k crds

    With --output json it prints one line when it listens:
    {"url": "https://127.0.0.1:PORT", "kubeconfig": "FILE", "caFile": "FILE"}.
    SIGTERM and SIGINT end it with exit code 0.
    """  # noqa: D301 - click wants the backspace character itself
    token = ""
    if token_file is not None:
        token = token_file.read_text(encoding="utf-8").strip()
        if not token:
            raise click.ClickException(f"{token_file} is empty")
    try:
        asyncio.run(_run(bind, port, output, kubeconfig, token))
    except OSError as exc:
        raise click.ClickException(f"The simulator cannot start: {exc}") from exc


async def _run(bind: str, port: int, output: str, kubeconfig: Path | None, token: str) -> None:
    stopped = stop.on_signal()
    with tempfile.TemporaryDirectory(prefix="edgeherd-kube-") as name:
        folder = Path(name)
        async with serve(bind=bind, port=port, token=token, folder=folder) as server:
            written = server.kubeconfig(kubeconfig or folder / "kubeconfig").absolute()
            _announce(server, written, output)
            await stopped.wait()


def _announce(server: Server, kubeconfig: Path, output: str) -> None:
    if output == "json":
        facts = {"url": server.url, "kubeconfig": str(kubeconfig), "caFile": str(server.ca_file)}
        click.echo(json.dumps(facts))
    else:
        click.echo(f"The Kubernetes API simulator listens on {server.url}.\n\n  export KUBECONFIG={kubeconfig}\n")
    sys.stdout.flush()
