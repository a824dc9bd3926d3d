"""From a configuration of `az iot edge devices create` to manifests. Pure.

The format is that of the extension azure-iot 0.25 (iothub/providers/helpers/edge_device_config.py): version 1.0 only, paths
relative to the file. With X.509 it registers the thumbprint of the device's CA certificate as the primary one and that of
the certificate that the device logs in with as the secondary one, and puts the latter below /etc/aziot/certificates.
"""

import dataclasses
import pathlib
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from edgeherd.hub.port import Listed
from edgeherd.hubtool.from_hub import WRONG_AUTHENTICATION
from edgeherd.hubtool.manifests import (
    NO_ID,
    Address,
    Certificate,
    Found,
    LeftOut,
    Plan,
    edge_device,
    object_name,
    usable_id,
)

VERSION = "1.0"
CERTIFICATES = "/etc/aziot/certificates"
SYMMETRIC, X509 = "symmetricKey", "x509Certificate"


class FormatError(ValueError):
    """The file is not what it should be; the text says where."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AzDevice:
    """A device of the file. What is empty is not in it."""

    device_id: str
    parent: str = ""
    hostname: str = ""
    agent_image: str = ""
    deployment: str = ""
    registry: str = ""
    """The server of its registry login."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AzFile:
    """All of it that matters."""

    x509: bool
    agent_image: str
    devices: tuple[AzDevice, ...]
    template: str = ""
    has_certificates: bool = False


def read(document: Any) -> AzFile:
    """The file.

    Raises:
        FormatError: it is none of these, or says something twice.
    """
    if not isinstance(document, Mapping):
        raise FormatError("it is no mapping; is it a configuration of 'az iot edge devices create'?")
    version = document.get("configVersion")
    if version != VERSION:
        raise FormatError(f"configVersion must be '{VERSION}', in quotation marks")
    method = _text(_mapping(document, "iotHub"), "authenticationMethod", "iotHub", required=True)
    if method not in {SYMMETRIC, X509}:
        raise FormatError(f"iotHub.authenticationMethod must be '{SYMMETRIC}' or '{X509}'")
    edge = _mapping(document, "edgeConfiguration")
    image = _text(edge, "defaultEdgeAgent", "edgeConfiguration", required=True)
    devices = tuple(_devices(document.get("edgeDevices"), "edgeDevices", ""))
    _require_unique(devices)
    return AzFile(
        x509=method == X509,
        agent_image=image,
        devices=tuple(device for _, device in devices),
        template=_text(edge, "templateConfigPath", "edgeConfiguration"),
        has_certificates="certificates" in document,
    )


def plan(
    file: AzFile,
    listed: Mapping[str, Listed],
    managed: Mapping[str, str],
    *,
    folder: pathlib.Path,
    address: Address,
    namespace: str,
    hub: str,
    taken: Collection[str] = (),
) -> Plan:
    """A manifest for each device of the file that no EdgeDevice manages.

    Args:
        file: the file.
        listed: the hub's edge devices by their ids; with X.509 they tell the thumbprints.
        managed: by device id, the EdgeDevice that manages it.
        folder: where the file is: its paths are relative to it.
        address: how devices are reached, but for their host names.
        namespace: where the manifests go.
        hub: the HubConnection.
        taken: the names that EdgeDevices of the namespace have.
    """
    names, bodies, left_out = set(taken), [], []
    notes = _notes_of_all(file, folder)
    for device in file.devices:
        if (why := _obstacle(file, device, listed.get(device.device_id), managed)) is not None:
            left_out.append(LeftOut(device_id=device.device_id, why=why))
            continue
        name = object_name(device.device_id, names)
        secret = f"{name}-registry" if device.registry else ""
        found = _found(file, device, listed.get(device.device_id), registry_secret=secret)
        where = dataclasses.replace(address, host=device.hostname) if device.hostname else address
        bodies.append(edge_device(found, where, name=name, namespace=namespace, hub=hub))
        notes += _notes(device, folder, namespace=namespace, secret=secret)
    return Plan(bodies=tuple(bodies), left_out=tuple(left_out), notes=tuple(notes))


