"""EdgeDevice manifests for devices that were set up by other means. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgeherd.hub.port import Listed
from edgeherd.model import GROUP, VERSION

_ADDRESS = "CHANGE-ME"
_DEVICE_ID = re.compile(r"[A-Za-z0-9:.+%_#*?!(),@$-]{1,128}")


class FormatError(ValueError):
    """The file is not what it should be; the text says where."""


def object_name(device_id: str, taken: set[str]) -> str:
    """A Kubernetes name for a device id: as like it as the rules allow, and not taken."""
    name = re.sub(r"[^a-z0-9.-]+", "-", device_id.lower()).strip("-.")[:240] or "device"
    name = re.sub(r"(?:\.-|-\.|\.)+\.?", ".", name)
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    taken.add(unique)
    return unique


def edge_device(device_id: str, *, name: str, namespace: str, hub: str, ssh: Mapping[str, str]) -> dict[str, Any]:
    """A manifest that adopts an identity, or creates it where the hub has none."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "EdgeDevice",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "hubRef": {"name": hub},
            "deviceId": device_id,
            "adoptionPolicy": "IfExists",
            "ssh": {
                "host": ssh.get("host", _ADDRESS),
                "user": ssh.get("user", "edgeops"),
                "credentialsSecretRef": {"name": ssh.get("secret", "edge-ssh")},
            },
        },
    }


def for_unmanaged(
    listed: Iterable[Listed], managed: Mapping[str, str], *, namespace: str, hub: str, ssh: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """A manifest for each device of the hub that no EdgeDevice manages."""
    taken: set[str] = set()
    for device in listed:
        if device.device_id not in managed and _DEVICE_ID.fullmatch(device.device_id):
            name = object_name(device.device_id, taken)
            yield edge_device(device.device_id, name=name, namespace=namespace, hub=hub, ssh=ssh)


def from_az(document: Any, *, namespace: str, hub: str, ssh: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Manifests for the devices of an `az iot edge devices create` file (azure-iot extension, edge_device_config.py).

    Raises:
        FormatError: it is not such a file.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("edgeDevices"), list):
        raise FormatError("there is no list 'edgeDevices'; is it a configuration of 'az iot edge devices create'?")
    method = (document.get("iotHub") or {}).get("authenticationMethod", "symmetricKey")
    if method != "symmetricKey":
        raise FormatError(f"iotHub.authenticationMethod is '{method}'; only 'symmetricKey' can be carried over")
    image = (document.get("edgeConfiguration") or {}).get("defaultEdgeAgent")
    taken: set[str] = set()
    for where, device in _flattened(document["edgeDevices"], "edgeDevices"):
        device_id = device.get("deviceId")
        if not isinstance(device_id, str) or not _DEVICE_ID.fullmatch(device_id):
            raise FormatError(f"{where}.deviceId is no device id that a connection string can hold")
        host = device.get("hostname")
        manifest = edge_device(
            device_id,
            name=object_name(device_id, taken),
            namespace=namespace,
            hub=hub,
            ssh={**({"host": str(host)} if host else {}), **ssh},
        )
        runtime: dict[str, Any] = {"hostname": str(host)} if host else {}
        if agent := device.get("edgeAgent") or image:
            runtime["agent"] = {"image": str(agent)}
        if runtime:
            manifest["spec"]["runtime"] = runtime
        yield manifest


def _flattened(devices: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(devices, list):
        raise FormatError(f"{where} is not a list")
    for number, device in enumerate(devices):
        here = f"{where}[{number}]"
        if not isinstance(device, Mapping):
            raise FormatError(f"{here} is not a mapping")
        yield here, device
        yield from _flattened(device.get("children") or [], f"{here}.children")
