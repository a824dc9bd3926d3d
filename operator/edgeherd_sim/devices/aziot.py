"""The daemons of 1.2 and later: they read what `iotedge config apply` wrote, and never config.toml."""

import base64
import tomllib
from typing import Any

from edgeherd import config
from edgeherd_sim.devices import messages
from edgeherd_sim.devices.filesystem import SERVICES, FileSystem
from edgeherd_sim.devices.runtimes import CONNECTION_STRING, BadSettingsError, Understood, readable

UNITS = tuple(f"aziot-{service}.service" for service in SERVICES)


class Aziot:
    """aziot-edged, and aziot-identityd which asks the hub for it."""

    unit = "aziot-edged.service"
    program = "aziot-edged"
    asker = "aziot-identityd"
    asker_unit = "aziot-identityd.service"
    units: tuple[str, ...] = (*UNITS, "docker.service")
    tries: int | None = None
    """None: its RestartSec is longer than systemd's interval."""
    messages = messages.AZIOT

    def __init__(self, files: FileSystem, version: config.Version) -> None:
        self._files = files
        self._version = version

    def load(self) -> Understood:
        """See `runtimes.Runtime`."""
        edged, identityd = self._applied("edged"), self._applied("identityd")
        provisioning = identityd.get("provisioning", {})
        agent = edged.get("agent", {})
        source, connection, x509 = self._identity(provisioning)
        hub, device = provisioning.get("iothub_hostname", ""), provisioning.get("device_id", "")
        return Understood(
            source=source,
            connection=connection,
            x509=x509,
            hostname=edged.get("hostname", ""),
            agent_image=agent.get("config", {}).get("image", ""),
            agent_env=agent.get("env", {}),
            state=f"{device} {hub} {provisioning.get('local_gateway_hostname', hub)}",
        )

    def _applied(self, service: str) -> dict[str, Any]:
        content = readable(self._files.applied(service), messages.NO_SUPER_CONFIG)
        try:
            return tomllib.loads(content.decode())
        except ValueError as exc:
            raise BadSettingsError(str(exc)) from None

    def _identity(self, provisioning: dict[str, Any]) -> tuple[str, config.ConnectionString | None, config.X509 | None]:
        """What kind it is, and what it needs."""
        source = provisioning.get("source", "none")
        inner = provisioning.get("authentication") or provisioning.get("attestation") or {}
        method = inner.get("method", "")
        if source == "manual" and method == "sas":
            connection = config.ConnectionString(
                host_name=provisioning["iothub_hostname"],
                device_id=provisioning["device_id"],
                shared_access_key=base64.b64encode(self._key()).decode(),
            )
            return CONNECTION_STRING, connection, None
        if source == "manual" and method == "x509":
            return "manual.x509", None, self._x509(provisioning)
        return ".".join(filter(None, [source, method])), None, None

    def _key(self) -> bytes:
        """Where the symmetric key is, keyd knows. One that is not there opens nothing."""
        uri = self._applied("keyd").get("preloaded_keys", {}).get("device-id", "")
        try:
            return self._files.content_of(uri)
        except OSError:
            return b""

    def _x509(self, provisioning: dict[str, Any]) -> config.X509 | None:
        """Where the certificate is, certd knows; where the key is, keyd. One that is still to be issued is nowhere."""
        cert = self._applied("certd").get("preloaded_certs", {}).get("device-id")
        key = self._applied("keyd").get("preloaded_keys", {}).get("device-id")
        if not cert or not key:
            return None
        return config.X509(
            iothub_hostname=provisioning["iothub_hostname"],
            device_id=provisioning["device_id"],
            identity_cert=cert,
            identity_pk=key,
        )
