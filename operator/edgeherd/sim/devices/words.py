"""What the daemons write into the journal, and what `iotedge` complains of: all such texts, in one place.

Read in github.com/Azure/iotedge at 1.1.15 and 1.5.44 and github.com/Azure/iot-identity-service at 1.5.6. Further lines
of a text are entries of their own, as each cause of an error is one.
"""

import dataclasses
import urllib.parse

NO_MANIFEST = "manifest unknown: manifest unknown"
NO_NAME = (
    "error trying to connect: dns error: failed to lookup address information: Temporary failure in name resolution"
)
NO_ENGINE = "error trying to connect: Connection refused (os error 111)"
UNAUTHORIZED = "HTTP response error: [401 Unauthorized]"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What one generation of the daemon says. Texts with braces are formats."""

    starting: str
    bad_settings: str
    bad_start: str
    no_engine: str
    watchdog: str
    stopping: str
    changed: str
    removing: str
    identity: str
    creating: str
    pull: str
    created: str
    again: str
    running: str
    not_simulated: str = "provisioning by '{source}' is not simulated"


CLASSIC = Words(
    starting="Starting Azure IoT Edge Security Daemon\nVersion - {version}",
    bad_settings="The daemon could not start up successfully: Could not load settings\n\tcaused by: {why}",
    bad_start="The daemon could not start up successfully: A module runtime error occurred",
    no_engine=(
        "The daemon could not start up successfully: Could not initialize module runtime\n"
        "\tcaused by: Container runtime error\n\tcaused by: {why}"
    ),
    watchdog="Error in watchdog when checking for edge runtime status:\n{why}",
    stopping="Stopping all modules...",
    changed="Change to configuration file detected.",
    removing="Removing all modules...",
    identity="A module runtime error occurred.\n\tcaused by: Could not get module edgeAgent\n\tcaused by: {why}",
    creating="Creating and starting edge runtime module {name}\nPulling image {image}...",
    pull="A module runtime error occurred.\n\tcaused by: Could not pull image {image}\n\tcaused by: {why}",
    created="Successfully started module {name}",
    again="Edge runtime status is {status}, starting module now...",
    running="Edge runtime is running.",
)
AZIOT = Words(
    starting="Starting Azure IoT Edge Daemon\nVersion - {version}",
    bad_settings="Failed to load settings: {why}",
    bad_start="Failed to initialize module runtime: A module runtime error occurred",
    no_engine="Failed to initialize module runtime: {why}",
    watchdog="Error in watchdog: {why}",
    stopping="Stopping all modules...",
    changed="Change to device information detected",
    removing="Removing all modules...",
    identity="Failed to update $edgeAgent identity: {why}",
    creating="Creating and starting Edge runtime module {name}...\nPulling image {image}...",
    pull="Failed to pull Edge runtime module: {why}",
    created="Created Edge runtime module {name}\nStarted Edge runtime module {name}",
    again="Edge runtime status is {status}, starting module now...",
    running="Edge runtime is running",
)

PROXY = "Detected HTTPS proxy server {proxy}"
PROVISIONED = "Obtaining Edge device provisioning data...\nDevice is {device} on {hub}"
RECONCILED = "Provisioning starting. Reason: Startup\nUpdated device info for {device}.\nProvisioning complete."
NO_SETTINGS = "configuration file not found"
NO_SUPER_CONFIG = "missing field `hostname`"
NOT_READABLE = "Permission denied (os error 13)"
REFUSED_SETTINGS = "configuration property could not be read"

CONFIGURED = "Azure IoT Edge has been configured successfully!"
KEY_WRITTEN = "Note: Symmetric key will be written to /var/secrets/aziot/keyd/device-id"
NOT_ROOT = "this command must be run as root"
OTHER_HOST_NAME = (
    "Cannot apply config because the hostname in the config {old} is different from the previous hostname {new}. To "
    "update the hostname, run the following command which deletes all IoT Edge modules and reapplies the configuration. "
    "Or, revert the hostname change in the config.toml file.\n"
    "                    sudo iotedge system stop && sudo docker rm -f $(sudo docker ps -aq -f "
    '"label=net.azure-devices.edge.owner=Microsoft.Azure.Devices.Edge.Agent") && sudo iotedge config apply\n'
    "                Warning: Data stored in the modules is lost when above command is executed."
)
"""As upstream has it: old and new are the wrong way round there too."""


def masked(proxy: str) -> str:
    """A proxy's address as the daemons write it: without the password."""
    parts = urllib.parse.urlsplit(proxy)
    if parts.password is None:
        return parts._replace(path=parts.path or "/").geturl()
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}:******@{host}", path=parts.path or "/").geturl()
