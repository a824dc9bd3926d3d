"""What the suite needs of a device that it may break: the simulated one has it, and the Debian machine."""

import dataclasses
from typing import Protocol

from edgeherd.device.port import Login

YAML = "/etc/iotedge/config.yaml"
TOML = "/etc/aziot/config.toml"
SUPER = "/etc/aziot/edged/config.d/00-super.toml"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stat:
    """A file, a folder or a link of the device, as `stat` has it. A link is not followed."""

    kind: str
    """'file', 'folder', 'link' or 'other'."""
    owner: str
    mode: str
    inode: int
    modified: int
    """In nanoseconds."""


class Subject(Protocol):
    """One device. Whatever is done here is done by root of that device, behind the operator's back."""

    version: str
    """Of the runtime."""
    supports: frozenset[str]
    """The faults that it can have, and what else not every subject has: 'owners', 'accounts', 'upgrade', 'cut'."""

    @property
    def login(self) -> Login:
        """How the operator logs in: as a user who is not root, with the host key pinned."""

    async def run(self, *command: str) -> str:
        """Run a command; what it said. It must succeed."""

    async def read(self, path: str) -> bytes:
        """A file's content."""

    async def write(self, path: str, content: bytes) -> None:
        """Put other content into a file, which keeps owner and mode; a new one gets 0600."""

    async def remove(self, path: str) -> None:
        """Remove a file."""

    async def stat(self, path: str) -> Stat | None:
        """What is there; None for nothing."""

    async def listing(self, folder: str) -> tuple[str, ...]:
        """The names in a folder."""

    async def journal(self) -> str:
        """All that the daemon and its services logged."""

    async def environment(self, unit: str) -> dict[str, str]:
        """What the unit's process was started with."""

    async def at_work(self) -> bool:
        """Whether a script of the operator's runs."""

    async def install(self, version: str) -> None:
        """Put this runtime there, in place of one that is there."""

    async def fault(self, name: str) -> None:
        """Break it."""

    async def fix(self, name: str) -> None:
        """Fix it again."""


def is_toml(subject: Subject) -> bool:
    """Whether its runtime is 1.2 or later."""
    return not subject.version.startswith(("1.0", "1.1"))


def settings(subject: Subject) -> str:
    """Where the daemon's file is."""
    return TOML if is_toml(subject) else YAML


def folder(subject: Subject) -> str:
    """Where its package keeps it."""
    return settings(subject).rpartition("/")[0]


def units(subject: Subject) -> tuple[str, ...]:
    """The daemon's unit first, then what else talks to the hub."""
    return ("aziot-edged.service", "aziot-identityd.service") if is_toml(subject) else ("iotedge.service",)
