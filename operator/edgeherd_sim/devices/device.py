"""One simulated device: its files, its daemon, its SSH server, and what can be wrong with them."""

import os
import pathlib
from collections.abc import Mapping

from edgeherd import config
from edgeherd_sim.devices import ssh
from edgeherd_sim.devices.apply import Applier
from edgeherd_sim.devices.aziot import Aziot
from edgeherd_sim.devices.behavior import Behavior, Pace
from edgeherd_sim.devices.check import Checker
from edgeherd_sim.devices.control import Outcome
from edgeherd_sim.devices.daemon import Daemon
from edgeherd_sim.devices.faults import Faults, Line
from edgeherd_sim.devices.filesystem import FileSystem
from edgeherd_sim.devices.hubdoor import Hub
from edgeherd_sim.devices.journal import Journal
from edgeherd_sim.devices.modules import Module
from edgeherd_sim.devices.runtimes import Classic, Runtime
from edgeherd_sim.devices.ssh import Door, Login, SshServer
from edgeherd_sim.devices.systemd import Environments, Systemd


class Device:
    """A machine with IoT Edge on it."""

    def __init__(
        self,
        *,
        name: str,
        user: str,
        files: FileSystem,
        door: Door,
        version: config.Version,
        hub: Hub,
        pace: Pace,
    ) -> None:
        self.name = name
        self.user = user
        self.root = files.root
        behavior, line = Behavior(), Line()
        self._files = files
        self._journal = Journal(files.journal, name, behavior)
        self._runtime: Runtime = Aziot(files, version) if files.aziot else Classic(files, version)
        self._environments = Environments(files, self._runtime.units)
        self.daemon = Daemon(
            files=files,
            version=version,
            runtime=self._runtime,
            hub=hub,
            journal=self._journal,
            pace=pace,
            behavior=behavior,
            environment=self._environments.of,
        )
        self.faults = Faults(files=files, behavior=behavior, line=line, daemon=self.daemon, listen=self._listen)
        self._systemd = Systemd(
            files=files,
            runtime=self._runtime,
            daemon=self.daemon,
            environments=self._environments,
            applier=Applier(files, version, self.daemon.modules, behavior),
            checker=Checker(
                files=files,
                version=version,
                runtime=self._runtime,
                daemon=self.daemon,
                environment=self._environments.known,
                behavior=behavior,
                pace=pace,
            ),
            behavior=behavior,
        )
        host_key = ssh.private_key(files.host_key)
        self.host_key = ssh.public_line(host_key)
        """The public host key, as in a `.pub` file."""
        self.environment = _environment(files.root, user)
        """What a session on the device starts with."""
        login = Login(user=user, door=door, home=files.home(user), environment=self.environment)
        self._server = SshServer(login=login, host_key=host_key, line=line)

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
    def daemon_environment(self) -> Mapping[str, str]:
        """What the daemon was last started with, by drop-ins."""
        return self.environment_of(self._runtime.unit)

    def environment_of(self, unit: str) -> Mapping[str, str]:
        """The same of another unit, such as `aziot-identityd.service` or `docker.service`."""
        return self._environments.of(unit)

    @property
    def journal(self) -> tuple[str, ...]:
        """The lines of `journalctl` of all the daemon's units."""
        return self._journal.lines

    @property
    def modules(self) -> tuple[Module, ...]:
        """The containers, as `iotedge list` knows them."""
        return self.daemon.modules.all()

    @property
    def config_file(self) -> pathlib.Path:
        """The daemon's settings; those of 1.2 and later need not be there."""
        return self._files.config_file

    @property
    def template_file(self) -> pathlib.Path:
        """What the package of 1.2 and later lays beside it."""
        return self._files.template

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

    async def ask(self, request: str) -> Outcome:
        """What a program on the device asks for."""
        return await self._systemd.handle(request)

    async def start(self, host: str, port: int) -> None:
        """Boot and listen.

        Raises:
            OSError: the address is not to be had.
        """
        self._server.listen(host, port)
        await self._systemd.boot()

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
