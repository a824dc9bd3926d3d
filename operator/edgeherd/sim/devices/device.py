"""One simulated device: its files, its daemon, its SSH server, and what can be wrong with them."""

import os
import pathlib

from edgeherd import config
from edgeherd.sim.devices import ssh
from edgeherd.sim.devices.daemon import Daemon, Moods, Pace
from edgeherd.sim.devices.faults import Faults
from edgeherd.sim.devices.filesystem import FileSystem
from edgeherd.sim.devices.hubdoor import Hub
from edgeherd.sim.devices.journal import Journal
from edgeherd.sim.devices.modules import Module
from edgeherd.sim.devices.ssh import Login, SshServer


class Device:
    """A machine with IoT Edge on it."""

    def __init__(
        self,
        *,
        name: str,
        user: str,
        files: FileSystem,
        client_key: ssh.Key,
        version: config.Version,
        hub: Hub,
        pace: Pace,
    ) -> None:
        self.name = name
        self.user = user
        self.root = files.root
        moods = Moods()
        self.faults = Faults(files, moods, self._listen)
        host_key = ssh.private_key(files.host_key)
        self.host_key = ssh.public_line(host_key)
        """The public host key, as in a `.pub` file."""
        self._files = files
        self._journal = Journal(files.journal, name)
        self.daemon = Daemon(files=files, version=version, hub=hub, journal=self._journal, pace=pace, moods=moods)
        self.environment = _environment(files.root, user)
        """What a session on the device starts with."""
        login = Login(user=user, client_key=client_key, home=files.home(user), environment=self.environment)
        self._server = SshServer(login=login, host_key=host_key, line=self.faults.line)

    @property
    def host(self) -> str:
        """The address where its SSH server listens."""
        return self._server.host

    @property
    def port(self) -> int:
        """The port of it."""
        return self._server.port

    @property
    def restarts(self) -> int:
        """How often somebody on the device started or restarted the daemon; the boot does not count."""
        return self.daemon.starts

    @property
    def journal(self) -> tuple[str, ...]:
        """The lines of `journalctl -u iotedge`."""
        return self._journal.lines

    @property
    def modules(self) -> tuple[Module, ...]:
        """The containers, as `iotedge list` knows them."""
        return self.daemon.modules.all()

    @property
    def config_file(self) -> pathlib.Path:
        """The daemon's settings."""
        return self._files.config_file

    def facts(self) -> dict[str, str | int]:
        """What an operator has to know."""
        return {
            "name": self.name,
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "hostKey": self.host_key,
            "root": str(self.root),
        }

    async def start(self, host: str, port: int) -> None:
        """Boot and listen.

        Raises:
            OSError: the address is not to be had.
        """
        self._server.listen(host, port)
        await self.daemon.boot()

    async def stop(self) -> None:
        """Switch it off."""
        await self._server.close()
        await self.daemon.shut_down()

    def _listen(self, on: bool) -> None:
        self._server.open(on)


def _environment(root: pathlib.Path, user: str) -> dict[str, str]:
    """What a session starts with: like sshd's, but for the folder that is the device."""
    return {
        "EDGEHERD_DEVICE_ROOT": str(root),
        "HOME": str(root / "home" / user),
        "LOGNAME": user,
        "PATH": f"{root}/usr/bin:{os.environ.get('PATH', os.defpath)}",
        "SHELL": "/bin/sh",
        "USER": user,
    }
