"""EdgeDevice manifests for devices that were set up by other means. Pure."""

import dataclasses
import re
from typing import Any

from edgeherd.model import GROUP, VERSION, Thumbprints

PLACEHOLDER = "CHANGE-ME"
"""What nobody but the reader can know: a host name that passes every rule and is none."""

_DEVICE_ID = re.compile(r"[A-Za-z0-9:.+%_#*?!(),@$-]{1,128}")
NO_ID = "its id has a character that connection strings cannot hold"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """How a device is reached, as far as it is known."""

    user: str
    secret: str
    host: str = PLACEHOLDER
    port: int = 22
    host_keys: tuple[str, ...] = ()
    jump: "Address | None" = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What an X.509 device authenticates with."""

    thumbprints: Thumbprints
    path: str
    key_path: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A device as it is. What is None or empty is not known, or need not be said."""

    device_id: str
    enabled: bool = True
    certificate: Certificate | None = None
    key_in_use: str = ""
    """'Secondary' if it uses that one."""
    hostname: str = ""
    agent_image: str = ""
    registry_secret: str = ""
    config_path: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A device that gets no manifest, and why."""

    device_id: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an import comes to: manifests, who gets none, and what the manifests do not say."""

    bodies: tuple[dict[str, Any], ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def usable_id(device_id: str) -> bool:
    """Whether an EdgeDevice can be about a device of this id."""
    return _DEVICE_ID.fullmatch(device_id) is not None and device_id.strip(".") != ""


def object_name(device_id: str, taken: set[str]) -> str:
    """A Kubernetes name for a device id: as like it as the rules allow, and not taken."""
    name = re.sub(r"[^a-z0-9.-]+", "-", device_id.lower()).strip("-.")[:240] or "device"
    name = re.sub(r"(?:\.-|-\.|\.)+\.?", ".", name)
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    taken.add(unique)
    return unique


def edge_device(found: Found, address: Address, *, name: str, namespace: str, hub: str) -> dict[str, Any]:
    """A manifest that adopts an identity as it is, or creates it where the hub has none."""
    spec: dict[str, Any] = {
        "hubRef": {"name": hub},
        "deviceId": found.device_id,
        "adoptionPolicy": "IfExists",
    }
    if identity := _identity(found):
        spec["identity"] = identity
    spec["ssh"] = _ssh(address)
    if runtime := _runtime(found):
        spec["runtime"] = runtime
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "EdgeDevice",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _identity(found: Found) -> dict[str, Any]:
    said: dict[str, Any] = {} if found.enabled else {"status": "Disabled"}
    if found.key_in_use:
        said["keyInUse"] = found.key_in_use
    certificate = found.certificate
    if certificate is not None:
        second = certificate.thumbprints.secondary
        said["authentication"] = "SelfSignedX509"
        said["x509"] = {
            "primaryThumbprint": certificate.thumbprints.primary,
            **({"secondaryThumbprint": second} if second else {}),
            "certificatePath": certificate.path,
            "privateKeyPath": certificate.key_path,
        }
    return said


def _ssh(address: Address) -> dict[str, Any]:
    return {
        "host": address.host,
        **({} if address.port == 22 else {"port": address.port}),
        "user": address.user,
        "credentialsSecretRef": {"name": address.secret},
        **({"hostKeys": list(address.host_keys)} if address.host_keys else {}),
        **({} if address.jump is None else {"jumpHost": _ssh(address.jump)}),
    }


def _runtime(found: Found) -> dict[str, Any]:
    agent: dict[str, Any] = {}
    if found.agent_image:
        agent["image"] = found.agent_image
    if found.registry_secret:
        agent["registryAuthSecretRef"] = {"name": found.registry_secret}
    return {
        **({"configPath": found.config_path} if found.config_path else {}),
        **({"hostname": found.hostname} if found.hostname else {}),
        **({"agent": agent} if agent else {}),
    }
