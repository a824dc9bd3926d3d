"""`edgeherd sim hub`."""

import asyncio
import base64
import binascii
import json
import pathlib

import click

from edgeherd_sim import stop
from edgeherd_sim.hub import tls
from edgeherd_sim.hub.persist import StateError
from edgeherd_sim.hub.server import Hub, serve


@click.command("hub")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), show_default=True, help="Port; 0 takes a free one.")
@click.option(
    "--host-name",
    "host_names",
    multiple=True,
    default=("localhost",),
    show_default=True,
    help="Name that clients use; it is in the certificate. Repeatable; the first is in the connection string.",
)
@click.option(
    "--policy-name", default="iothubowner", show_default=True, help="Shared access policy of the connection string."
)
@click.option("--policy-key", default=None, help="Its key (base64). New on every start unless --state remembers it.")
@click.option(
    "--policy-key-file",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="File with the key: keeps it out of the process list.",
)
@click.option(
    "--tls-dir",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    help="Directory for authority and certificate; an authority found there is used again. A temporary one otherwise.",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="Write the authority's certificate here, for clients to trust.",
)
@click.option(
    "--state",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="File that remembers all identities and twins (mode 0600; it holds keys).",
)
@click.option(
    "--bearer-token", default=None, help="The only bearer token to accept. Otherwise any JWT that has not expired."
)
@click.option("--control-token", default=None, help="Token for the control API. Otherwise loopback peers only.")
@click.option(
    "--units",
    default=0,
    type=click.IntRange(0),
    show_default=True,
    help="Throttle as an S1 hub of that many units; 0 never does.",
)
@click.option(
    "--connection-string-file",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="Write the connection string here (mode 0600).",
)
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: one line when it listens.",
)
def command(
    *,
    bind: str,
    port: int,
    host_names: tuple[str, ...],
    policy_name: str,
    policy_key: str | None,
    policy_key_file: pathlib.Path | None,
    tls_dir: pathlib.Path | None,
    ca_file: pathlib.Path | None,
    state: pathlib.Path | None,
    bearer_token: str | None,
    control_token: str | None,
    units: int,
    connection_string_file: pathlib.Path | None,
    output: str,
) -> None:
    """An IoT Hub's registry on this machine, for tests.

    It answers what Microsoft's service SDKs and tools ask a hub's registry over HTTPS: devices, modules, twins, queries
    with continuation, bulk operations, statistics, configurations, applyConfigurationContent and key rotation, with the
    hub's status codes, error headers, ETags, SAS and bearer tokens, api-versions and throttling.

    Automatic deployments are carried out, as soon as they or their targets change: the highest priority wins, layers lie
    over it, twins get their desired properties, and the counts follow what devices report.

    Not there: jobs (scheduled ones, import and export by a storage account), direct methods, digital twins, telemetry,
    cloud-to-device messages and file uploads. Requests for them are answered with 404.

    \b
    Start it, and point a client at it:
      edgeherd sim hub --port 8443 --connection-string-file hub.txt --ca-file ca.pem &
      export REQUESTS_CA_BUNDLE=ca.pem
      python -c 'from azure.iot.hub import IoTHubRegistryManager as M
      print(M.from_connection_string(open("hub.txt").read()).get_devices())'

    \b
    Shared access policies as in a real hub: iothubowner, service, device, registryRead, registryReadWrite.
    GET /$sim/policies tells their keys. A hub of a real name needs port 443 and a line in /etc/hosts:
      edgeherd sim hub --host-name contoso.azure-devices.net --port 443

    \b
    The control API under /$sim/ (loopback peers, or the header x-sim-token) makes it fail and shows what it was asked:
      POST   /$sim/faults   {"kind": "throttle", "count": 3}          429 for the next three requests
                            {"kind": "error", "code": "ServerError"}  any error of the hub, until DELETE /$sim/faults
                            {"kind": "drop-after-commit", "count": 1, "method": "PUT"}  done, and the answer lost
                            {"kind": "latency", "delay": 2.5, "path": "press-01"}, "drop", "refuse-credential"
      PUT    /$sim/index    {"lag": 5, "ghost": 60}                   queries lag behind; deleted devices stay
      POST   /$sim/devices/ID/rotate-keys | recreate | disable | enable | connect | disconnect
      DELETE /$sim/devices/ID                                         behind everybody's back
      GET    /$sim/requests                                           what came in; DELETE forgets it

    With --output json it prints one line when it listens:
    {"connectionString": ..., "hostName": ..., "port": ..., "caFile": ..., "url": ...}.
    SIGTERM and SIGINT end it with exit code 0.
    """  # noqa: D301 - click wants the backspace character itself
    if policy_key is not None and policy_key_file is not None:
        raise click.UsageError("--policy-key and --policy-key-file exclude each other.")
    if policy_key_file is not None:
        policy_key = policy_key_file.read_text().strip()
    if policy_key is not None:
        _check_key(policy_key)

    def announce(hub: Hub) -> None:
        if connection_string_file is not None:
            tls.write(connection_string_file, hub.connection_string.encode(), secret=True)
        click.echo(_announcement(hub, output))

    async def run() -> None:
        stopped = stop.on_signal()
        async with serve(
            bind=bind,
            port=port,
            host_names=host_names,
            policy_name=policy_name,
            policy_key=policy_key,
            tls_dir=tls_dir,
            ca_file=ca_file,
            state=state,
            bearer_token=bearer_token,
            control_token=control_token,
            units=units,
        ) as hub:
            announce(hub)
            await stopped.wait()

    try:
        asyncio.run(run())
    except (OSError, StateError) as exc:
        raise click.ClickException(str(exc)) from None


def _check_key(key: str) -> None:
    try:
        base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise click.UsageError("The policy key is not base64.") from None


def _announcement(hub: Hub, output: str) -> str:
    if output == "json":
        return json.dumps(hub.facts())
    return (
        f"IoT Hub emulator at {hub.url}\n"
        f"connection string:  {hub.connection_string}\n"
        f"trust:              REQUESTS_CA_BUNDLE={hub.ca_file}\n"
        f"stop:               Ctrl-C"
    )
