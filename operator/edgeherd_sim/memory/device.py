"""A device in memory, and the network in front of it."""

import contextlib
import dataclasses
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from edgeherd.device.facts import Facts, Module, Unit
from edgeherd.device.port import (
    ABSENT,
    Action,
    Change,
    DeviceError,
    Initialization,
    Login,
    Query,
    Result,
    Session,
    UnreachableError,
)
from edgeherd_sim.devices.filesystem import default_config
from edgeherd_sim.memory.steps import Steps

FINGERPRINT = f"SHA256:{'a' * 43}"
_PLACEHOLDER = b"<ADD DEVICE CONNECTION STRING HERE>"


@dataclasses.dataclass
class MemoryDevice:
    """A device whose daemon takes whatever it is given."""

    version: str = "1.1.15"
    agent_image: str = ""
    path: str = "/etc/iotedge/config.yaml"
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    template: bytes | None = None
    now: int = 1_700_000_000
    started: int | None = 1_700_000_000
    modified: int | None = 1_699_990_000
    taken: bool = True
    state: str = "active/running"
    changes: list[Change] = dataclasses.field(default_factory=list)
    initializations: list[Initialization] = dataclasses.field(default_factory=list)
    answers: list[Result | DeviceError] = dataclasses.field(default_factory=list)
    """What comes of the next changes, in place of success."""
    odd: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What it says otherwise than it is."""
    check_text: str = ""
    fingerprint: str = FINGERPRINT
    jump_fingerprint: str = ""
    steps: Steps = dataclasses.field(default_factory=Steps)

    @property
    def said(self) -> list[str]:
        """What it was asked to do."""
        return self.steps.taken

    async def observe(self, query: Query) -> Facts:
        """See `Session`."""
        with self._step("observe"):
            return dataclasses.replace(self._facts(query), **self.odd)

    async def apply(self, change: Change) -> Result:
        """See `Session`."""
        with self._step(change.action.value):
            self.changes.append(change)
            return self._answer() if self.answers else self._apply(change)

    async def check(self) -> str:
        """See `Session`."""
        with self._step("check"):
            return self.check_text

    async def initialize(self, initialization: Initialization) -> Result:
        """See `Session`."""
        with self._step("initialize"):
            self.initializations.append(initialization)
            if self.answers:
                return self._answer()
            if self.path in self.files:
                return Result.CHANGED
            self.files[self.path] = classic_config(initialization.connection_string)
            return Result.APPLIED

    def _facts(self, query: Query) -> Facts:
        active, _, sub = self.state.partition("/")
        content = self.files.get(self.path)
        return Facts(
            version=self.version,
            path=query.path or self.path,
            kind="absent" if content is None else "file",
            mode="" if content is None else "iotedge:iotedge 400",
            content=content,
            template=self.template if content is None else None,
            taken=self.taken,
            hashes=tuple(self._hash(path) for path in query.others),
            modified=None if content is None else self.modified,
            now=self.now,
            started=self.started,
            unit=Unit(name="iotedge.service", load_state="loaded", active_state=active, sub_state=sub),
            modules=(Module(name="edgeAgent", status="running", up_seconds=5, image=self.agent_image),),
        )

    def _apply(self, change: Change) -> Result:
        """All files or none, then the action."""
        wishes = [(other.path, other.before, other.content) for other in change.others]
        if change.content is not None:
            wishes.append((change.path, change.before, change.content))
        if any(before != self._hash(path) for path, before, _ in wishes):
            return Result.CHANGED
        for path, _, content in wishes:
            if content is None:
                self.files.pop(path)
            else:
                self.files[path] = content
        if change.content is not None:
            self.modified = self.now
        if change.action is not Action.NONE:
            self.started, self.taken, self.state = self.now, True, "active/running"
        return Result.APPLIED

    def _answer(self) -> Result:
        answer = self.answers.pop(0)
        if isinstance(answer, DeviceError):
            raise answer
        return answer

    def _hash(self, path: str) -> str:
        return digest(self.files[path]) if path in self.files else ABSENT

    def _step(self, what: str) -> AbstractContextManager[None]:
        return _step(self.steps, what)


class MemoryNetwork:
    """Hosts that show a key, and sessions with one device behind them: the connector's two functions."""

    def __init__(self, device: MemoryDevice | None = None, steps: Steps | None = None) -> None:
        self.device = MemoryDevice() if device is None else device
        self.steps = Steps() if steps is None else steps
        self.keys: dict[str, str] = {}
        """The public keys of hosts, for those who ask."""
        self.logins: list[Login] = []
        self.error: DeviceError | None = None
        """Why no host can be reached."""
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens while a host is connected to: a test may let time pass."""

    async def host_key(self, login: Login) -> str:
        """The public key that a host shows."""
        with _step(self.steps, f"ask {login.host}"):
            if self.error is not None:
                raise self.error
            return self.keys[login.host]

    @contextlib.asynccontextmanager
    async def connect(self, login: Login) -> AsyncIterator[MemoryDevice]:
        """A session."""
        with _step(self.steps, f"connect {login.host}"):
            self.logins.append(login)
            self.meanwhile()
            if self.error is not None:
                raise self.error
        yield self.device


def digest(content: bytes) -> str:
    """A hash as a device says it."""
    return hashlib.sha256(content).hexdigest()


def classic_config(connection_string: str) -> bytes:
    """A fresh config.yaml with this connection string."""
    return default_config().replace(_PLACEHOLDER, connection_string.encode())


def _step(steps: Steps, what: str) -> AbstractContextManager[None]:
    return steps.step(what, DeviceError, UnreachableError("the connection broke"))


_PORT: type[Session] = MemoryDevice
_CONNECT: Callable[[MemoryNetwork, Login], AbstractAsyncContextManager[Session]] = MemoryNetwork.connect
"""mypy sees that all of the port is here."""
