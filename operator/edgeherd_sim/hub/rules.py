"""What the registry accepts in ids, keys, thumbprints and statuses. Pure; raises `HubError`."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from edgeherd_sim.hub.errors import HubError, invalid
from edgeherd_sim.hub.model import Authentication

ID = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}")
_THUMBPRINT = re.compile(r"(?:[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})")
_KEY_BYTES = range(16, 65)
_REASON_LENGTH = 128
SCOPE_PREFIX = "ms-azure-iot-edge://"


def device_id(text: str) -> str:
    """The id, or ArgumentInvalid."""
    if not ID.fullmatch(text):
        raise invalid("The device identifier is invalid.")
    return text


def module_id(text: str) -> str:
    """The id, or ArgumentInvalid. Whether it may start with `$` is decided where one is created."""
    if not ID.fullmatch(text):
        raise invalid("The module identifier is invalid.")
    return text


def configuration_id(text: str) -> str:
    """The id, or ArgumentInvalid."""
    if not ID.fullmatch(text):
        raise invalid("The configuration identifier is invalid.")
    return text


def mapping(value: object, name: str) -> Mapping[str, Any]:
    """A JSON object; null and absence count as an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise HubError("DeserializationError", f"{name} must be an object.")
    return value


def text(value: object, name: str) -> str | None:
    """A JSON string or null."""
    if value is not None and not isinstance(value, str):
        raise HubError("DeserializationError", f"{name} must be a string.")
    return value


def flag(value: object, name: str) -> bool:
    """A JSON boolean; null and absence count as false."""
    if value is not None and not isinstance(value, bool):
        raise HubError("DeserializationError", f"{name} must be a boolean.")
    return bool(value)


def status(value: object) -> str:
    """Enabled unless said otherwise."""
    word = (text(value, "status") or "enabled").lower()
    if word not in {"enabled", "disabled"}:
        raise invalid("The status must be enabled or disabled.")
    return word


def status_reason(value: object) -> str | None:
    """At most 128 characters; an empty reason is none."""
    reason = text(value, "statusReason")
    if reason is not None and len(reason) > _REASON_LENGTH:
        raise invalid(f"The status reason must not exceed {_REASON_LENGTH} characters.")
    return reason or None


def authentication(value: object, *, module: bool, mint: Callable[[], str]) -> Authentication:
    """The authentication that a body asks for. A body replaces everything: keys that it leaves out are minted anew."""
    wanted = mapping(value, "authentication")
    thumbprints = mapping(wanted.get("x509Thumbprint"), "x509Thumbprint")
    first = _thumbprint(thumbprints.get("primaryThumbprint"))
    second = _thumbprint(thumbprints.get("secondaryThumbprint"))
    type_ = text(wanted.get("type"), "authentication.type") or ("selfSigned" if first or second else "sas")
    match type_.lower():
        case "sas":
            return _symmetric(mapping(wanted.get("symmetricKey"), "symmetricKey"), mint)
        case "selfsigned":
            return Authentication(type="selfSigned", primary_thumbprint=first, secondary_thumbprint=second)
        case "certificateauthority":
            return Authentication(type="certificateAuthority")
        case "none" if module:
            return _symmetric(mapping(wanted.get("symmetricKey"), "symmetricKey"), mint)
        case "none":
            raise HubError("DeviceAuthenticationTypeIsMissing", "The device authentication type is missing.")
        case _:
            raise invalid("The authentication type is unknown.")


def _symmetric(keys: Mapping[str, Any], mint: Callable[[], str]) -> Authentication:
    primary = text(keys.get("primaryKey"), "primaryKey")
    secondary = text(keys.get("secondaryKey"), "secondaryKey")
    if bool(primary) != bool(secondary):
        raise invalid("Either no keys or both keys can be set.")
    if not primary or not secondary:
        return Authentication(primary_key=mint(), secondary_key=mint())
    for key in (primary, secondary):
        _check_key(key)
    return Authentication(primary_key=primary, secondary_key=secondary)


def _check_key(key: str) -> None:
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("The device key is not base64.") from None
    if len(raw) not in _KEY_BYTES:
        raise invalid("Invalid device key length.")


def _thumbprint(value: object) -> str | None:
    thumbprint = text(value, "thumbprint")
    if thumbprint and not _THUMBPRINT.fullmatch(thumbprint):
        raise invalid("StringIsNotThumbprint: 40 or 64 hexadecimal digits without separators are expected.")
    return thumbprint or None


def parent_scopes(value: object) -> tuple[str, ...]:
    """At most one parent, named by its scope."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(scope, str) for scope in value):
        raise HubError("DeserializationError", "parentScopes must be a list of strings.")
    scopes = tuple(scope for scope in value if scope)
    if len(scopes) > 1:
        raise HubError("InvalidDeviceScope", "A device can have one parent only.")
    for scope in scopes:
        check_scope(scope)
    return scopes


def check_scope(scope: str) -> None:
    """A scope names an edge device and, as a rule, its generation."""
    device, _, _ = scope.removeprefix(SCOPE_PREFIX).rpartition("-")
    if not scope.startswith(SCOPE_PREFIX) or not ID.fullmatch(device):
        raise HubError("InvalidDeviceScope", "The device scope is invalid.")
