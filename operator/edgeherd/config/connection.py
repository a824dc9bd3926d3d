"""The daemon's rules for a device's connection string.

They are those of iotedged 1.1 (edgelet-core/src/settings.rs, `parse_device_connection_string`); the order of the checks is its
order too. Later versions are laxer about names and white space and stricter about the padding of the key: 1.2 and later refuse
wrong padding, which 1.1 never sees. So `for_toml` pads what is written for them.
"""

import base64
import binascii
import dataclasses
import re
from typing import Literal

PLACEHOLDER = "<ADD DEVICE CONNECTION STRING HERE>"
"""What the templates hold until somebody puts a connection string in."""

_DEVICE_ID = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}")
_HOST_NAME = re.compile(r"[a-zA-Z0-9_\-.]+")


class ConnectionStringError(ValueError):
    """The daemon refuses the connection string. The text says what to do and does not quote it."""

    def __init__(self, rule: Literal["empty", "placeholder", "malformed"], message: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionString:
    """A device's connection string, taken apart. The key never shows in a repr."""

    host_name: str
    device_id: str
    shared_access_key: str = dataclasses.field(repr=False)


def parse_connection_string(text: str) -> ConnectionString:
    """Take a connection string apart as the daemon does.

    Raises:
        ConnectionStringError: with a sentence that does not repeat the input.
    """
    if not text:
        raise ConnectionStringError("empty", "The connection string is empty. Put the device's connection string in.")
    if text == PLACEHOLDER:
        raise ConnectionStringError(
            "placeholder", "The connection string still is the template's placeholder. Put the device's own in."
        )
    found: dict[str, str | None] = {}
    for part in text.split(";"):
        name, *rest = part.split("=")
        found[name] = rest[0] if rest else None
    key = _required(found, "SharedAccessKey")
    if not _is_base64(key):
        raise _malformed("SharedAccessKey", "is not base64 of the standard alphabet")
    device_id = found.get("DeviceId")
    if device_id is None or not _DEVICE_ID.fullmatch(device_id):
        raise _malformed(
            "DeviceId", "is missing, or has characters other than A-Z a-z 0-9 - : . + % _ # * ? ! ( ) , @ $ '"
        )
    host_name = _required(found, "HostName")
    if not _HOST_NAME.fullmatch(host_name):
        raise _malformed("HostName", "is no host name; it has neither scheme nor port")
    return ConnectionString(host_name=host_name, device_id=device_id, shared_access_key=key)


def check_for_device(text: str) -> ConnectionString:
    """The daemon's rules, and what it would take though it is no device's: strings of modules and of policies.

    Raises:
        ConnectionStringError: see `parse_connection_string`.
    """
    names = [part.partition("=")[0] for part in text.split(";")]
    for name, whose in (("SharedAccessKeyName", "a shared access policy"), ("ModuleId", "a module")):
        if name in names:
            message = f"The connection string is that of {whose}. Use the device's own."
            raise ConnectionStringError("malformed", message)
    parsed = parse_connection_string(text)
    for name in ("HostName", "DeviceId", "SharedAccessKey"):
        if names.count(name) > 1:
            raise ConnectionStringError("malformed", f"The connection string names {name} twice. Remove one.")
    for name in ("DeviceId", "HostName"):
        if "=" in next(part for part in text.split(";") if part.startswith(f"{name}=")).removeprefix(f"{name}="):
            raise _malformed(name, "has an '=', at which the daemon cuts it off")
    return parsed


def parts_of(text: str) -> tuple[str, str, str]:
    """Host name, device id and key of a connection string, as IoT Edge 1.3 and later take it apart; the key has no padding.

    Empty where the string has no such part.
    """
    found = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    return found.get("HostName", ""), found.get("DeviceId", ""), found.get("SharedAccessKey", "").rstrip("=")


def padded(key: str) -> str:
    """A key with the padding that it has to have."""
    bare = key.rstrip("=")
    return bare + "=" * (-len(bare) % 4)


def for_toml(text: str) -> str:
    """A connection string whose key is padded rightly, as every version from 1.2 on takes it."""
    return ";".join(
        f"SharedAccessKey={padded(part.removeprefix('SharedAccessKey='))}"
        if part.startswith("SharedAccessKey=")
        else part
        for part in text.split(";")
    )


def _required(found: dict[str, str | None], name: str) -> str:
    value = found.get(name)
    if value is None:
        message = f"The connection string has no {name}. It must be HostName=...;DeviceId=...;SharedAccessKey=..."
        raise ConnectionStringError("malformed", message)
    return value


def _malformed(name: str, why: str) -> ConnectionStringError:
    return ConnectionStringError("malformed", f"{name} of the connection string {why}. Copy it again from the hub.")


def _is_base64(key: str) -> bool:
    """The daemon splits at '=', so padding is gone by now and is not asked for."""
    if not key or not re.fullmatch(r"[A-Za-z0-9+/]+", key):
        return False
    try:
        decoded = base64.b64decode(key + "=" * (-len(key) % 4), validate=True)
    except binascii.Error:
        return False
    # Bits left over at the end must be zero (Rust's base64 says InvalidLastSymbol).
    return base64.b64encode(decoded).decode().rstrip("=") == key
