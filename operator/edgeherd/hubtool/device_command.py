"""`edgeherd device import`."""

import base64
import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import click

from edgeherd import config, resource
from edgeherd.clock import Clock
from edgeherd.device import ssh
from edgeherd.device.facts import Facts
from edgeherd.device.port import Limits, Login, Query
from edgeherd.device.ssh import SshConnector
from edgeherd.errors import Stalled
from edgeherd.hubtool import access, from_device
from edgeherd.hubtool.access import Access
from edgeherd.hubtool.from_device import NotImportableError
from edgeherd.hubtool.manifests import Address, Found, edge_device, object_name
from edgeherd.model import EdgeDevice, Keys, PlannedChange, Thumbprints
from edgeherd.reconcile import config_editor, credentials
from edgeherd.reconcile.config_editor import ConfigEditor
from edgeherd.reconcile.configurator import Configurator
from edgeherd.reconcile.desired import DesiredState
from edgeherd.reconcile.ssh_logins import SshLogins
from edgeherd.worker import Workers


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What the command line says."""

    hub: str
    namespace: str
    name: str
    address: Address
    config_path: str
    accept_host_key: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Tools:
    """How devices are logged in at, and their files read: as the operator does it."""

    connector: SshConnector
    files: Workers

    @classmethod
    def made(cls) -> "_Tools":
        keys = Workers(processes=1, seconds=ssh.KEY_SECONDS)
        return cls(SshConnector(keys.run), Workers(processes=1, seconds=config_editor.SECONDS))


@click.group("device")
def group() -> None:
    """Look at single devices over SSH."""


@group.command("import")
@click.argument("host")
@click.option("--hub", required=True, help="The device's HubConnection, of the cluster that KUBECONFIG names.")
@click.option("--namespace", "-n", default="default", show_default=True, help="The namespace of the manifest.")
@click.option("--name", default="", help="metadata.name of the manifest. Made from the device id when left out.")
@click.option(
    "--port", default=22, show_default=True, type=click.IntRange(1, 65535), help="The port of its SSH server."
)
@click.option("--ssh-user", default="edgeops", show_default=True, help="The user to log in as.")
@click.option(
    "--ssh-secret", default="edge-ssh", show_default=True, help="The Secret with the SSH login, in the namespace."
)
@click.option(
    "--host-key",
    "host_keys",
    multiple=True,
    help="A public key of the device, as in a '.pub' file, or its SHA256 fingerprint. Repeatable.",
)
@click.option("--accept-new-host-key", is_flag=True, help="Trust the host key that the device shows, and pin it.")
@click.option(
    "--jump-host", default="", help="Go through this host, with the same user and Secret; it needs --jump-host-key."
)
@click.option(
    "--jump-port", default=22, show_default=True, type=click.IntRange(1, 65535), help="The port of the jump host."
)
@click.option("--jump-host-key", "jump_host_keys", multiple=True, help="A public key of the jump host. Repeatable.")
@click.option("--config-path", default="", help="The daemon's file, where it is not in its usual place.")
def import_(
    host: str,
    *,
    hub: str,
    namespace: str,
    name: str,
    port: int,
    ssh_user: str,
    ssh_secret: str,
    host_keys: tuple[str, ...],
    accept_new_host_key: bool,
    jump_host: str,
    jump_port: int,
    jump_host_keys: tuple[str, ...],
    config_path: str,
) -> None:
    """Write the EdgeDevice that leaves a device as it is, as YAML on stdout.

    Logs in at HOST as the operator would, reads the daemon's file, and looks the device up in the hub: which of its keys
    it uses, or where its certificate is, and whether it is disabled. The manifest adopts the identity. Before it is
    written, the operator's own code tells what it would change on the device, and the API server judges it (a dry run):
    if there is anything, nothing is written.

    Nothing is changed anywhere. The file's keys are shown nowhere.
    """
    jump = None
    if jump_host:
        jump = Address(user=ssh_user, secret=ssh_secret, host=jump_host, port=jump_port, host_keys=jump_host_keys)
    wish = _Wish(
        hub=hub,
        namespace=namespace,
        name=name,
        address=Address(user=ssh_user, secret=ssh_secret, host=host, port=port, host_keys=host_keys, jump=jump),
        config_path=config_path,
        accept_host_key=accept_new_host_key,
    )

    async def made() -> tuple[dict[str, Any], list[str]]:
        async with access.opened(wish.hub) as found:
            return await _imported(found, wish, _Tools.made())

    body, notes = access.run(made)
    click.echo(f"---\n{config.yaml_of(body)}", nl=False)
    access.tell(notes)


def _unheard(reason: str, message: str) -> None:
    """No object is there yet that an Event could be about."""
    del reason, message


async def _imported(found: Access, wish: _Wish, tools: _Tools) -> tuple[dict[str, Any], list[str]]:
    names = found.names(wish.namespace)
    # To log in there must be an EdgeDevice; who it is, is known afterwards.
    stranger = _body(wish, Found(device_id="unknown"), name=object_name("unknown", set(names)))
    stranger_device = _device(await found.admitted(stranger))
    logins = SshLogins(found.cluster, connect=tools.connector.connect, host_key=tools.connector.host_key)
    wish, notes = await _with_host_key(found, wish, tools, logins, stranger_device)
    stranger_device = _with_keys(stranger_device, wish)
    async with logins.session(stranger_device, found.connection, tell=_unheard) as session:
        facts = await session.observe(Query(path=wish.config_path))
        said, version = from_device.content(facts)
        try:
            settings = await tools.files.run(from_device.loaded, said, version)
        except config.ConfigError as exc:
            raise NotImportableError(f"its daemon would refuse {facts.path}: {exc}") from None
        device_id = from_device.device_id(settings, found.connection.host_name)
        if device_id in found.managed:
            raise NotImportableError(f"EdgeDevice '{found.managed[device_id]}' manages '{device_id}' already")
        identity = await found.hub.get(device_id)
        if identity is None:
            raise NotImportableError(f"the hub has no device '{device_id}'; an EdgeDevice would create it anew")
        what = from_device.found(settings, identity, config_path=wish.config_path)
        body = _body(wish, what, name=wish.name or object_name(device_id, names))
        device = _device(await found.admitted(body))
        await found.hubs.admit(device, found.connection)
        assert isinstance(identity.credentials, Keys | Thumbprints)  # noqa: S101 - `found` has looked
        data = credentials.secret_data(
            found.connection.host_name, device_id, identity.credentials, key_in_use=device.key_in_use
        )
        state = DesiredState(
            device=dataclasses.replace(device, correct_drift=False),
            host_name=found.connection.host_name,
            connection_string=data["connectionString"],
        )
        editor = ConfigEditor(tools.files.run)
        result = await Configurator(Clock(), editor).apply(session, state, applied_before=True, require_free=_free)
    if result.plan:
        raise NotImportableError(f"the operator would change {_told(result.plan)}")
    return body, [*notes, *_notes(found, facts, identity.parent_scopes, device_id)]


def _notes(found: Access, facts: Facts, parent_scopes: tuple[str, ...], device_id: str) -> list[str]:
    return [
        *(
            [f"{device_id}: {facts.path} is newer than the daemon's start; the operator restarts the daemon once"]
            if from_device.restart_is_due(facts)
            else []
        ),
        *(
            [f"{device_id}: its parent stays in the hub as it is; the manifest does not have it"]
            if parent_scopes
            else []
        ),
        *(
            []
            if found.connection.adoption_allowed
            else [
                f"HubConnection '{found.connection.name}' does not allow adoption yet: set its spec.adoption to 'Allowed'"
            ]
        ),
    ]


async def _with_host_key(
    found: Access, wish: _Wish, tools: _Tools, logins: SshLogins, device: EdgeDevice
) -> tuple[_Wish, list[str]]:
    """The wish with a host key in it, unless the Secret has known_hosts."""
    try:
        await logins.login(device, found.connection, tell=_unheard)
    except Stalled as exc:
        if exc.reason != "HostKeyNotPinned" or wish.address.jump is not None:
            raise
    else:
        return wish, []
    limits = Limits(networks=found.connection.allowed_cidrs, ports=found.connection.allowed_ports)
    address = wish.address
    shown = await tools.connector.host_key(
        Login(host=address.host, port=address.port, user=address.user, limits=limits)
    )
    kind, blob = shown.split()[:2]
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")
    if not wish.accept_host_key:
        raise NotImportableError(
            f"{address.host} shows the host key {kind} SHA256:{digest}. Compare it with the device's own "
            f"('ssh-keygen -l -f /etc/ssh/ssh_host_{kind.removeprefix('ssh-').partition('-')[0]}_key.pub' there), and run this "
            f"again with --host-key '{shown}'"
        )
    pinned = dataclasses.replace(wish, address=dataclasses.replace(address, host_keys=(shown,)))
    return pinned, [f"{address.host} shows the host key {kind} SHA256:{digest}; it is pinned"]


def _body(wish: _Wish, what: Found, *, name: str) -> dict[str, Any]:
    return edge_device(what, wish.address, name=name, namespace=wish.namespace, hub=wish.hub)


def _with_keys(device: EdgeDevice, wish: _Wish) -> EdgeDevice:
    return dataclasses.replace(device, ssh=dataclasses.replace(device.ssh, host_keys=wish.address.host_keys))


def _device(body: Mapping[str, Any]) -> EdgeDevice:
    """What a dry run has admitted; it was never stored, so it has no version."""
    meta = {"resourceVersion": "", "generation": 1, "creationTimestamp": "", **body["metadata"]}
    return resource.edge_device({**body, "metadata": meta})


def _told(plan: tuple[PlannedChange, ...]) -> str:
    return ", ".join(change.path.removeprefix("device:") for change in plan)


async def _free(_: str) -> None:
    """Nothing is changed, so nobody has to be asked."""
