"""A device's file system: a folder that holds what a Debian machine with the package iotedge has."""

import dataclasses
import functools
import os
import pathlib
import urllib.parse
from importlib import resources

from edgeherd import config

_FILES = resources.files("edgeherd.sim.devices") / "files"
_FOLDERS = (
    "",
    "etc",
    "etc/iotedge",
    "etc/ssh",
    "home",
    "sim",
    "usr",
    "usr/bin",
    "var",
    "var/lib",
    "var/lib/iotedge",
    "var/lib/iotedge/cache",
)
"""Parents first. `sim` holds what is in no file of a real device: what systemd, the container engine and sudo know."""


@functools.cache
def default_config() -> bytes:
    """The settings file that a fresh device has: the shape of runtime 1.0.10's Debian package."""
    return (_FILES / "config.yaml").read_bytes()


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

    @property
    def config_file(self) -> pathlib.Path:
        """The daemon's settings."""
        return self.root / "etc/iotedge/config.yaml"

    def content_of(self, uri: str) -> bytes:
        """What is in the file that a `file:` URI names.

        Raises:
            OSError: it is not there.
        """
        return (self.root / urllib.parse.urlsplit(uri).path.lstrip("/")).read_bytes()

    @property
    def unit(self) -> pathlib.Path:
        """What `systemctl show` says of the daemon's unit."""
        return self.root / "sim/unit"

    @property
    def modules(self) -> pathlib.Path:
        """The containers: name, status, since when, image."""
        return self.root / "sim/modules"

    @property
    def settings_state(self) -> pathlib.Path:
        """The hash of the settings of the daemon's last start."""
        return self.root / "var/lib/iotedge/cache/settings_state"

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
        settings: bytes,
        programs: pathlib.Path,
        control: pathlib.Path,
    ) -> None:
        """Install the device, or upgrade the one that is there: its own files stay as they are."""
        for folder in (*_FOLDERS, f"home/{user}"):
            (self.root / folder).mkdir(exist_ok=True)
        for program in programs.iterdir():
            _link(self.program(program.name), program)
        _link(self.control, control)
        self.journal.touch()
        (self.root / "etc/hostname").write_text(f"{name}\n")
        (self.root / "sim/version").write_text(f"{version}\n")
        if not self.config_file.exists():
            # The package's script does the same on every device.
            settings = settings.replace(b'"<ADD HOSTNAME HERE>"', f'"{name}"'.encode())
            write(self.config_file, settings, 0o400)


def _link(path: pathlib.Path, target: pathlib.Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent))