def _obstacle(file: AzFile, device: AzDevice, listed: Listed | None, managed: Mapping[str, str]) -> str | None:
    if not usable_id(device.device_id):
        return NO_ID
    if device.device_id in managed:
        return f"EdgeDevice '{managed[device.device_id]}' manages it already"
    if not file.x509:
        return None
    if listed is None:
        return "the hub has no such edge device, and with X.509 only the hub knows its thumbprints"
    if listed.thumbprints is None:
        return WRONG_AUTHENTICATION.get(
            listed.authentication, f"in the hub it authenticates by '{listed.authentication}'"
        )
    return None


def _found(file: AzFile, device: AzDevice, listed: Listed | None, *, registry_secret: str) -> Found:
    certificate = None
    if file.x509 and listed is not None and listed.thumbprints is not None:
        path = f"{CERTIFICATES}/{device.device_id}.hub-auth"
        certificate = Certificate(thumbprints=listed.thumbprints, path=f"{path}-cert.pem", key_path=f"{path}-key.pem")
    return Found(
        device_id=device.device_id,
        enabled=listed is None or listed.enabled,
        certificate=certificate,
        hostname=device.hostname,
        agent_image=device.agent_image or file.agent_image,
        registry_secret=registry_secret,
    )


def _notes_of_all(file: AzFile, folder: pathlib.Path) -> list[str]:
    return [
        *(
            [
                f"the template {folder / file.template} is not read: what a device's own file says beside the manifest stays"
            ]
            if file.template
            else []
        ),
        *(
            [
                "the root certificate under 'certificates' is not carried over: devices keep the trust bundle that they have"
            ]
            if file.has_certificates
            else []
        ),
    ]


def _notes(device: AzDevice, folder: pathlib.Path, *, namespace: str, secret: str) -> list[str]:
    """What the manifest does not say, and how it is done. No password is in it."""
    name = device.device_id
    found = []
    if device.parent:
        found.append(
            f"{name}: its parent {device.parent} is not carried over; "
            f"az iot hub device-identity parent set --device-id {shlex.quote(name)} "
            f"--parent-device-id {shlex.quote(device.parent)}"
        )
    if device.deployment:
        found.append(
            f"{name}: its deployment is not carried over; "
            f"az iot edge set-modules --device-id {shlex.quote(name)} "
            f"--content {shlex.quote(str(folder / device.deployment))}"
        )
    if secret:
        found.append(
            f"{name}: its login for {device.registry} belongs in a Secret; kubectl create secret docker-registry {secret} "
            f"--namespace {namespace} --docker-server {shlex.quote(device.registry)} "
            "--docker-username ... --docker-password ..."
        )
    return found


def _devices(devices: Any, where: str, parent: str) -> Iterator[tuple[str, AzDevice]]:
    """Each device with its place in the file, parents before their children."""
    if not isinstance(devices, list):
        raise FormatError(f"{where} is not a list")
    for number, device in enumerate(devices):
        here = f"{where}[{number}]"
        if not isinstance(device, Mapping):
            raise FormatError(f"{here} is not a mapping")
        auth = _mapping(device, "containerAuth", here)
        read_device = AzDevice(
            device_id=_text(device, "deviceId", here, required=True),
            parent=parent,
            hostname=_text(device, "hostname", here),
            agent_image=_text(device, "edgeAgent", here),
            deployment=_text(device, "deployment", here),
            registry=_text(auth, "serverAddress", f"{here}.containerAuth", required=bool(auth)),
        )
        yield here, read_device
        if device.get("children") is not None:
            yield from _devices(device["children"], f"{here}.children", read_device.device_id)


def _require_unique(devices: tuple[tuple[str, AzDevice], ...]) -> None:
    places: dict[str, str] = {}
    for where, device in devices:
        first = places.setdefault(device.device_id, where)
        if first != where:
            raise FormatError(f"{where}.deviceId is that of {first} again")


def _mapping(document: Mapping[str, Any], name: str, where: str = "") -> Mapping[str, Any]:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise FormatError(f"{where}{'.' if where else ''}{name} is not a mapping")
    return value


def _text(document: Mapping[str, Any], name: str, where: str, *, required: bool = False) -> str:
    value = document.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value):
        raise FormatError(f"{where}.{name} {'is missing' if value is None or value == '' else 'is no text'}")
    if any(ord(character) < 32 for character in value):
        raise FormatError(f"{where}.{name} has a control character")
    return value
