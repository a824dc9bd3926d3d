"""What a device proves itself with, and how the connection Secret holds it. Pure."""

import base64
import dataclasses
import hashlib
import json
import secrets
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from edgeherd.model import Credentials, Keys, Secret, Thumbprints

KEY_BYTES = 64
"""The hub takes 16 to 64 bytes (IoT Hub identity registry: device keys)."""

_OURS = frozenset(
    {
        "connectionString",
        "primaryConnectionString",
        "secondaryConnectionString",
        "primaryKey",
        "secondaryKey",
        "primaryThumbprint",
        "secondaryThumbprint",
        "hostName",
        "deviceId",
    }
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and its private key for the device, in PEM. The key never shows in a repr."""

    certificate: bytes
    private_key: bytes = dataclasses.field(repr=False)


def new_keys() -> Keys:
    """Two fresh keys from the system's random generator."""
    return Keys(primary=_new_key(), secondary=_new_key())


def renewed(keys: Keys, which: str) -> Keys:
    """The keys with a fresh one in place of the 'Primary' or the 'Secondary'."""
    if which == "Primary":
        return Keys(primary=_new_key(), secondary=keys.secondary)
    return Keys(primary=keys.primary, secondary=_new_key())


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def thumbprint(certificate: bytes) -> str:
    """The SHA-256 thumbprint of a PEM certificate, as the hub takes it.

    Raises:
        ValueError: it is no certificate.
    """
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex().upper()


def connection_string(host_name: str, device_id: str, key: str) -> str:
    """A device's connection string in the documented form, without quotation marks."""
    return f"HostName={host_name};DeviceId={device_id};SharedAccessKey={key}"


def secret_data(host_name: str, device_id: str, credentials: Credentials, *, key_in_use: str) -> dict[str, str]:
    """The content of the connection Secret."""
    common = {"hostName": host_name, "deviceId": device_id}
    if isinstance(credentials, Thumbprints):
        second = {"secondaryThumbprint": credentials.secondary} if credentials.secondary else {}
        string = f"HostName={host_name};DeviceId={device_id};x509=true"
        return {"connectionString": string, "primaryThumbprint": credentials.primary, **second, **common}
    primary = connection_string(host_name, device_id, credentials.primary)
    secondary = connection_string(host_name, device_id, credentials.secondary)
    return {
        "connectionString": secondary if key_in_use == "Secondary" else primary,
        "primaryConnectionString": primary,
        "secondaryConnectionString": secondary,
        "primaryKey": credentials.primary,
        "secondaryKey": credentials.secondary,
        **common,
    }


def keys_of(secret: Secret | None) -> Keys | None:
    """The two keys that a connection Secret holds; None when either is missing or empty."""
    if secret is None:
        return None
    primary, secondary = (
        secret.data.get(name, b"").decode("ascii", "replace") for name in ("primaryKey", "secondaryKey")
    )
    return Keys(primary=primary, secondary=secondary) if primary and secondary else None


def share_one(first: Keys | None, second: Keys | None) -> bool:
    """Whether a key of one is a key of the other: whoever has it was given it, or made it."""
    if first is None or second is None:
        return False
    return bool({first.primary, first.secondary} & {second.primary, second.secondary})


def digest(held: Credentials) -> str:
    """Tells keys (or thumbprints) from others without holding them."""
    second = held.secondary or ""
    return hashlib.sha256(f"{held.primary}\n{second}".encode()).hexdigest()


def thumbprints_of(secret: Secret | None) -> Thumbprints | None:
    """The thumbprints that a connection Secret holds; None where it has none."""
    if secret is None or not secret.data.get("primaryThumbprint"):
        return None
    first, second = (
        secret.data.get(f"{name}Thumbprint", b"").decode("ascii", "replace") for name in ("primary", "secondary")
    )
    return Thumbprints(primary=first, secondary=second or None)


def obsolete(secret: Secret | None, data: Mapping[str, str]) -> tuple[str, ...]:
    """What we once wrote into a Secret and would not write any more. What others added stays."""
    return tuple(sorted((set(secret.data) & _OURS) - set(data))) if secret is not None else ()


def mark(etag: str, data: Mapping[str, bytes]) -> str:
    """Says of a Secret's content which version of the identity it was written for, and that nobody edited it since."""
    content = {name: base64.b64encode(value).decode() for name, value in data.items() if name in _OURS}
    return f"{etag} {hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}"
