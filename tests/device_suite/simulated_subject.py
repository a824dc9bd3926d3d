"""The simulated device as a subject of the suite."""

import asyncio
import contextlib
import os
import pathlib
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from subject import Stat

import processes
from edgeherd import config
from edgeherd.device.port import Limits, Login
from edgeherd_sim.devices import messages
from edgeherd_sim.devices.behavior import Pace
from edgeherd_sim.devices.hubdoor import Answer
from edgeherd_sim.devices.server import USER, serve
from waiting import until

if TYPE_CHECKING:
    from edgeherd_sim.devices.device import Device

VERSIONS = ("1.0.10", "1.1.15", "1.5.44", "1.6.0")
LOOPBACK = ("127.0.0.0/8",)

_PACE = Pace(load=0, watchdog=0.05, pull=0, retry=0.02, check=0.01)
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
_ANYWHERE = {
    "cut",
    "upgrade",
    "dislikes",
    "unauthorized",
    "no_network",
    "image_pull_fails",
    "engine_down",
    "crashes",
    "full",
    "read_only",
    "no_sudo",
    "clock",
    "unreadable",
    "symlinked_folder",
    "open_folder",
}
_AS_ROOT = {"foreign_folder", "wrong_mode"}
"""What needs another user."""


class _Hub:
    """Lets everybody in, until it does not."""

    def __init__(self) -> None:
        self.answer = Answer(accepted=True)

    async def ask(self, connection: config.ConnectionString) -> Answer:
        del connection
        return self.answer

    async def present(self, identity: config.X509, thumbprint: str) -> Answer:
        del identity, thumbprint
        return self.answer


class SimulatedSubject:
    """See `subject.Subject`. Everybody on it is the user who runs the tests."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.version = ""
        self.supports = frozenset(_ANYWHERE | (_AS_ROOT if os.geteuid() == 0 else set()))
        self._folder = folder
        self._hub = _Hub()
        self._running = contextlib.AsyncExitStack()
        self._device: Device
        self._key = b""

    async def install(self, version: str) -> None:
        """See `Subject`. The device is switched off meanwhile."""
        await self._running.aclose()
        self._running = contextlib.AsyncExitStack()
        fleet = await self._running.enter_async_context(
            serve(root=self._folder, hub=self._hub, pace=_PACE, bind="127.0.0.1", runtime_version=version)
        )
        self._device, self._key, self.version = fleet.devices[0], fleet.private_key, version
        await until(self._has_failed)

    async def _has_failed(self) -> bool:
        return self._device.daemon.unit.active == "failed"

    async def close(self) -> None:
        """Switch it off."""
        await self._running.aclose()

    @property
    def login(self) -> Login:
        """See `Subject`."""
        return Login(
            host=self._device.host,
            port=self._device.port,
            user=USER,
            private_key=self._key,
            host_keys=(self._device.host_key,),
            limits=Limits(networks=LOOPBACK),
        )

    async def run(self, *command: str) -> str:
        """See `Subject`."""
        done = await processes.finished(*command, env={**self._device.environment, "EDGEHERD_SIM_UID": "0"})
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    async def read(self, path: str) -> bytes:
        """See `Subject`."""
        return self._at(path).read_bytes()

    async def write(self, path: str, content: bytes) -> None:
        """See `Subject`."""
        target = self._at(path)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
        if target.exists():
            target.chmod(0o600)
        target.write_bytes(content)
        target.chmod(mode)

    async def remove(self, path: str) -> None:
        """See `Subject`."""
        self._at(path).unlink()

    async def stat(self, path: str) -> Stat | None:
        """See `Subject`."""
        try:
            found = self._at(path).lstat()
        except FileNotFoundError:
            return None
        return Stat(
            kind=_KINDS.get(stat.S_IFMT(found.st_mode), "other"),
            owner=f"{found.st_uid}:{found.st_gid}",
            mode=f"{stat.S_IMODE(found.st_mode):o}",
            inode=found.st_ino,
            modified=found.st_mtime_ns,
        )

    async def listing(self, folder: str) -> tuple[str, ...]:
        """See `Subject`."""
        return tuple(sorted(path.name for path in self._at(folder).iterdir()))

    async def journal(self) -> str:
        """See `Subject`."""
        return "\n".join(self._device.journal)

    async def environment(self, unit: str) -> dict[str, str]:
        """See `Subject`."""
        return dict(self._device.environment_of(unit))

    async def at_work(self) -> bool:
        """See `Subject`."""
        return await asyncio.to_thread(_script_runs, f"EDGEHERD_DEVICE_ROOT={self._device.root}".encode())

    async def fault(self, name: str) -> None:
        """See `Subject`."""
        self._turn(name, on=True)

    async def fix(self, name: str) -> None:
        """See `Subject`."""
        self._turn(name, on=False)

    def _turn(self, name: str, *, on: bool) -> None:
        faults, home = self._device.faults, self._device.config_file.parent
        turns: dict[str, Callable[[], None]] = {
            "dislikes": lambda: faults.dislikes(b"disliked" if on else b""),
            "crashes": lambda: faults.daemon_refuses(1 if on else 0),
            "full": lambda: faults.disk_full(on),
            "no_sudo": lambda: faults.sudo_refuses(on),
            "clock": lambda: faults.clock_skew(-7200 if on else 0),
            "unreadable": lambda: faults.unreadable_file(on),
            "wrong_mode": lambda: faults.wrong_mode(0 if on else None),
            "open_folder": lambda: home.chmod(0o777 if on else 0o755),
            "foreign_folder": lambda: os.chown(home, 65534 if on else 0, -1),
        }
        if name == "unauthorized":
            self._hub.answer = Answer(accepted=not on, reason=messages.UNAUTHORIZED)
        elif name in turns:
            turns[name]()
        else:
            getattr(faults, name)(on)

    def _at(self, path: str) -> pathlib.Path:
        return self._device.root / path.lstrip("/")


def _script_runs(mark: bytes) -> bool:
    """Whether one of the operator's scripts is a process that has the mark in its environment."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_script = b"IFS= read -r nonce" in (process / "cmdline").read_bytes()
            if is_script and mark in (process / "environ").read_bytes().split(b"\0"):
                return True
    return False
