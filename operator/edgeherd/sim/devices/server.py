"""The Python door: `async with serve(count=3) as fleet:` are three devices that can be logged in at."""

import asyncio
import contextlib
import dataclasses
import ipaddress
import pathlib
import tempfile
from collections.abc import AsyncIterator

from edgeherd import config
from edgeherd.sim.devices import ssh
from edgeherd.sim.devices.control import Control
from edgeherd.sim.devices.daemon import Pace
from edgeherd.sim.devices.device import Device
from edgeherd.sim.devices.filesystem import FileSystem, default_config, install_programs
from edgeherd.sim.devices.hubdoor import Hub, https_hub

RUNTIME = "1.0.10"
USER = "edgeops"
PREFIX = "press-"
BIND_BASE = "127.0.0.11"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Devices that run."""

    devices: tuple[Device, ...]
    private_key_file: pathlib.Path
    """The client key that every device accepts."""

    @property
    def private_key(self) -> bytes:
        """Its content."""
        return self.private_key_file.read_bytes()

    def facts(self) -> dict[str, object]:
        """What a program that started the fleet has to know."""
        return {
            "devices": [device.facts() for device in self.devices],
            "privateKeyFile": str(self.private_key_file),
        }


def _names(count: int, prefix: str) -> list[str]:
    width = max(2, len(str(count)))
    return [f"{prefix}{number:0{width}}" for number in range(1, count + 1)]


def _addresses(count: int, *, bind: str | None, bind_base: str, port: int) -> list[tuple[str, int]]:
    """One address for each device and the same port, or one address for all and port after port."""
    if bind is not None:
        return [(bind, port + number if port else 0) for number in range(count)]
    first = ipaddress.ip_address(bind_base)
    return [(str(first + number), port) for number in range(count)]


@contextlib.asynccontextmanager
async def serve(
    *,
    count: int = 1,
    name_prefix: str = PREFIX,
    bind: str | None = None,
    bind_base: str = BIND_BASE,
    port: int = 0,
    root: pathlib.Path | None = None,
    user: str = USER,
    runtime_version: str = RUNTIME,
    settings: bytes | None = None,
    hub: Hub | None = None,
    hub_ca: pathlib.Path | None = None,
    hub_port: int = 443,
    hub_address: str | None = None,
    pace: Pace | None = None,
) -> AsyncIterator[Fleet]:
    """Run devices until the block ends.

    Args:
        count: how many.
        name_prefix: their names are this and a number from 01.
        bind: one address for all of them, each on a port of its own.
        bind_base: without `bind`, the address of the first device; each has its own.
        port: the port; 0 takes any that is free. With `bind` the devices take this one and those after it.
        root: where the devices' files are kept; a folder that goes with the block when None.
        user: who may log in.
        runtime_version: what `iotedge version` says and the daemon behaves like; 1.0 or 1.1.
        settings: what is in /etc/iotedge/config.yaml of a fresh device; the package's template when None.
        hub: who decides about the devices' keys; by HTTPS, as the next three say, when None.
        hub_ca: the authority that the hub's certificate is from; the system's when None.
        hub_port: the hub's port, which connection strings cannot name.
        hub_address: where the hub is, whatever its name; by DNS when None.
        pace: how fast things happen on the devices.

    Raises:
        OSError: an address or the folder is not to be had.
        ValueError: there is no such runtime here.
    """
    version = config.Version.parse(runtime_version)
    if version.dialect is not config.Dialect.YAML:
        message = f"runtime {runtime_version} is not simulated; 1.0 and 1.1 are"
        raise ValueError(message)
    async with contextlib.AsyncExitStack() as stack:
        if root is None:
            root = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeherd-devices-")))
        root = root.absolute()
        root.mkdir(parents=True, exist_ok=True)
        key_file = root / f"{user}_ed25519"
        client_key = ssh.private_key(key_file)
        if hub is None:
            hub = await stack.enter_async_context(https_hub(ca_file=hub_ca, port=hub_port, address=hub_address))
        devices: dict[str, Device] = {}
        control, programs = root / "control", root / "programs"
        install_programs(programs)

        async def handle(name: str, verb: str) -> bool:
            return name in devices and await devices[name].daemon.systemctl(verb)

        await stack.enter_async_context(Control(control, handle))
        addresses = _addresses(count, bind=bind, bind_base=bind_base, port=port)
        for name, (host, port_) in zip(_names(count, name_prefix), addresses, strict=True):
            files = FileSystem(root / name)
            files.create(
                name=name,
                user=user,
                version=version,
                settings=settings or default_config(),
                programs=programs,
                control=control,
            )
            device = Device(
                name=name, user=user, files=files, client_key=client_key, version=version, hub=hub, pace=pace or Pace()
            )
            devices[name] = device
            stack.push_async_callback(device.stop)
            await device.start(host, port_)
            await asyncio.sleep(0)
        yield Fleet(devices=tuple(devices.values()), private_key_file=key_file)
