"""The registry's part of azure-iot-hub, without its AMQP client.

The package imports uamqp when it is imported, for cloud-to-device messages alone. uamqp is deprecated and has no wheel for
arm64, musl or Python 3.14 (azure-iot-hub 2.7, uamqp 1.6.11). So the package's own `__init__` is passed over: what speaks
HTTP is below it and needs no uamqp. What stands here beside it is what `IoTHubRegistryManager` does for the calls that the
operator makes.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

from edgeherd.model import Credentials, Keys

_PACKAGE = "azure.iot.hub"


@contextlib.contextmanager
def _without_init(package: str) -> Iterator[None]:
    """Let modules of a package be imported as if its `__init__` were empty; whoever imports it later gets it whole.

    Raises:
        ImportError: it is not installed.
    """
    if package in sys.modules:
        yield
        return
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:  # nor is what is above it
        spec = None
    if spec is None:
        message = f"{package} is not installed; where uamqp cannot be, pip install --no-deps azure-iot-hub"
        raise ImportError(message)
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[package]


with _without_init(_PACKAGE):
    from azure.iot.hub.auth import AzureIdentityCredentialAdapter, ConnectionStringAuthentication
    from azure.iot.hub.protocol import IotHubGatewayServiceAPIs, models


class Registry:
    """A hub's registry: blocking calls, whose refusals are msrest's exceptions."""

    def __init__(self, host: str, authentication: Any) -> None:
        self.protocol = IotHubGatewayServiceAPIs(authentication, f"https://{host}")

    @classmethod
    def from_connection_string(cls, text: str) -> "Registry":
        """By a shared access policy.

        Raises:
            ValueError: it is no connection string.
        """
        authentication = ConnectionStringAuthentication(text)
        return cls(authentication["HostName"], authentication)

    @classmethod
    def from_token_credential(cls, host: str, credential: Any) -> "Registry":
        """By a credential of azure-identity; the first call asks for a token."""
        return cls(host, AzureIdentityCredentialAdapter(credential))

    def get_device(self, device_id: str) -> Any:
        """An identity."""
        return self.protocol.devices.get_identity(device_id)

    def get_devices(self, most: int) -> Any:
        """Some identities."""
        return self.protocol.devices.get_devices(most)

    def put_device(self, device: Any, etag: str | None = None) -> Any:
        """Create an identity, or update the one with this etag."""
        return self.protocol.devices.create_or_update_identity(device.device_id, device, etag and _quoted(etag))

    def delete_device(self, device_id: str, etag: str) -> None:
        """Delete the identity with this etag."""
        self.protocol.devices.delete_identity(device_id, _quoted(etag))

    def get_twin(self, device_id: str) -> Any:
        """A device twin."""
        return self.protocol.devices.get_twin(device_id)

    def get_module_twin(self, device_id: str, module_id: str) -> Any:
        """A module twin."""
        return self.protocol.modules.get_twin(device_id, module_id)

    def update_tags(self, device_id: str, tags: dict[str, Any], etag: str) -> Any:
        """Merge tags into the device twin with this etag, `*` for any."""
        return self.protocol.devices.update_twin(device_id, models.Twin(tags=tags), _quoted(etag))

    def query(self, text: str, token: str | None, most: int) -> tuple[list[Any], str | None]:
        """A page of a query, and the token of the next one."""
        answer = self.protocol.query.get_twins(models.QuerySpecification(query=text), token, most, None, True)
        return answer.output or [], answer.headers["x-ms-continuation"]


def device(
    device_id: str,
    credentials: Credentials,
    *,
    enabled: bool,
    status_reason: str | None = None,
    device_scope: str | None = None,
    parent_scopes: tuple[str, ...] = (),
) -> Any:
    """An edge device as the registry takes it."""
    if isinstance(credentials, Keys):
        keys = models.SymmetricKey(primary_key=credentials.primary, secondary_key=credentials.secondary)
        authentication = models.AuthenticationMechanism(type="sas", symmetric_key=keys)
    else:
        thumbprints = models.X509Thumbprint(
            primary_thumbprint=credentials.primary, secondary_thumbprint=credentials.secondary
        )
        authentication = models.AuthenticationMechanism(type="selfSigned", x509_thumbprint=thumbprints)
    return models.Device(
        device_id=device_id,
        status="enabled" if enabled else "disabled",
        status_reason=status_reason,
        authentication=authentication,
        capabilities=models.DeviceCapabilities(iot_edge=True),
        device_scope=device_scope,
        parent_scopes=list(parent_scopes) or None,
    )


def _quoted(etag: str) -> str:
    return f'"{etag}"'
