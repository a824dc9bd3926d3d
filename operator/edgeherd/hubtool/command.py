"""`edgeherd hub devices` and `edgeherd hub import`."""

import dataclasses
import json
import pathlib

import click

from edgeherd import config
from edgeherd.hub.port import Listed
from edgeherd.hubtool import access, from_az, from_hub
from edgeherd.hubtool.access import Access
from edgeherd.hubtool.from_az import AzFile
from edgeherd.hubtool.manifests import Address, LeftOut, Plan

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

    async def asked() -> tuple[tuple[Listed, ...], dict[str, str]]:
        async with access.opened(hub) as found:
            return await found.hub.edge_devices(), dict(found.managed)

    listed, managed = access.run(asked)
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
    return (
        device.device_id,
        "Enabled" if device.enabled else "Disabled",
        device.authentication,
        "Connected" if device.connected else "Disconnected",
        device.last_activity or "<never>",
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
    "az_file",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="Take the devices of this configuration of 'az iot edge devices create' instead of those of the hub.",
)
@click.option(
    "--validate/--no-validate",
    default=True,
    show_default=True,
    help="Show each manifest to the API server first (a dry run; needs the right to create EdgeDevices there).",
)
def import_(
    hub: str, namespace: str, ssh_user: str, ssh_secret: str, az_file: pathlib.Path | None, *, validate: bool
) -> None:
    """Write manifests for devices that no EdgeDevice manages, as YAML on stdout.

    They adopt the identities as they are (the HubConnection must allow it): applying them changes nothing in the hub.
    They name no host keys: add the address and the host keys of each device before you apply them, or let
    'edgeherd device import' find out. A device that uses its secondary key gets the primary one unless you set
    spec.identity.keyInUse, which 'edgeherd device import' does.

    What is left out, and what the manifests do not say, is on stderr. Exit status 1: the API server refuses some.
    """
    address = Address(user=ssh_user, secret=ssh_secret)
    file = None if az_file is None else _read(az_file)

    async def made() -> tuple[Plan, tuple[LeftOut, ...], bool]:
        async with access.opened(hub) as found:
            listed = await found.hub.edge_devices()
            plan = _planned(
                found, listed, file, folder=(az_file or pathlib.Path()).parent, namespace=namespace, address=address
            )
            plan, refused = await found.validated(plan) if validate else (plan, ())
            return plan, refused, found.connection.adoption_allowed

    plan, refused, may_adopt = access.run(made)
    for body in plan.bodies:
        click.echo(f"---\n{config.yaml_of(body)}", nl=False)
    access.tell(
        [
            *(f"left out: {left.device_id}: {left.why}" for left in plan.left_out),
            *(f"refused by the API server: {left.device_id}: {left.why}" for left in refused),
            *plan.notes,
            *(
                []
                if may_adopt
                else [f"HubConnection '{hub}' does not allow adoption yet: set its spec.adoption to 'Allowed'"]
            ),
            f"{len(plan.bodies)} devices, {len(plan.left_out) + len(refused)} left out",
        ]
    )
    if refused:
        raise SystemExit(1)


def _read(path: pathlib.Path) -> AzFile:
    try:
        return from_az.read(config.plain_yaml(path.read_text(encoding="utf-8")))
    except ValueError as exc:
        raise click.ClickException(f"{path}: {exc}") from None


def _planned(
    found: Access,
    listed: tuple[Listed, ...],
    file: AzFile | None,
    *,
    folder: pathlib.Path,
    namespace: str,
    address: Address,
) -> Plan:
    hub, taken = found.connection.name, found.names(namespace)
    if file is None:
        uids = {device.uid for device in found.devices}
        return from_hub.plan(
            listed, found.managed, address=address, namespace=namespace, hub=hub, taken=taken, uids=uids
        )
    by_id = {device.device_id: device for device in listed}
    return from_az.plan(
        file, by_id, found.managed, folder=folder, address=address, namespace=namespace, hub=hub, taken=taken
    )
