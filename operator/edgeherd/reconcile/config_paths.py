"""Which files a manifest may name on a device: `allowedConfigPaths` of the HubConnection. Pure."""

from edgeherd.errors import Stalled
from edgeherd.model import EdgeDevice, HubConnection

DEFAULT = ("/etc/iotedge/", "/etc/aziot/", "C:\\ProgramData\\iotedge\\")
"""The runtime's own folders: what may be written where the HubConnection lists nothing."""


DAEMON_FILES = ("/etc/iotedge/config.yaml", "/etc/aziot/config.toml")
"""Where the daemon has its settings, unless the spec says otherwise."""


def require(device: EdgeDevice, connection: HubConnection) -> None:
    """Nothing is done on a device before this. What the spec leaves to the operator is in its usual place.

    Raises:
        Stalled: the spec names a file that is outside of what the HubConnection allows.
    """
    listed = connection.allowed_config_paths
    rule = "it is not listed" if listed else f"it lists none, so it must be below {' or '.join(DEFAULT)}"
    for field, path in _named(device, listed=bool(listed)):
        if not is_allowed(path, listed or DEFAULT):
            message = (
                f"{field} is '{path}', which HubConnection '{connection.name}' does not allow ({rule}). Name another path, "
                "or ask the platform's administrator to add it to spec.allowedConfigPaths."
            )
            raise Stalled("ConfigPathNotAllowed", message)
        if "x509" in field and path in {*DAEMON_FILES, device.runtime.config_path}:
            message = (
                f"{field} is '{path}', the daemon's own file, which a certificate would replace. Name another path."
            )
            raise Stalled("ConfigPathNotAllowed", message)


def is_allowed(path: str, allowed: tuple[str, ...]) -> bool:
    """Whether a path is one of these, or below one of these that ends as a folder does. Windows does not mind the case."""
    if ".." in path:
        return False
    mine = _comparable(path)
    return any(
        mine.startswith(item) if item.endswith(("/", "\\")) else mine == item for item in map(_comparable, allowed)
    )


def _comparable(path: str) -> str:
    return path if path.startswith("/") else path.lower()


def _named(device: EdgeDevice, *, listed: bool) -> list[tuple[str, str]]:
    """The paths that the spec names. Those of a certificate that is on the device already are read by the daemon alone."""
    x509 = device.x509
    found = [("spec.runtime.configPath", device.runtime.config_path)]
    if x509 is not None and (x509.secret_name is not None or listed):
        found.append(("spec.identity.x509.certificatePath", x509.certificate_path))
        found.append(("spec.identity.x509.privateKeyPath", x509.private_key_path))
    return [(field, path) for field, path in found if path is not None]
