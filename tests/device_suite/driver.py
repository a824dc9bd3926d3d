"""The operator without its cluster: from a manifest to what the product does to a device, pass by pass."""

import asyncio
import contextlib
import dataclasses
import json
import re
import socket
import struct
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from subject import SUPER, Stat, Subject, folder, is_toml, settings

from edgeherd import resource
from edgeherd.device import scripts
from edgeherd.device.facts import Facts
from edgeherd.device.port import Change, DeviceError, Initialization, Limits, Login, Query, Result, Session
from edgeherd.device.ssh import SshConnector
from edgeherd.errors import ReconcileError, Stalled
from edgeherd.model import FINALIZER, EdgeDevice, PlannedChange, Secret, Status
from edgeherd.reconcile import desired, ssh_logins
from edgeherd.reconcile.desired import DesiredState
from edgeherd.reconcile.steps.configuration import ConfigurationResult, ConfigurationStep, RejectedError
from edgeherd.reconcile.steps.health import check_health
from edgeherd_sim.memory import run_here

if TYPE_CHECKING:
    from edgeherd.reconcile.steps.identity import Certificate

HUB = "contoso.azure-devices.net"
ID = "press-01"
KEY = "cHJlc3Mta2V5"
STRING = f"HostName={HUB};DeviceId={ID};SharedAccessKey={KEY}"
RUNNING = "Running"
TEMPORARY = ".edgeherd."


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a pass ended with."""

    reason: str
    message: str = ""
    stalled: bool = False
    events: tuple[str, ...] = ()
    plan: tuple[PlannedChange, ...] = ()


class Operator:
    """Looks after one device. It holds what the status of an EdgeDevice holds, and counts what it did."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.applies = 0
        self.certificate: Certificate | None = None
        self.secrets: dict[str, Secret] = {}
        self.wire: Wire | None = None
        self._spec: dict[str, Any] = {}
        self._generation = 1
        self._status = Status()
        self._link = ConfigurationStep()
        self.connector = SshConnector(run_here)

    def wants(self, **spec: Any) -> None:
        """The user changes the manifest; what is not said again is not in it any more."""
        self._spec = spec
        self._generation += 1

    def secret(self, name: str, data: dict[str, bytes]) -> None:
        """There is such a Secret."""
        self.secrets[name] = Secret(
            namespace="plant-a",
            name=name,
            type="Opaque",
            data=data,
            labels={},
            annotations={},
            owner_uids=(),
            resource_version="1",
        )

    @property
    def device(self) -> EdgeDevice:
        """The EdgeDevice as the cluster has it now."""
        login = self.login
        ssh = {"host": login.host, "port": login.port, "user": login.user, "hostKeys": list(login.host_keys)}
        metadata = {"name": ID, "namespace": "plant-a", "uid": "u1", "generation": self._generation}
        more = {"resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        spec = {"hubRef": {"name": "contoso"}, "ssh": {**ssh, "credentialsSecretRef": {"name": "ssh"}}, **self._spec}
        return dataclasses.replace(
            resource.edge_device({"metadata": metadata | more, "spec": spec}), status=self._status
        )

    @property
    def login(self) -> Login:
        """How the device is reached: straight, or by a wire that can be cut."""
        straight = self.subject.login
        if self.wire is None:
            return straight
        limits = Limits(networks=("127.0.0.0/8",))
        return dataclasses.replace(straight, host="127.0.0.1", port=self.wire.port, limits=limits)

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session; what is applied in it is counted, and can be cut off."""
        async with self.connector.connect(self.login) as session:
            yield _Watched(session, self)

    async def facts(self) -> Facts:
        """One look, and nothing else."""
        async with self.session() as session:
            return await session.observe(Query(others=desired.queried_files(self.device)))

    async def turn(self) -> Turn:
        """One pass."""
        device = self.device
        try:
            state = self._desired_state(device)
            async with self.session() as session:
                applied = await self._link.apply(
                    session, state, applied_before=device.status.device.applied_generation is not None
                )
        except DeviceError as exc:
            return _ended(ssh_logins.from_device_error(exc, device))
        except ReconcileError as exc:
            if isinstance(exc, RejectedError):
                self._remember(rejected_hash=f"sha256:{exc.content_hash}")
            return _ended(exc)
        return self._judged(device, applied)

    def _judged(self, device: EdgeDevice, applied: ConfigurationResult) -> Turn:
        """What the rest of a pass makes of it."""
        events = tuple(reason for reason, _ in applied.events)
        if applied.plan:
            return Turn("DriftDetected", plan=applied.plan)
        content = f"sha256:{applied.config_hash}"
        self._remember(config_hash=content, applied_generation=device.generation, rejected_hash="")
        if applied.restarted:
            return Turn("Restarted", events=events)
        try:
            check_health(applied.facts, enabled=device.enabled)
        except ReconcileError as exc:
            return _ended(exc)
        self._link.healthy(device.key)
        return Turn(RUNNING, events=events)

    async def until(self, *reasons: str, seconds: float = 40) -> Turn:
        """Pass after pass, until one ends so."""
        deadline = time.monotonic() + seconds
        while True:
            turn = await self.turn()
            if turn.reason in reasons:
                return turn
            assert not turn.stalled, turn
            assert time.monotonic() < deadline, f"still {turn}"
            await asyncio.sleep(0.05)

    def leaving(self) -> EdgeDevice:
        """The EdgeDevice after somebody asked for its deletion."""
        return dataclasses.replace(self.device, deleted_at="2026-01-01T00:00:00Z", finalizers=(FINALIZER,))

    async def healthy(self) -> None:
        """Pass after pass, until all is well."""
        await self.until(RUNNING)

    def _remember(self, **what: Any) -> None:
        self._status = dataclasses.replace(self._status, device=dataclasses.replace(self._status.device, **what))

    def _desired_state(self, device: EdgeDevice) -> DesiredState:
        registry = device.runtime.registry_secret_name
        proxy = device.runtime.proxy_secret_name
        return DesiredState(
            device=device,
            host_name=HUB,
            connection_string=STRING,
            certificate=self.certificate,
            registry=desired.registry_auth(device, self.secrets[registry]) if registry else None,
            proxy=desired.proxy_url(device, self.secrets[proxy] if proxy else None),
        )


def _ended(error: ReconcileError) -> Turn:
    return Turn(error.reason, error.message, stalled=isinstance(error, Stalled))


class _Watched:
    """A session that counts, and arms the wire for the next change."""

    def __init__(self, session: Session, operator: Operator) -> None:
        self.fingerprint = session.fingerprint
        self.jump_fingerprint = session.jump_fingerprint
        self._session = session
        self._operator = operator

    async def observe(self, query: Query) -> Facts:
        return await self._session.observe(query)

    async def apply(self, change: Change) -> Result:
        self._operator.applies += 1
        if self._operator.wire is not None:
            command = scripts.apply(change)
            self._operator.wire.arm(len(command.command) + len(command.stdin("0" * 32)))
        return await self._session.apply(change)

    async def check(self) -> str:
        return await self._session.check()

    async def initialize(self, initialization: Initialization) -> Result:
        return await self._session.initialize(initialization)


class Wire:
    """What lies between operator and device, and can be cut: both ends hear a reset, as from a router that forgot."""

    def __init__(self, subject: Subject, *, share: float, seconds: float = 0.0) -> None:
        self.port = 0
        self.was_cut = False
        self._subject = subject
        self._share = share
        self._seconds = seconds
        self._left: int | None = None
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def laid(self) -> AsyncIterator["Wire"]:
        """While the block lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self._cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def arm(self, size: int) -> None:
        """A command of this size follows: cut when the share of it has passed, so many seconds later."""
        self._left = int(size * self._share)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        login = self._subject.login
        far_reader, far_writer = await asyncio.open_connection(login.host, login.port)
        self._ends += [writer, far_writer]
        for work in (self._pass_on(reader, far_writer, counted=True), self._pass_on(far_reader, writer)):
            task = asyncio.ensure_future(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counted: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(1024):
                sink.write(chunk)
                await sink.drain()
                if counted and self._left is not None:
                    self._left -= len(chunk)
                    if self._left <= 0:
                        self._left = None
                        await asyncio.sleep(self._seconds)
                        self.was_cut = True
                        self._cut()
        sink.close()

    def _cut(self) -> None:
        for end in self._ends:
            sock = end.get_extra_info("socket")
            if sock is not None and not end.transport.is_closing():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()
        self._ends.clear()


# ---- what the tests say of a device


async def starts(subject: Subject) -> int:
    """How often a process of the daemon began, whoever started it."""
    return (await subject.journal()).count("Starting Azure IoT Edge")


async def image_in_use(subject: Subject) -> str:
    """Which image the daemon was last started with, while edgeAgent runs; empty while it does not.

    From 1.2 on a container that is there stays there, whatever its image; but the daemon has a file of its own.
    """
    try:
        listed = await subject.run("iotedge", "list")
    except (AssertionError, RuntimeError):
        return ""
    rows = [line.split() for line in listed.splitlines()]
    found = next((row[-1] for row in rows if row[:2] == ["edgeAgent", "running"]), "")
    if not found or not is_toml(subject):
        return found
    given = re.search(r'^image = "([^"]*)"', (await subject.read(SUPER)).decode(), re.MULTILINE)
    return given[1] if given else ""


async def state(subject: Subject, unit: str) -> tuple[str, str]:
    """The unit's ActiveState and the exit status of its process."""
    shown = await subject.run("systemctl", "show", unit, "-p", "ActiveState", "-p", "ExecMainStatus")
    pairs = dict(line.partition("=")[::2] for line in shown.splitlines())
    return pairs["ActiveState"], pairs["ExecMainStatus"]


@dataclasses.dataclass(frozen=True)
class Picture:
    """All of a device that a pass may change. When the folder was changed does not matter: temporary files do that."""

    content: bytes | None
    file: Stat | None
    folder: Stat | None
    names: tuple[str, ...]
    starts: int


async def picture(subject: Subject) -> Picture:
    """Take one."""
    path = settings(subject)
    file, place = await subject.stat(path), await subject.stat(folder(subject))
    return Picture(
        content=await subject.read(path) if file is not None else None,
        file=file,
        folder=dataclasses.replace(place, modified=0) if place is not None else None,
        names=await subject.listing(folder(subject)),
        starts=await starts(subject),
    )


async def temporary(subject: Subject) -> list[str]:
    """The files that a script of ours left behind."""
    folders = [folder(subject), "/etc/systemd/system", "/etc"]
    return [name for place in folders for name in await subject.listing(place) if name.startswith(TEMPORARY)]


def docker_config(server: str, username: str, password: str) -> dict[str, bytes]:
    """A Secret of the type kubernetes.io/dockerconfigjson."""
    auths = {"auths": {server: {"username": username, "password": password}}}
    return {".dockerconfigjson": json.dumps(auths).encode()}
