"""A step of a reconcile, and the context in which steps hand on what they found.

A step has one condition. It looks at its part of the world, acts at most once, and says how it went: it returns `Done`,
or raises `Waiting` or `Stalled`. It never writes a condition; the loop in `device.py` does.
"""

import abc
import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, overload

from edgeherd import config
from edgeherd.clock import Clock
from edgeherd.cluster.port import Cluster
from edgeherd.device.facts import Facts
from edgeherd.device.port import Session
from edgeherd.hub.port import Identity
from edgeherd.model import Condition, Credentials, EdgeDevice, Key, Origin, PlannedChange, Secret
from edgeherd.reconcile.claims import Claims
from edgeherd.reconcile.config_editor import ConfigEditor
from edgeherd.reconcile.credentials import Certificate
from edgeherd.reconcile.hub_clients import HubAccess, HubClients
from edgeherd.reconcile.secret_versions import SecretVersions
from edgeherd.reconcile.ssh_logins import SshLogins

_T = TypeVar("_T")


class Done(NamedTuple):
    """A step found, or made, everything right: what its condition says."""

    reason: str
    message: str


class Undone(NamedTuple):
    """A step is through with what it did outside of the cluster: what its condition says, as False, and an Event."""

    reason: str
    message: str
    leftover: bool = False
    """Whether something stays there that should not."""


class Event(NamedTuple):
    """An Event on the object, to be recorded when the pass ends. `log_only`: in the log, and nowhere else."""

    reason: str
    message: str
    warning: bool = False
    log_only: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The identity that is ours. `certificate` is one that has to be on the device."""

    identity: Identity
    origin: Origin
    credentials: Credentials
    certificate: Certificate | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationResult:
    """What was found on the device, and what was done there."""

    facts: Facts
    version: config.Version
    config_hash: str
    """As the status has it, 'sha256:...'; empty where there is no file yet."""
    plan: tuple[PlannedChange, ...] = ()
    restarted: bool = False
    events: tuple[Event, ...] = ()


class TooEarlyError(Exception):
    """A step asked for what no step before it has handed on: the list of steps is in the wrong order."""


class _HandedOn(Generic[_T]):
    """A value of the context that a step sets and the steps after it read; reading it too early raises."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, context: None, owner: type) -> "_HandedOn[_T]": ...
    @overload
    def __get__(self, context: "Context", owner: type) -> _T: ...
    def __get__(self, context: "Context | None", owner: type) -> "_HandedOn[_T] | _T":
        if context is None:
            return self
        if self._name not in context.__dict__:
            raise TooEarlyError(f"'{self._name}' is read before the step that hands it on")
        value: _T = context.__dict__[self._name]
        return value

    def __set__(self, context: "Context", value: _T) -> None:
        context.__dict__[self._name] = value


class Context:
    """One pass over one EdgeDevice: the object, the status that is becoming, and what steps hand on."""

    hub = _HandedOn[HubAccess]()
    """The hub, and the HubConnection that lets the device use it."""
    found_secret = _HandedOn[Secret | None]()
    """The connection Secret as the pass found it."""
    secret = _HandedOn[Secret | None]()
    """The connection Secret as it is now; None where there is none yet."""
    claim = _HandedOn[Claim]()
    """The identity, as it is in the hub."""
    connection_string = _HandedOn[str]()
    """What the device shall connect with."""
    session = _HandedOn[Session]()
    """The SSH session; it ends with the pass."""
    result = _HandedOn[ConfigurationResult]()
    """What the device looks like."""

    def __init__(self, device: EdgeDevice) -> None:
        self.device = device
        """The object; where a step writes to it, as it is then."""
        self.status = dataclasses.replace(device.status, plan=())
        self.events: list[Event] = []
        self.conditions: dict[str, Condition] = {}
        """What came of the steps, by type. Only the loop writes here."""
        self.hints: tuple[Condition, ...] = ()
        """Conditions that only inform."""
        self.at = ""
        """The condition of the step at work."""
        self.device_seconds = 0.0
        """How long the pass waited for the device so far."""
        self.resources = contextlib.AsyncExitStack()

    def update(self, **fields: Any) -> None:
        """Set fields of the status (`model.Status`)."""
        self.status = dataclasses.replace(self.status, **fields)

    def update_device(self, **fields: Any) -> None:
        """Set fields of `status.device` (`model.DeviceStatus`)."""
        self.update(device=dataclasses.replace(self.status.device, **fields))

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Something worth an Event happened."""
        self.events.append(Event(reason, message, warning))

    def take_events(self) -> list[Event]:
        """What happened and was not recorded yet."""
        taken, self.events = self.events, []
        return taken


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What steps work with."""

    cluster: Cluster
    hubs: HubClients
    ssh: SshLogins
    editor: ConfigEditor
    claims: Claims
    clock: Clock
    heard: Callable[[Key, str], None] = lambda *_: None
    """Is told the object and the reason of each transition."""
    secret_versions: SecretVersions = dataclasses.field(default_factory=SecretVersions)


class Step(abc.ABC):
    """One step. What it remembers from pass to pass may be lost at any time."""

    condition: ClassVar[str]
    """The type of its condition."""
    undone: ClassVar[frozenset[str]] = frozenset()
    """The reasons that `delete` ends with: once the condition has one of them there is nothing left to undo."""

    def __init__(self, dependencies: Dependencies) -> None:
        self.dependencies = dependencies

    @abc.abstractmethod
    async def reconcile(self, context: Context) -> Done:
        """Look, and act at most once.

        Raises:
            Waiting: not yet.
            Stalled: only a human can fix it.
            HubError, DeviceError: a call that failed; `reconcile.errors` says what it means.
            ApiError: the API server refused.
        """

    async def delete(self, context: Context) -> Undone | None:
        """Undo what `reconcile` did outside of the cluster. Raises the same."""
        del context
        return None

    def forget(self, key: Key) -> None:
        """The object is gone."""
        del key
