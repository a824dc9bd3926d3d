"""`edgeherd sim devices`."""

import asyncio
import contextlib
import ipaddress
import json
import pathlib
import resource

import click

from edgeherd_sim import stop
from edgeherd_sim.devices.behavior import Pace
from edgeherd_sim.devices.server import BIND_BASE, PREFIX, RUNTIME, USER, Fleet, serve


def _address(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise click.BadParameter(f"'{value}' is no IP address.") from None
    return value


_FILE = click.Path(path_type=pathlib.Path, exists=True, dir_okay=False)


@click.command("devices")
@click.option("--count", default=1, type=click.IntRange(1, 100_000), show_default=True, help="How many devices.")
@click.option("--name-prefix", default=PREFIX, show_default=True, help="Names are this and a number: press-01, ...")
@click.option("--bind", callback=_address, help="One address for all devices, each on its own port.")
@click.option(
    "--bind-base",
    default=BIND_BASE,
    callback=_address,
    show_default=True,
    help="Without --bind: address of the first device; the next has the next address.",
)
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    show_default=True,
    help="SSH port; 0 takes free ones. With --bind the first of as many as there are devices.",
)
@click.option(
    "--root",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    help="Folder for the devices' files and the client key; used again when it is there. A temporary one otherwise.",
)
@click.option("--user", default=USER, show_default=True, help="Who may log in; sudo asks this user for no password.")
@click.option(
    "--runtime-version",
    default=RUNTIME,
    show_default=True,
    help="IoT Edge version: 1.0, 1.1, or 1.2 and later such as 1.5.44.",
)
@click.option(
    "--config",
    "settings_file",
    type=_FILE,
    help="What fresh devices have as settings. Otherwise /etc/iotedge/config.yaml is the Debian template of 1.0.10, and "
    "with 1.2 and later there is no /etc/aziot/config.toml yet.",
)
@click.option("--password-file", type=_FILE, help="Its first line is a password that opens the devices too.")
@click.option(
    "--allow-tcp-forwarding",
    is_flag=True,
    help="Let clients go on through a device to other hosts, as ssh -J does.",
)
@click.option("--hub-ca", type=_FILE, help="Authority of the hub's certificate. The system's otherwise.")
@click.option(
    "--hub-port",
    default=443,
    type=click.IntRange(1, 65535),
    show_default=True,
    help="The hub's port; a connection string cannot name one.",
)
@click.option("--hub-address", callback=_address, help="Where the hub is, whatever its name says. By DNS otherwise.")
@click.option(
    "--watchdog",
    default=Pace().watchdog,
    type=click.FloatRange(0.05),
    show_default=True,
    help="Seconds between two tries of a daemon to start edgeAgent. It is 60 on a real device.",
)
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: one line when all of them listen.",
)
def command(
    *,
    count: int,
    name_prefix: str,
    bind: str | None,
    bind_base: str,
    port: int,
    root: pathlib.Path | None,
    user: str,
    runtime_version: str,
    settings_file: pathlib.Path | None,
    password_file: pathlib.Path | None,
    allow_tcp_forwarding: bool,
    hub_ca: pathlib.Path | None,
    hub_port: int,
    hub_address: str | None,
    watchdog: float,
    output: str,
) -> None:
    """IoT Edge devices on this machine, behind real SSH, for tests.

    Each device is a folder with files, programs (iotedge, systemctl, journalctl, sudo, id) and a stand-in for the
    daemon. That of 1.0 and 1.1 parses /etc/iotedge/config.yaml by the daemon's rules when it is restarted, ends with
    status 153 on a bad one, deletes its containers when the settings changed, and runs edgeAgent once the hub has
    accepted the device's key. That of 1.2 and later reads what 'iotedge config apply' made of /etc/aziot/config.toml,
    and deletes its containers when device or hub changed. edgeAgent shows itself to the hub as $edgeAgent.

    Commands are run by the machine's own shell with the rights of whoever started this: a device is no sandbox. Keep
    the addresses on loopback, and the client key to yourself.
    """
    settings = settings_file.read_bytes() if settings_file else None
    password = password_file.read_text().partition("\n")[0] if password_file else None

    async def run() -> None:
        stopped = stop.on_signal()
        async with serve(
            count=count,
            name_prefix=name_prefix,
            bind=bind,
            bind_base=bind_base,
            port=port,
            root=root,
            user=user,
            runtime_version=runtime_version,
            settings=settings,
            password=password,
            forwarding=allow_tcp_forwarding,
            hub_ca=hub_ca,
            hub_port=hub_port,
            hub_address=hub_address,
            pace=Pace(watchdog=watchdog),
        ) as fleet:
            click.echo(_announcement(fleet, output))
            await stopped.wait()

    _allow_many_files()
    try:
        asyncio.run(run())
    except (OSError, ValueError) as exc:
        raise click.ClickException(str(exc)) from None


def _allow_many_files() -> None:
    """A listener for each device: take what the machine allows."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _announcement(fleet: Fleet, output: str) -> str:
    if output == "json":
        return json.dumps(fleet.facts())
    first = fleet.devices[0]
    lines = [
        f"{device.name}  {device.user}@{device.host} port {device.port}  {device.host_key}" for device in fleet.devices
    ]
    return "\n".join(
        [
            *lines,
            f"log in:  ssh -i {fleet.private_key_file} -p {first.port} {first.user}@{first.host}",
            f"files:   {first.root}",
            "stop:    Ctrl-C",
        ]
    )
