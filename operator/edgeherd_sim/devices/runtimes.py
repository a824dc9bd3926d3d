"""The two generations of the daemon, as far as they differ: where they find their settings, and what they say."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Protocol

from edgeherd import config
from edgeherd_sim.devices import messages
from edgeherd_sim.devices.filesystem import FileSystem
from edgeherd_sim.devices.messages import Messages

CONNECTION_STRING = "manual.device_connection_string"


class BadSettingsError(Exception):
    """The daemon cannot use its settings; the text is for the journal."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What a daemon starts with. `state` tells one start from another: when it differs, the containers go."""

    source: str
    connection: config.ConnectionString | None
    x509: config.X509 | None
    hostname: str
    agent_image: str
    agent_env: Mapping[str, str] = dataclasses.field(repr=False)
    state: str

    @property
    def device(self) -> tuple[str, str]:
        """Hub and device id; empty where they are not known without asking somebody."""
        if self.x509 is not None:
            return self.x509.iothub_hostname, self.x509.device_id
        if self.connection is not None:
            return self.connection.host_name, self.connection.device_id
        return "", ""


class Runtime(Protocol):
    """One generation."""

    unit: str
    program: str
    """What the journal calls the daemon."""
    asker: str
    """What it calls the one that asks the hub."""
    asker_unit: str
    units: tuple[str, ...]
    """All whose environment an administrator may set."""
    tries: int | None
    """After how many crashes systemd gives up."""
    messages: Messages

    def load(self) -> Understood:
        """Read the settings.

        Raises:
            BadSettingsError: they are of no use.
        """


def readable(path: pathlib.Path, missing: str) -> bytes:
    """A file's content, for a daemon that is not root, whoever runs the simulator: its owner's mode decides.

    Raises:
        BadSettingsError: the daemon cannot read it.
    """
    if not path.exists():
        raise BadSettingsError(missing)
    if not path.stat().st_mode & 0o400:
        raise BadSettingsError(messages.NOT_READABLE)
    return path.read_bytes()


@functools.lru_cache(maxsize=256)
def _load(content: bytes, version: config.Version) -> config.Settings:
    return config.load(content, version=version)


class Classic:
    """iotedged 1.0 and 1.1."""

    unit = "iotedge.service"
    program = "iotedged"
    asker = "iotedged"
    asker_unit = "iotedge.service"
    units: tuple[str, ...] = ("iotedge.service", "docker.service")
    tries: int | None = 5
    messages = messages.CLASSIC

    def __init__(self, files: FileSystem, version: config.Version) -> None:
        self._files = files
        self._version = version

    def load(self) -> Understood:
        """See `Runtime`."""
        content = readable(self._files.config_file, messages.NO_SETTINGS)
        try:
            settings = _load(content, self._version)
        except config.InvalidConfigError as exc:
            raise BadSettingsError(str(exc)) from None
        known = settings.source == CONNECTION_STRING
        return Understood(
            source=settings.source,
            connection=config.parse_connection_string(settings.connection_string) if known else None,
            x509=settings.x509,
            hostname=settings.hostname,
            agent_image=settings.agent_image,
            agent_env=settings.agent_env,
            state=settings.meaning,
        )
