"""`edgeherd hub devices` and `edgeherd hub import`."""

import asyncio
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import click

from edgeherd import config
from edgeherd.clock import Clock
from edgeherd.cluster.client import ApiClient
from edgeherd.cluster.errors import ApiError
from edgeherd.cluster.objects import KubernetesCluster
from edgeherd.errors import ReconcileError
from edgeherd.hub import azure
from edgeherd.hub.port import HubError, Listed
from edgeherd.hubtool import manifests
from edgeherd.model import EdgeDevice
from edgeherd.reconcile.errors import from_hub_error
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.settings import Settings

_HUB = click.option("--hub", required=True, help="A HubConnection of the cluster that KUBECONFIG names.")


@click.group("hub")
def group() -> None:
    """See a hub's devices beside the EdgeDevices of the cluster.

    Reads KUBECONFIG and EDGEHERD_NAMESPACE as the operator does, and the HubConnection's Secret. The policy needs
    ServiceConnect for this: it is a query.
    """


@group.command()
@_HUB
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def devices(hub: str, output: str) -> None:
    """List the hub's edge devices, and which EdgeDevice manages each.

    Connection state and activity are what the hub knew a moment ago; a device that was just deleted may still be listed.
    """
    listed, managed = _asked(hub)
    rows = [{**dataclasses.asdict(device), "managed_by": managed.get(device.device_id, "")} for device in listed]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    titles = ("DEVICE ID", "STATUS", "AUTH", "STATE", "LAST ACTIVITY", "MODULES", "MANAGED BY")
    lines = [titles, *(_row(device, managed.get(device.device_id, "<none>")) for device in listed)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _row(device: Listed, managed_by: str) -> tuple[str, ...]:
    never = device.last_activity.startswith("0001-") or not device.last_activity
    return (
        device.device_id,
        "Enabled" if device.enabled else "Disabled",
        device.authentication,
        "Connected" if device.connected else "Disconnected",
        "<never>" if never else device.last_activity,
        str(device.modules),
        managed_by,
    )


@group.command("import")
@_HUB
@click.option("--namespace", "-n", default="default", show_default=True, help="The namespace of the manifests.")
@click.option("--ssh-user", default="edgeops", show_default=True, help="spec.ssh.user of the manifests.")
@click.option("--ssh-secret", default="edge-ssh", show_default=True, help="The Secret with the SSH login.")
@click.option(
    "--from-az",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="Take the devices of this configuration of 'az iot edge devices create' instead of those of the hub.",
)
def import_(hub: str, namespace: str, ssh_user: str, ssh_secret: str, from_az: pathlib.Path | None) -> None:
    """Write manifests for devices that no EdgeDevice manages, as YAML on stdout.

    They adopt the identities (the HubConnection must allow it) and name no host keys: add the address and the host keys
    of each device before you apply them.
    """
    ssh = {"user": ssh_user, "secret": ssh_secret}
    if from_az is None:
        listed, managed = _asked(hub)
        made = list(manifests.for_unmanaged(listed, managed, namespace=namespace, hub=hub, ssh=ssh))
    else:
        try:
            document = config.plain_yaml(from_az.read_text(encoding="utf-8"))
            made = list(manifests.from_az(document, namespace=namespace, hub=hub, ssh=ssh))
        except ValueError as exc:
            raise click.ClickException(f"{from_az}: {exc}") from None
    for body in made:
        click.echo(f"---\n{config.yaml_of(body)}", nl=False)
    click.echo(f"{len(made)} devices", err=True)


def _asked(hub: str) -> tuple[tuple[Listed, ...], Mapping[str, str]]:
    """The hub's edge devices, and by device id the EdgeDevice that manages it."""
    try:
        return asyncio.run(_ask(hub, Settings.from_environment()))
    except HubError as exc:
        raise click.ClickException(from_hub_error(exc).message) from None
    except ReconcileError as exc:
        raise click.ClickException(exc.message) from None
    except (ApiError, ValueError) as exc:
        raise click.ClickException(str(exc)) from None


async def _ask(name: str, settings: Settings) -> tuple[tuple[Listed, ...], Mapping[str, str]]:
    async with await ApiClient.configured(settings.kubeconfig) as api:
        cluster = KubernetesCluster(api, clock=Clock(), namespaces=settings.watch_namespaces)
        hubs = HubClients(cluster, namespace=settings.namespace, factory=azure.client_of)
        try:
            listed = await (await hubs.open(await hubs.named(name))).on_behalf_of("").edge_devices()
            managed = {d.device_id: f"{d.namespace}/{d.name}" for d in await cluster.edge_devices() if _is_of(d, name)}
        finally:
            hubs.close()
    return listed, managed


def _is_of(device: EdgeDevice, hub: str) -> bool:
    known: Any = device.status.identity.device_id
    return device.hub_name == hub and known == device.device_id
