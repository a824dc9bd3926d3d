"""The Python door: `async with serve(count=3) as fleet:` are three devices that can be logged in at."""

import asyncio
import contextlib
import dataclasses
import ipaddress
import pathlib
import tempfile
from collections.abc import AsyncIterator, Collection

from edgeherd import config
from edgeherd_sim.devices import ssh
from edgeherd_sim.devices.behavior import Pace
from edgeherd_sim.devices.control import Control, Outcome
from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.filesystem import FileSystem, install_programs
from edgeherd_sim.devices.hubdoor import Hub, https_hub

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
async def _heartbeats(devices: Collection[Device], pace: Pace) -> AsyncIterator[None]:
    """One task for all devices: a hub takes those for gone that it has not heard of for long."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(pace.heartbeat)
            for device in devices:
                await device.daemon.heartbeat()

    task = asyncio.ensure_future(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
    password: str | None = None,
    forwarding: bool = False,
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
        runtime_version: what `iotedge version` says and the daemon behaves like: 1.0, 1.1, or 1.2 and later.
        settings: what is in the settings file of a fresh device. When None, /etc/iotedge/config.yaml is the package's
            template, and /etc/aziot/config.toml is not there.
        password: opens the devices too, by the methods `password` and `keyboard-interactive`.
        forwarding: whether clients may go on through a device to other hosts, as `ssh -J` does.
        hub: who decides about the devices' keys; by HTTPS, as the next three say, when None.
        hub_ca: the authority that the hub's certificate is from; the system's when None.
        hub_port: the hub's port, which connection strings cannot name.
        hub_address: where the hub is, whatever its name; by DNS when None.
        pace: how fast things happen on the devices.

    Raises:
        OSError: an address or the folder is not to be had.
        ValueError: the runtime's version is none.
    """
    version = config.Version.parse(runtime_version)
    pace = pace or Pace()
    async with contextlib.AsyncExitStack() as stack:
        if root is None:
            root = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeherd-devices-")))
        root = root.absolute()
        root.mkdir(parents=True, exist_ok=True)
        key_file = root / f"{user}_ed25519"
        door = ssh.Door(client_key=ssh.private_key(key_file), password=password, forwarding=forwarding)
        if hub is None:
            hub = await stack.enter_async_context(https_hub(ca_file=hub_ca, port=hub_port, address=hub_address))
        devices: dict[str, Device] = {}
        control, programs = root / "control", root / "programs"
        install_programs(programs)

        async def handle(name: str, request: str) -> Outcome:
            return await devices[name].ask(request) if name in devices else Outcome(status=1)

        await stack.enter_async_context(Control(control, handle))
        addresses = _addresses(count, bind=bind, bind_base=bind_base, port=port)
        for name, (host, port_) in zip(_names(count, name_prefix), addresses, strict=True):
            files = FileSystem(root / name, aziot=version.dialect is config.Dialect.TOML)
            files.create(
                name=name,
                user=user,
                version=version,
                settings=settings,
                programs=programs,
                control=control,
            )
            device = Device(name=name, user=user, files=files, door=door, version=version, hub=hub, pace=pace)
            devices[name] = device
            stack.push_async_callback(device.stop)
            await device.start(host, port_)
            await asyncio.sleep(0)
        await stack.enter_async_context(_heartbeats(devices.values(), pace))
        yield Fleet(devices=tuple(devices.values()), private_key_file=key_file)
