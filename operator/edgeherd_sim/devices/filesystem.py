"""A device's file system: a folder that holds what a Debian machine with the package iotedge or aziot-edge has."""

import dataclasses
import functools
import os
import pathlib
import urllib.parse
from importlib import resources

from edgeherd import config

_FILES = resources.files("edgeherd_sim.devices") / "files"
SERVICES = ("edged", "identityd", "keyd", "certd", "tpmd")
"""The daemons of 1.2 and later."""
_FOLDERS = (
    "",
    "etc",
    "etc/ssh",
    "etc/systemd",
    "etc/systemd/system",
    "home",
    "sim",
    "sim/environment",
    "sim/units",
    "usr",
    "usr/bin",
    "var",
    "var/lib",
)
"""Parents first. `sim` holds what is in no file of a real device: what systemd, the container engine and sudo know."""
_CLASSIC = ("etc/iotedge", "var/lib/iotedge", "var/lib/iotedge/cache")
_AZIOT = (
    "etc/aziot",
    *(f"etc/aziot/{service}{folder}" for service in SERVICES for folder in ("", "/config.d")),
    "var/lib/aziot",
    "var/lib/aziot/edged",
    "var/lib/aziot/edged/cache",
)


@functools.cache
def default_config() -> bytes:
    """The settings file that a fresh device has: the shape of runtime 1.0.10's Debian package."""
    return (_FILES / "config.yaml").read_bytes()


@functools.cache
def template(line: str = "1.5") -> bytes:
    """What the package aziot-edge lays beside the place of the settings file, in its shape.

    From 1.4 on the lines differ in the tag of edgeAgent's image alone.
    """
    return (_FILES / "config.toml.edge.template").read_bytes().replace(b"agent:1.5", f"agent:{line}".encode())


def install_programs(folder: pathlib.Path) -> None:
    """Put the devices' programs there. All devices of a fleet share them, by links."""
    folder.mkdir(exist_ok=True)
    for entry in (_FILES / "bin").iterdir():
        write(folder / entry.name, entry.read_bytes(), 0o755)


def write(path: pathlib.Path, content: bytes, mode: int) -> None:
    """Replace a file at once: nobody ever reads half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), mode)
    temporary.replace(path)


@dataclasses.dataclass(frozen=True, slots=True)
class FileSystem:
    """The paths that matter, under `root`."""

    root: pathlib.Path
    aziot: bool = False
    """Whether the runtime is 1.2 or later."""

    @property
    def folder(self) -> pathlib.Path:
        """Where the package keeps its settings."""
        return self.root / ("etc/aziot" if self.aziot else "etc/iotedge")

    @property
    def config_file(self) -> pathlib.Path:
        """The daemon's settings; those of 1.2 and later need not be there."""
        return self.folder / ("config.toml" if self.aziot else "config.yaml")

    @property
    def template(self) -> pathlib.Path:
        """What a person copies to `config_file`, with 1.2 and later."""
        return self.folder / "config.toml.edge.template"

    def applied(self, service: str) -> pathlib.Path:
        """What `iotedge config apply` wrote for one of SERVICES."""
        return self.root / f"etc/aziot/{service}/config.d/00-super.toml"

    @property
    def device_key(self) -> pathlib.Path:
        """The key that `iotedge config apply` took out of the settings; raw bytes."""
        return self.root / "var/secrets/aziot/keyd/device-id"

    def content_of(self, uri: str) -> bytes:
        """What is in the file that a `file:` URI names.

        Raises:
            OSError: it is not there.
        """
        return self.at(urllib.parse.urlsplit(uri).path).read_bytes()

    def at(self, path: str) -> pathlib.Path:
        """The file that the device itself calls `path`."""
        return self.root / path.removeprefix(str(self.root)).lstrip("/")

    def drop_ins(self, unit: str) -> list[pathlib.Path]:
        """What an administrator adds to the unit, in systemd's order."""
        return sorted((self.root / f"etc/systemd/system/{unit}.d").glob("*.conf"))

    def unit(self, name: str) -> pathlib.Path:
        """What `systemctl show` says of a unit."""
        return self.root / "sim/units" / name

    def environment(self, unit: str) -> pathlib.Path:
        """What it says of the unit's environment; it is there where there is something to say."""
        return self.root / "sim/environment" / unit

    @property
    def modules(self) -> pathlib.Path:
        """The containers: name, status, since when, image."""
        return self.root / "sim/modules"

    @property
    def settings_state(self) -> pathlib.Path:
        """What the daemon started with last; when it is something else, the containers go."""
        return self.root / (
            "var/lib/aziot/edged/cache/provisioning_state" if self.aziot else "var/lib/iotedge/cache/settings_state"
        )

    @property
    def management_socket(self) -> pathlib.Path:
        """A plain file; it is there while the daemon answers `iotedge list`."""
        return self.root / "sim/mgmt.sock"

    @property
    def journal(self) -> pathlib.Path:
        """The daemon's log."""
        return self.root / "sim/journal"

    @property
    def host_key(self) -> pathlib.Path:
        """The SSH server's private key."""
        return self.root / "etc/ssh/ssh_host_ed25519_key"

    @property
    def control(self) -> pathlib.Path:
        """The way from the device's programs to the simulator."""
        return self.root / "sim/control"

    def program(self, name: str) -> pathlib.Path:
        """A program that comes before the machine's own."""
        return self.root / "usr/bin" / name

    def home(self, user: str) -> pathlib.Path:
        """The login user's home."""
        return self.root / "home" / user

    @property
    def no_sudo(self) -> pathlib.Path:
        """While it is there, sudo asks for a password."""
        return self.root / "sim/no-sudo"

    def create(
        self,
        *,
        name: str,
        user: str,
        version: config.Version,
        settings: bytes | None,
        programs: pathlib.Path,
        control: pathlib.Path,
    ) -> None:
        """Install the device, or upgrade the one that is there: its own files stay as they are."""
        for folder in (*_FOLDERS, *(_AZIOT if self.aziot else _CLASSIC), f"home/{user}"):
            (self.root / folder).mkdir(exist_ok=True)
        for program in programs.iterdir():
            _link(self.program(program.name), program)
        _link(self.control, control)
        self.journal.touch()
        (self.root / "etc/hostname").write_text(f"{name}\n")
        (self.root / "sim/version").write_text(f"{version}\n")
        for left in (*(self.root / "sim/units").iterdir(), *(self.root / "sim/environment").iterdir()):
            left.unlink()
        if self.aziot:
            self._lay_out_aziot(settings, ".".join(map(str, version.numbers[:2])))
        elif not self.config_file.exists():
            # The package's script does the same on every device.
            settings = (settings or default_config()).replace(b'"<ADD HOSTNAME HERE>"', f'"{name}"'.encode())
            write(self.config_file, settings, 0o400)

    def _lay_out_aziot(self, settings: bytes | None, line: str) -> None:
        if not self.template.exists():
            write(self.template, template(line), 0o600)
        if settings is not None and not self.config_file.exists():
            write(self.config_file, settings, 0o600)


def _link(path: pathlib.Path, target: pathlib.Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent))
