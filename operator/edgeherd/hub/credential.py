"""The connection string of a shared access policy, checked before any library sees it.

The SDK's own parser answers a trailing semicolon or bad base64 with exceptions that quote their input
(reference: azure-iot-hub 2.7, `connection_string.py`).
"""

import base64
import dataclasses
import re

from edgeherd.connection_text import SeveralStringsError, connection_string_in

_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]{1,253}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HubCredential:
    """A shared access policy of a hub. The key never shows in a repr."""

    host_name: str
    policy: str
    key: str = dataclasses.field(repr=False)

    def connection_string(self, port: int) -> str:
        """For the SDK, which takes the port as a part of the host name."""
        host = self.host_name if port == 443 else f"{self.host_name}:{port}"
        return f"HostName={host};SharedAccessKeyName={self.policy};SharedAccessKey={self.key}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadIdentity:
    """The operator's own Entra workload identity; what is None comes from its environment."""

    host_name: str
    client_id: str | None
    tenant_id: str | None

    def authority(self, port: int) -> str:
        """Host name and port as the SDK takes them."""
        return self.host_name if port == 443 else f"{self.host_name}:{port}"


def parse(text: str) -> HubCredential:
    """Parse 'HostName=...;SharedAccessKeyName=...;SharedAccessKey=...'; a port in HostName is dropped.

    It may be in quotation marks, in JSON, or below a heading, as portals and scripts give it.

    Raises:
        ValueError: with a sentence for the administrator that does not repeat the input.
    """
    fields = dict(part.partition("=")[::2] for part in _one_in(text).split(";") if part)
    if "DeviceId" in fields:
        message = "is a device's connection string; it must be that of a shared access policy"
        raise ValueError(message)
    missing = [name for name in ("HostName", "SharedAccessKeyName", "SharedAccessKey") if not fields.get(name)]
    if missing:
        message = f"must have the form HostName=...;SharedAccessKeyName=...;SharedAccessKey=...; missing: {', '.join(missing)}"
        raise ValueError(message)
    host_name, _, port = fields["HostName"].partition(":")
    if not _HOST_NAME.fullmatch(host_name) or (port and not port.isdecimal()):
        message = "has a HostName that is no host name; it has no scheme"
        raise ValueError(message)
    try:
        base64.b64decode(fields["SharedAccessKey"], validate=True)
    except ValueError:
        message = "has a SharedAccessKey that is not base64"
        raise ValueError(message) from None
    return HubCredential(
        host_name=host_name,
        policy=fields["SharedAccessKeyName"],
        key=fields["SharedAccessKey"],
    )


def _one_in(text: str) -> str:
    try:
        return connection_string_in(text)
    except SeveralStringsError:
        message = "has more than one connection string; it must be that of a shared access policy alone"
        raise ValueError(message) from None
