"""The containers of a device, kept where its `iotedge list` reads them."""

import dataclasses
import time
from collections.abc import Mapping

from edgeherd_sim.devices.filesystem import FileSystem, write


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One container."""

    name: str
    status: str
    since: int
    image: str
    hostname: str = ""
    """`EdgeDeviceHostName` of edgeAgent: what the daemon's settings said when the container was made."""


class Modules:
    """All containers of a device, whether they run or not."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    def all(self) -> tuple[Module, ...]:
        """What there is."""
        try:
            lines = self._files.modules.read_text().splitlines()
        except FileNotFoundError:
            return ()
        rows = [line.split(" ", 4) for line in lines]
        return tuple(
            Module(name=row[0], status=row[1], since=int(row[2]), image=row[3], hostname=row[4]) for row in rows
        )

    def run(self, name: str, image: str, hostname: str = "") -> None:
        """Create the container, or start it again."""
        others = [module for module in self.all() if module.name != name]
        self._save(
            [*others, Module(name=name, status="running", since=int(time.time()), image=image, hostname=hostname)]
        )

    def settle(self, images: Mapping[str, str], *, besides: str) -> None:
        """Run these and no others; one that runs with its image already is left alone, and so is the one `besides`."""
        kept = [m for m in self.all() if m.name == besides or (images.get(m.name) == m.image and m.status == "running")]
        names, now = {module.name for module in kept}, int(time.time())
        new = [
            Module(name=name, status="running", since=now, image=image)
            for name, image in images.items()
            if name not in names
        ]
        if new or len(kept) < len(self.all()):
            self._save([*kept, *new])

    def end(self, name: str, status: str) -> None:
        """The container ended by itself."""
        now = int(time.time())
        self._save(
            [
                dataclasses.replace(module, status=status, since=now) if module.name == name else module
                for module in self.all()
            ]
        )

    def stop(self) -> None:
        """Stop all of them."""
        now = int(time.time())
        self._save(
            [
                dataclasses.replace(module, status="stopped", since=now) if module.status == "running" else module
                for module in self.all()
            ]
        )

    def remove(self) -> None:
        """Delete all of them."""
        self._save([])

    def _save(self, modules: list[Module]) -> None:
        lines = [
            f"{module.name} {module.status} {module.since} {module.image} {module.hostname}\n" for module in modules
        ]
        write(self._files.modules, "".join(lines).encode(), 0o644)
