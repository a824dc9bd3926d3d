"""What the daemons write into the journal, and what `iotedge` complains of: all such texts, in one place.

Read in github.com/Azure/iotedge at 1.1.15 and 1.5.44 and github.com/Azure/iot-identity-service at 1.5.6. Further lines
of a text are entries of their own, as each cause of an error is one.
"""

import dataclasses
import json
import urllib.parse

NO_MANIFEST = "manifest for {image} not found: manifest unknown: manifest unknown"
NO_ENGINE = "error trying to connect: Connection refused (os error 111)"
NOT_TRUSTED = (
    "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:"
    "ssl/statem/statem_clnt.c:1889: (unable to get local issuer certificate)"
)
UNAUTHORIZED = '{"Message":"ErrorCode:IotHubUnauthorizedAccess;Unauthorized","ExceptionMessage":"Tracking ID:0"}'
"""What the hub answers to a token that has expired."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """What one generation of the daemon says. Texts with braces are formats."""

    no_name: str
    no_connection: str
    refusal: str

    starting: str
    bad_settings: str
    bad_start: str
    no_engine: str
    lost_engine: str
    engine_says: str
    """What is written before the watchdog's complaint; nothing where that one has the causes."""
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

    def refused(self, status: str, body: str) -> str:
        """What becomes of the hub's answer, such as '401 Unauthorized' and JSON."""
        try:
            said = json.loads(body)["Message"]
        except (ValueError, KeyError, TypeError):
            said = f"HTTP error {status}"
        return self.refusal.format(status=status, body=body, message=said)


CLASSIC = Messages(
    no_name="failed to lookup address information: Name or service not known",
    no_connection="Could not perform HTTP request\n\tcaused by: error trying to connect: {why}",
    refusal="HTTP request failed: [{status}] {body}",
    starting="Starting Azure IoT Edge Security Daemon\nVersion - {version}",
    bad_settings="The daemon could not start up successfully: Could not load settings\n\tcaused by: {why}",
    bad_start="The daemon could not start up successfully: A module runtime error occurred",
    no_engine=(
        "The daemon could not start up successfully: Could not initialize module runtime\n"
        "\tcaused by: Container runtime error\n\tcaused by: {why}"
    ),
    lost_engine=(
        "A module runtime error occurred.\n\tcaused by: Could not list modules\n\tcaused by: Container runtime error\n"
        f"\tcaused by: {NO_ENGINE}"
    ),
    engine_says="",
    watchdog="Error in watchdog when checking for edge runtime status:\n{why}",
    stopping="Stopping all modules...",
    changed="Change to configuration file detected.",
    removing="Removing all modules...",
    identity=(
        "A module runtime error occurred.\n\tcaused by: Could not get identity $edgeAgent\n"
        "\tcaused by: Could not get module $edgeAgent\n\tcaused by: {why}"
    ),
    creating="Creating and starting edge runtime module {name}\nPulling image {image}...",
    pull="A module runtime error occurred.\n\tcaused by: Could not pull image {image}\n\tcaused by: {why}",
    created="Successfully started module {name}",
    again="Edge runtime status is {status}, starting module now...",
    running="Edge runtime is running.",
)
AZIOT = Messages(
    no_name="dns error: failed to lookup address information: Temporary failure in name resolution",
    no_connection="error trying to connect: {why}",
    refusal="{message}",
    starting="Starting Azure IoT Edge Daemon\nVersion - {version}",
    bad_settings="Failed to load settings: {why}",
    bad_start="Watchdog error count has exceeded allowed retries",
    no_engine=(
        "container runtime error\n\nCaused by:\n    0: {why}\n"
        "Failed to initialize module runtime: runtime operation error: initialize module runtime"
    ),
    lost_engine='Failed to pull Edge runtime module: registry operation error: pull image "{image}"',
    engine_says="container runtime error\n\nCaused by:\n    {status}: {why}",
    watchdog="Error in watchdog: {why}",
    stopping="Stopping all modules...",
    changed="Change to device information detected",
    removing="Removing all modules...",
    identity="Failed to update $edgeAgent identity: Hub client error\ncaused by: {why}",
    creating="Creating and starting Edge runtime module {name}...\nPulling image {image}...",
    pull='Failed to pull Edge runtime module: registry operation error: pull image "{image}"',
    created="Created Edge runtime module {name}\nStarted Edge runtime module {name}",
    again="Edge runtime status is {status}, starting runtime now...",
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
