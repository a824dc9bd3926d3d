"""A device and a namespace's Secrets in memory, for the links that need a session: all that is done to them is told."""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import AsyncIterator

import edgeherd_sim
from edgeherd.cluster.errors import ConflictError
from edgeherd.device.facts import Facts, Module, Unit
from edgeherd.device.port import ABSENT, Action, Change, DeviceError, Initialization, Login, Query, Result
from edgeherd.model import KNOWN_HOSTS_TYPE, EdgeDevice, Secret

FILES = pathlib.Path(edgeherd_sim.__file__).parent / "devices/files"
YAML_PATH, TOML_PATH = "/etc/iotedge/config.yaml", "/etc/aziot/config.toml"
WINDOWS_PATH = "C:\\ProgramData\\iotedge\\config.yaml"
FINGERPRINT = f"SHA256:{'a' * 43}"


def digest(content: bytes) -> str:
    """As a device says it."""
    return hashlib.sha256(content).hexdigest()


@dataclasses.dataclass
class MemoryDevice:
    """A device whose daemon takes whatever it is given. Stands for `device.port.Session`."""

    version: str = "1.1.15"
    path: str = YAML_PATH
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    template: bytes | None = None
    now: int = 1_700_000_000
    started: int | None = 1_700_000_000
    modified: int | None = 1_699_990_000
    taken: bool = True
    state: str = "active/running"
    said: list[str] = dataclasses.field(default_factory=list)
    """What it was asked to do."""
    changes: list[Change] = dataclasses.field(default_factory=list)
    initializations: list[Initialization] = dataclasses.field(default_factory=list)
    answers: list[Result | DeviceError] = dataclasses.field(default_factory=list)
    """What comes of the next changes, in place of success."""
    odd: dict[str, object] = dataclasses.field(default_factory=dict)
    """What it says otherwise than it is."""
    check_text: str = ""
    fingerprint: str = FINGERPRINT
    jump_fingerprint: str = ""

    async def observe(self, query: Query) -> Facts:
        """See `Session`."""
        self.said.append("observe")
        active, _, sub = self.state.partition("/")
        content = self.files.get(self.path)
        facts = Facts(
            version=self.version,
            path=query.path or self.path,
            kind="absent" if content is None else "file",
            mode="" if content is None else "iotedge:iotedge 400",
            content=content,
            template=self.template if content is None else None,
            taken=self.taken,
            hashes=tuple(digest(self.files[path]) if path in self.files else ABSENT for path in query.others),
            modified=None if content is None else self.modified,
            now=self.now,
            started=self.started,
            unit=Unit(name="iotedge.service", load_state="loaded", active_state=active, sub_state=sub),
            modules=(Module(name="edgeAgent", status="running", up_seconds=5),),
        )
        return dataclasses.replace(facts, **self.odd)  # type: ignore[arg-type]

    async def apply(self, change: Change) -> Result:
        """See `Session`."""
        self.said.append(change.action.value)
        self.changes.append(change)
        if self.answers:
            return self._answer()
        wishes = [(change.path, change.before, change.content), *((o.path, o.before, o.content) for o in change.others)]
        if change.content is None:
            wishes.pop(0)
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

    async def check(self) -> str:
        """See `Session`."""
        self.said.append("check")
        return self.check_text

    async def initialize(self, initialization: Initialization) -> Result:
        """See `Session`."""
        self.said.append("initialize")
        self.initializations.append(initialization)
        if self.answers:
            return self._answer()
        if self.path in self.files:
            return Result.CHANGED
        self.files[self.path] = classic(initialization.connection_string)
        return Result.APPLIED

    def _answer(self) -> Result:
        answer = self.answers.pop(0)
        if isinstance(answer, DeviceError):
            raise answer
        return answer

    def _hash(self, path: str) -> str:
        return digest(self.files[path]) if path in self.files else ABSENT


def classic(connection_string: str) -> bytes:
    """A config.yaml with this connection string."""
    placeholder = "<ADD DEVICE CONNECTION STRING HERE>"
    return (FILES / "config.yaml").read_text().replace(placeholder, connection_string).encode()


class Vault:
    """The Secrets of a namespace, and Events. Stands for `cluster.port.Cluster`."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log = [] if log is None else log
        self.secrets: dict[str, Secret] = {}
        self.events: list[tuple[bool, str, str]] = []
        self.conflict = False

    def put(self, name: str, *, type_: str = "Opaque", owner: str = "", **data: str | bytes) -> None:
        """Somebody creates a Secret."""
        self.secrets[name] = Secret(
            namespace="plant-a",
            name=name,
            type=type_,
            data={key.replace("__", "."): v.encode() if isinstance(v, str) else v for key, v in data.items()},
            labels={},
            annotations={},
            owner_uids=(owner,) if owner else (),
            resource_version="1",
        )

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """See `Cluster`."""
        assert namespace == "plant-a"
        return self.secrets.get(name)

    async def put_known_hosts(self, device: EdgeDevice, known_hosts: str, *, create: bool) -> None:
        """See `Cluster`."""
        name = device.known_hosts_name
        self.log.append(f"{'create' if create else 'update'} {name}")
        if self.conflict or create == (name in self.secrets):
            raise ConflictError(409, "it is there, or it is not")
        self.put(name, type_=KNOWN_HOSTS_TYPE, owner=device.uid, known_hosts=known_hosts)

    async def event(self, device: EdgeDevice, *, warning: bool, reason: str, message: str) -> None:
        """See `Cluster`."""
        del device
        self.log.append(f"event {reason}")
        self.events.append((warning, reason, message))


class Network:
    """Hosts that show a key, and sessions with one device behind them."""

    def __init__(self, log: list[str], device: MemoryDevice | None = None) -> None:
        self.log = log
        self.device = device or MemoryDevice()
        self.keys: dict[str, str] = {}
        self.logins: list[Login] = []
        self.error: DeviceError | None = None

    async def host_key(self, login: Login) -> str:
        """Asks for a host's key."""
        self.log.append(f"ask {login.host}")
        if self.error is not None:
            raise self.error
        return self.keys[login.host]

    @contextlib.asynccontextmanager
    async def connect(self, login: Login) -> AsyncIterator[MemoryDevice]:
        """A session."""
        self.log.append(f"connect {login.host}")
        self.logins.append(login)
        if self.error is not None:
            raise self.error
        yield self.device
