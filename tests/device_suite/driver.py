"""The operator with cluster and hub in memory, and a device at the end of a real SSH connection: pass by pass."""

import asyncio
import contextlib
import dataclasses
import json
import re
import socket
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

from subject import SUPER, Stat, Subject, folder, is_toml, settings

from edgeherd import resource
from edgeherd.clock import Clock
from edgeherd.controller.index import DeviceIndex
from edgeherd.device import scripts
from edgeherd.device.facts import Facts
from edgeherd.device.port import Change, Initialization, Login, Query, Result, Session
from edgeherd.device.ssh import SshConnector
from edgeherd.model import SECRET_TYPE, EdgeDevice, HubConnection, Key, PlannedChange
from edgeherd.reconcile import desired
from edgeherd.reconcile.claims import Claims
from edgeherd.reconcile.config_editor import ConfigEditor
from edgeherd.reconcile.device import DeviceReconciler
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.requeue import STALLED_SECONDS, Requeue
from edgeherd.reconcile.secret_use import ALLOW_USE
from edgeherd.reconcile.ssh_logins import SshLogins
from edgeherd.reconcile.step import Dependencies
from edgeherd_sim.memory import MemoryCluster, MemoryHub, MemoryHubClient, run_here

HUB = "contoso.azure-devices.net"
NAMESPACE = "plant-a"
ID = "press-01"
KEY = "dGhlIGtleSBvZiBwcmVzcy0wMQ=="
STRING = f"HostName={HUB};DeviceId={ID};SharedAccessKey={KEY}"
READY = "Ready"
TEMPORARY = ".edgeherd."

_SECOND_KEY = "dGhlIG90aGVyIGtleSBvZiBwcmVzcy0wMQ=="


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a pass ended with, as the EdgeDevice's status and its Events say it."""

    reason: str
    """Of the condition Ready."""
    message: str
    stalled: bool
    events: tuple[str, ...]
    """As 'Normal ConfigApplied': those of this pass."""
    plan: tuple[PlannedChange, ...]


class Operator:
    """Looks after one device. What is applied on it is counted, and can be cut off."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.applies = 0
        self.wire: Wire | None = None
        # The devices do not tell this hub that they are connected, so its credential must not see it either.
        self.cluster, self.hub = MemoryCluster(), MemoryHub(twins=False)
        self._spec: dict[str, Any] = {}
        self._connector = SshConnector(run_here)
        clock = Clock()
        hubs = HubClients(self.cluster, namespace="edgeherd-system", factory=lambda *_: MemoryHubClient(self.hub))
        self._reconciler = DeviceReconciler(
            Dependencies(
                cluster=self.cluster,
                hubs=hubs,
                ssh=SshLogins(self.cluster, connect=self._connect, host_key=self._connector.host_key),
                editor=ConfigEditor(run_here),
                claims=Claims(self.cluster, hubs, DeviceIndex(), clock),
                clock=clock,
            )
        )
        self.cluster.put_hub(_hub_connection(subject.login))
        # The keys are on record before there is an identity, so it gets these, and tests can name them.
        keys = {"primaryKey": KEY.encode(), "secondaryKey": _SECOND_KEY.encode()}
        self.cluster.put_secret(NAMESPACE, f"{ID}-connection", keys, type_=SECRET_TYPE)

    def wants(self, **spec: Any) -> None:
        """The user changes the manifest; what is not said again is not in it any more.

        What is said of `ssh` goes over how the device is reached.
        """
        self._spec = spec

    def secret(self, name: str, data: dict[str, bytes]) -> None:
        """There is such a Secret, and it may be used."""
        self.cluster.put_secret(NAMESPACE, name, data, labels={ALLOW_USE: "true"})

    async def facts(self) -> Facts:
        """One look, and nothing else."""
        async with self._connector.connect(self.subject.login) as session:
            return await session.observe(desired.query(self._manifest()))

    async def turn(self) -> Turn:
        """One pass, with the manifest as it is now."""
        self.secret("ssh", {"ssh-privatekey": self.subject.login.private_key})
        self.cluster.put_device(self._manifest())
        due, events = await self._pass()
        status = self.cluster.devices[NAMESPACE, ID].status
        ready = status.condition("Ready")
        assert ready is not None
        # A blip within the grace leaves the status as it was; but what is healthy is not looked at again so soon.
        assert ready.status != "True" or (due is not None and due.after > STALLED_SECONDS), due
        return Turn(
            reason=ready.reason,
            message=ready.message,
            stalled=status.condition("Stalled") is not None,
            events=events,
            plan=status.plan,
        )

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

    async def healthy(self) -> None:
        """Pass after pass, until all is well."""
        await self.until(READY)

    async def let_go(self) -> tuple[Requeue | None, tuple[str, ...]]:
        """The user deletes the EdgeDevice; one pass. When the next one is due, and the Events of this one."""
        self.cluster.delete_device(NAMESPACE, ID)
        return await self._pass()

    async def _pass(self) -> tuple[Requeue | None, tuple[str, ...]]:
        before = len(self.cluster.events)
        due = await self._reconciler.reconcile(Key("EdgeDevice", NAMESPACE, ID))
        new = self.cluster.events[before:]
        return due, tuple(f"{'Warning' if event.warning else 'Normal'} {event.reason}" for event in new)

    def _manifest(self) -> EdgeDevice:
        login = self.subject.login
        ssh = {
            "host": login.host if self.wire is None else "127.0.0.1",
            "port": login.port if self.wire is None else self.wire.port,
            "user": login.user,
            "hostKeys": list(login.host_keys),
            "credentialsSecretRef": {"name": "ssh"},
            **self._spec.get("ssh", {}),
        }
        metadata = {"name": ID, "namespace": NAMESPACE, "uid": "u1", "generation": 1}
        more = {"resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        spec = {"hubRef": {"name": "contoso"}, **self._spec, "ssh": ssh}
        return resource.edge_device({"metadata": metadata | more, "spec": spec})

    @contextlib.asynccontextmanager
    async def _connect(self, login: Login) -> AsyncIterator[Session]:
        async with self._connector.connect(login) as session:
            yield _Watched(session, self)


def _hub_connection(login: Login) -> HubConnection:
    """The device and a wire in front of it may be reached."""
    spec = {
        "hostName": HUB,
        "auth": {"workloadIdentity": {}},
        "allowedNamespaces": {"from": "All"},
        "allowedCIDRs": ["127.0.0.0/8", f"{login.host}/32"],
        "allowedConfigPaths": ["/etc/iotedge/", "/etc/aziot/", "/srv/"],
    }
    return resource.hub_connection(
        {"metadata": {"name": "contoso", "uid": "h1", "generation": 1, "resourceVersion": "1"}, "spec": spec}
    )


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
