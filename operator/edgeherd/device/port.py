"""What the operator asks of a device, and how it can fail. No policy here."""

import dataclasses
import enum
import hashlib
from typing import Protocol

from edgeherd.device.facts import Facts


class Platform(enum.StrEnum):
    """What runs on a device: it decides which scripts are sent."""

    LINUX = "Linux"
    WINDOWS = "Windows"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where the administrator lets the operator connect to.

    No `networks` means any but loopback, link-local, multicast and cloud-internal addresses and `cluster_networks`; those
    must be in a network that is named. No `ports` means any.
    """

    networks: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    cluster_networks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How to log in at a device or a jump host. Secrets never show in a repr.

    `host_keys` are public keys as in a '.pub' file, which may start with '@cert-authority', or SHA256 fingerprints.
    `known_hosts` is the text of a known_hosts file. With `jump` the connection goes through that host, which looks up
    the name.
    """

    host: str
    port: int
    user: str
    private_key: bytes = dataclasses.field(repr=False, default=b"")
    passphrase: str | None = dataclasses.field(repr=False, default=None)
    certificate: bytes | None = None
    password: str | None = dataclasses.field(repr=False, default=None)
    host_keys: tuple[str, ...] = ()
    known_hosts: str = dataclasses.field(repr=False, default="")
    jump: "Login | None" = None
    limits: Limits = Limits()
    platform: Platform = Platform.LINUX


class DeviceError(Exception):
    """A session with the device did not do its work. The text holds nothing that the device said, but for names."""


class UnreachableError(DeviceError):
    """No connection, or it broke."""


class TurnedAwayError(UnreachableError):
    """The server closed the connection before it said anything.

    OpenSSH 9.8 and later do so for some time after logins that were refused (`PerSourcePenalties` in sshd_config(5)), and
    each OpenSSH does with too many connections that have not logged in (`MaxStartups`).
    """


class HostKeyMismatchError(DeviceError):
    """The device showed a host key that is not pinned. Nothing was sent to it."""

    def __init__(self, presented: str, expected: tuple[str, ...]) -> None:
        super().__init__(f"presented {presented}, expected {' or '.join(expected) or 'none'}")
        self.presented = presented
        self.expected = expected


class AddressNotAllowedError(DeviceError):
    """The host's address or port is outside of the limits. Nothing was sent to it."""


class LoginRefusedError(DeviceError):
    """The device does not accept the user's key or password."""


class CredentialError(DeviceError):
    """The private key, the certificate or a pinned host key cannot be read."""


class SudoRefusedError(DeviceError):
    """The user may not become root without a password. `program` is 'sudo', 'sudo-rs' or 'doas'."""

    def __init__(self, program: str = "sudo", *, installed: bool = True) -> None:
        super().__init__(
            f"{program} asks for a password or refuses" if installed else "neither sudo nor doas is installed"
        )
        self.program = program
        self.installed = installed


class OddAnswerError(DeviceError):
    """The device answered something else than the script says."""


class JumpHostError(DeviceError):
    """The way to the jump host failed, for the reason in `error`."""

    def __init__(self, error: DeviceError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look at.

    `path` is the daemon's file; where the runtime has it when empty. `others` are files whose hashes are wanted.
    """

    path: str = ""
    others: tuple[str, ...] = ()

    def found(self, facts: Facts) -> dict[str, str]:
        """The hashes of the other files, by their paths."""
        return dict(zip(self.others, facts.hashes, strict=True))


ABSENT = "absent"
"""In place of a hash: there is no such file."""


class Owner(enum.StrEnum):
    """Whose a file beside the daemon's is. Where there is no such user it is root's."""

    ROOT = "root"
    DAEMON = "like"
    """The owner of the daemon's file."""
    KEY_SERVICE = "aziotks"
    CERTIFICATE_SERVICE = "aziotcs"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OtherFile:
    """A file beside the daemon's: what it was, what it shall be. `content` None removes it."""

    path: str
    before: str
    content: bytes | None = dataclasses.field(repr=False)
    owner: Owner
    mode: str

    @property
    def after(self) -> str:
        """The SHA-256 that it shall have."""
        return ABSENT if self.content is None else hashlib.sha256(self.content).hexdigest()


class Action(enum.StrEnum):
    """What makes the daemon read its file."""

    RESTART = "restart"
    CONFIG_APPLY = "config-apply"
    """`iotedge config apply`, which writes the services' files and restarts them: 1.2 and later."""
    RETIRE = "retire"
    """Restart it, whatever it makes of its file: a device that is let go."""
    NONE = "none"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One transaction on a device: all files or none, then the action; undone if the daemon refuses its settings.

    `before` is the SHA-256 of the daemon's file, or ABSENT; `content` None leaves the file as it is.
    """

    path: str
    before: str
    content: bytes | None = dataclasses.field(repr=False)
    others: tuple[OtherFile, ...] = ()
    unit: str
    action: Action
    started: str = ""
    """`Facts.unit.started` of the unit: another start since then makes it CHANGED. Empty where that does not matter, because
    a file that changes tells as much."""


class Result(enum.StrEnum):
    """How a change went. Only after APPLIED is anything on the device different."""

    APPLIED = "applied"
    CHANGED = "changed"
    """Somebody else changed a file meanwhile, or started the daemon, or is at it."""
    REFUSED = "refused"
    """The daemon does not take the new settings; everything is as before."""
    HOSTNAME = "hostname"
    """Refused by `iotedge config apply`: the host name may not change while there are containers."""
    FULL = "full"
    READ_ONLY = "readonly"
    NO_FOLDER = "nofolder"
    """The folder that the file would be in is not there."""
    UNWRITABLE = "unwritable"
    INCOMPLETE = "incomplete"
    """The content did not arrive whole."""
    OWNER = "owner"
    """Owner, mode or SELinux context of a file cannot be kept."""
    PARENT = "parent"
    """A folder on the way is a symbolic link, somebody else's, or open for everybody."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Initialization:
    """What a fresh Windows device is initialised with, by `Initialize-IoTEdge`.

    `script` is the path of IotEdgeSecurityDaemon.ps1 on the device; its module is loaded by name when empty.
    """

    connection_string: str = dataclasses.field(repr=False)
    container_os: str
    script: str = ""


class Session(Protocol):
    """One connection to one device. Every method may raise any `DeviceError`."""

    fingerprint: str
    """The host key that was accepted, as 'SHA256:...'."""
    jump_fingerprint: str
    """The jump host's; empty without one."""

    async def observe(self, query: Query) -> Facts:
        """One look at the device, in one command."""

    async def apply(self, change: Change) -> Result:
        """Carry out a change, in one command."""

    async def check(self) -> str:
        """What `iotedge check --output json` prints; empty when it prints nothing."""

    async def initialize(self, initialization: Initialization) -> Result:
        """Run `Initialize-IoTEdge` on a Windows device that was never initialised; CHANGED when it was."""
