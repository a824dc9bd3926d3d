"""A scripted SSH peer that plays a Windows device. Its fixture is in `windows_peer`.

No PowerShell runs here. The peer decodes the bootstrap and the script, insists that both are ours, and answers by a
Python reading of the script's contract. It proves the way to the device and back, not the PowerShell.
"""

import asyncio
import base64
import contextlib
import dataclasses
import enum
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

import asyncssh

from edgeherd.device import windows
from edgeherd.device.port import ABSENT, Action, Change, Initialization, Query, Result
from edgeherd.device.remote_command import RemoteCommand

CONFIG = r"C:\ProgramData\iotedge\config.yaml"
USER = "edge"
PASSWORD = "Horse battery staple"

CLIXML = (
    b"#< CLIXML\r\n"
    b'<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj S="progress" RefId="0">'
    b'<TN RefId="0"><T>System.Management.Automation.PSCustomObject</T></TN></Obj></Objs>'
)
"""What PowerShell writes to stderr when nobody asked."""

_PREFIX = "powershell.exe -NoLogo -NoProfile -NonInteractive -EncodedCommand "


class Name(enum.Enum):
    """Which command a script is for."""

    OBSERVE = "observe"
    APPLY = "apply"
    CHECK = "check"
    INITIALIZE = "initialize"


def bootstrap(command: str) -> str:
    """What a command line makes PowerShell run.

    Raises:
        ValueError: it is no command line of ours.
    """
    prefix, encoded = command[: len(_PREFIX)], command[len(_PREFIX) :]
    if prefix != _PREFIX:
        message = f"not a command of ours: {prefix!r}"
        raise ValueError(message)
    return base64.b64decode(encoded, validate=True).decode("utf-16-le")


def script(command: RemoteCommand) -> str:
    """The script that the command's bootstrap reads."""
    return _text(command.stdin("n").split(b"\n")[1])


def parameters(command: RemoteCommand) -> list[bytes]:
    """What the script reads, decoded; the content, if there is one, comes last."""
    lines = command.stdin("n").split(b"\n")[2:]
    assert lines.pop() == b"", "the last line is left open, and PowerShell would wait for the end"
    return [base64.b64decode(line, validate=True) for line in lines]


def commands() -> dict[Name, RemoteCommand]:
    """One of each kind."""
    change = Change(path=CONFIG, before=ABSENT, content=b"", unit="iotedge", action=Action.RESTART)
    return {
        Name.OBSERVE: windows.observe(Query()),
        Name.APPLY: windows.apply(change),
        Name.CHECK: windows.check(),
        Name.INITIALIZE: windows.initialize(Initialization(connection_string="c", container_os="Windows")),
    }


def _text(encoded: bytes) -> str:
    return base64.b64decode(encoded, validate=True).decode()


@dataclasses.dataclass
class FakeWindows:
    """A device's state, and what the scripts do with it."""

    files: dict[str, bytes] = dataclasses.field(default_factory=lambda: {CONFIG: b"hostname: 'old'\r\n"})
    links: set[str] = dataclasses.field(default_factory=set)
    version: str = "iotedge 1.1.15"
    package: bool = True
    admin: bool = True
    active: str = "active"
    serves: Callable[[bytes], bool] = lambda content: b"bad" not in content
    """Whether the daemon takes a file's content."""
    trouble: Result | None = None
    """What goes wrong when something is written: FULL, READ_ONLY, UNWRITABLE, OWNER."""
    modules: str = (
        "NAME             STATUS           DESCRIPTION      CONFIG\n"
        "edgeAgent        running          Up 2 minutes     image\n"
    )
    report: str = '{"additional_info":{},"checks":{}}'
    restarts: int = 0
    started: int = 1_600_000_000
    modified: int = 1_600_000_000
    initialized: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)

    def answer(self, name: Name, read: Callable[[], str]) -> Iterator[tuple[str, bytes]]:
        """The values that a script says; `read` gives its next parameter."""
        if name is Name.OBSERVE:
            return self._observe(read)
        if name is Name.CHECK:
            return iter([("check", self.report.encode())])
        result = self._apply(read) if name is Name.APPLY else self._initialize(read)
        return iter([("result", result.value.encode())])

    def _kind(self, path: str) -> str:
        if path in self.links:
            return "symlink"
        return "file" if path in self.files else "absent"

    def _hash(self, path: str) -> str:
        kind = self._kind(path)
        if kind == "file":
            return hashlib.sha256(self.files[path]).hexdigest()
        return ABSENT if kind == "absent" else "other"

    def _observe(self, read: Callable[[], str]) -> Iterator[tuple[str, bytes]]:
        path = read() or CONFIG
        yield "admin", b"yes" if self.admin else b"no"
        yield "version", self.version.encode()
        yield "path", path.encode()
        yield "kind", self._kind(path).encode()
        if self._kind(path) == "file":
            yield "modified", str(self.modified).encode()
            yield "mode", b"O:BAD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;BU)"
            yield "content", self.files[path][:1_048_577]
        yield "package", b"yes" if self.package else b"no"
        number = 0
        while other := read():
            yield f"hash:{number}", self._hash(other).encode()
            number += 1
        yield (
            "units",
            f"{self._unit('iotedge', self.active, self.started)}\n\n{self._unit('iotedge-moby', 'active')}".encode(),
        )
        yield "now", str(int(time.time())).encode()
        if self.active == "active":
            yield "started", str(self.started).encode()
        yield "modules", self.modules.encode()
        if "edgeAgent        running" not in self.modules:
            yield "journal", "Überwachung\r\nError while running service. Quitting.".encode()
        yield "end", b"ok"

    @staticmethod
    def _unit(name: str, active: str, started: int = 0) -> str:
        sub, result, status = {
            "active": ("running", "success", 0),
            "inactive": ("dead", "success", 0),
            "failed": ("failed", "exit-code", 1067),
        }[active]
        return (
            f"Id={name}\nLoadState=loaded\nActiveState={active}\nSubState={sub}\n"
            f"Result={result}\nExecMainStatus={status}\nNRestarts=0\nExecMainStartTimestampMonotonic={started}"
        )

    def _apply(self, read: Callable[[], str]) -> Result:
        path, before, after, unit, action, started = (read() for _ in range(6))
        assert unit == "iotedge"
        if not self.admin:
            return Result.UNWRITABLE
        if self._bent(path):
            return Result.PARENT
        if self._hash(path) != before or started not in {"", str(self.started)}:
            return Result.CHANGED
        was = self.files.copy()
        steady = self.active == "active"
        result = Result.APPLIED if after == "-" else self._write(path, after, base64.b64decode(read(), validate=True))
        if result is not Result.APPLIED or action == "none":
            return result
        self._restart(path)
        if not steady or action == "retire" or self.active == "active":
            return Result.APPLIED
        self.files = was
        self._restart(path)
        return Result.REFUSED

    def _bent(self, path: str) -> bool:
        folders = path.split("\\")[:-1]
        return any("\\".join(folders[:depth]) in self.links for depth in range(1, len(folders) + 1))

    def _write(self, path: str, after: str, content: bytes) -> Result:
        if hashlib.sha256(content).hexdigest() != after:
            return Result.INCOMPLETE
        if self.trouble is None:
            self.files[path], self.modified = content, int(time.time())
        return self.trouble or Result.APPLIED

    def _restart(self, path: str) -> None:
        self.restarts += 1
        self.started = int(time.time())
        self.active = "active" if self.serves(self.files.get(path, b"bad")) else "failed"

    def _initialize(self, read: Callable[[], str]) -> Result:
        secret, system, setup = read(), read(), read()
        if not self.admin:
            return Result.UNWRITABLE
        if self._kind(CONFIG) != "absent":
            return Result.CHANGED
        self.initialized.append((secret, system, setup))
        if not self.package:
            return Result.REFUSED
        self.files[CONFIG] = f"provisioning:\n  source: 'manual'\n  device_connection_string: '{secret}'\n".encode()
        self._restart(CONFIG)
        return Result.APPLIED


@dataclasses.dataclass
class WindowsPeer:
    """The SSH server before a `FakeWindows`, and how it talks."""

    device: FakeWindows
    host: str = "127.0.0.1"
    port: int = 0
    host_key: str = ""
    """As in a `.pub` file."""
    newline: bytes = b"\r\n"
    noise: bytes = b"Active code page: 65001\r\nWARNING: nobody is listening\r\n"
    """What stands between the frames."""
    errors: bytes = CLIXML
    chunk: int = 0
    """Bytes that are sent at a time, with a pause after each; all at once when 0."""
    cut: int | None = None
    """After how many bytes the connection is lost."""
    commands: list[str] = dataclasses.field(default_factory=list)
    unexpected: list[str] = dataclasses.field(default_factory=list)
    """What came that is not ours."""

    async def handle(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        """One command, from its line to its exit status."""
        self.commands.append(process.command or "")
        try:
            name, nonce, read = await self._script(process)
            frames = [
                f"{nonce} {key} ".encode() + base64.b64encode(value) for key, value in self.device.answer(name, read)
            ]
        except (ValueError, AssertionError) as exc:
            self.unexpected.append(str(exc))
            await process.stdin.read()
            process.exit(1)
            return
        process.stderr.write(self.errors)
        output = b"".join(self.noise + frame + self.newline for frame in frames)
        await self._send(process, output if self.cut is None else output[: self.cut])
        if self.cut is not None:
            process.channel.get_connection().abort()
            return
        process.exit(0)

    async def _script(self, process: "asyncssh.SSHServerProcess[bytes]") -> tuple[Name, str, Callable[[], str]]:
        """Which command it is, the nonce, and the parameters, of which no more is read than PowerShell would."""
        if process.command != windows.COMMAND:
            raise ValueError(f"not our command: {process.command!r}")
        bootstrap(windows.COMMAND)
        nonce = (await process.stdin.readline()).rstrip(b"\n").decode()
        text = _text((await process.stdin.readline()).rstrip(b"\n"))
        known = {script(command): name for name, command in commands().items()}
        if text not in known:
            raise ValueError("not one of our scripts")
        name = known[text]
        lines = [line async for line in _lines(process, name)]
        return name, nonce, _reader(name, lines)

    async def _send(self, process: "asyncssh.SSHServerProcess[bytes]", output: bytes) -> None:
        size = self.chunk or max(1, len(output))
        for start in range(0, len(output), size):
            process.stdout.write(output[start : start + size])
            await process.stdout.drain()
            if self.chunk:
                await asyncio.sleep(0)


async def _lines(process: "asyncssh.SSHServerProcess[bytes]", name: Name) -> AsyncIterator[bytes]:
    """As many lines as the script reads; for OBSERVE up to the empty one after the first."""
    count = {Name.OBSERVE: 1, Name.APPLY: 7, Name.CHECK: 0, Name.INITIALIZE: 3}[name]
    for _ in range(count):
        yield (await process.stdin.readline()).rstrip(b"\n")
    while name is Name.OBSERVE and (line := (await process.stdin.readline()).rstrip(b"\n")):
        yield line


def _reader(name: Name, lines: list[bytes]) -> Callable[[], str]:
    """The next parameter; empty after the last. The content of a change stays base64: it need not be text."""
    left = list(lines)

    def read() -> str:
        if not left:
            return ""
        is_content = name is Name.APPLY and len(left) == 1
        line = left.pop(0)
        return line.decode() if is_content else _text(line)

    return read


class _Server(asyncssh.SSHServer):
    """Lets the user in with the password, or with any key."""

    def begin_auth(self, username: str) -> bool:
        del username
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        del key
        return username == USER


@contextlib.asynccontextmanager
async def serve(device: FakeWindows | None = None) -> AsyncIterator[WindowsPeer]:
    """A peer on a free port of this machine."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    peer = WindowsPeer(device or FakeWindows(), host_key=key.export_public_key("openssh").decode().strip())
    server = await asyncssh.listen(
        peer.host,
        0,
        server_factory=_Server,
        server_host_keys=[key],
        process_factory=peer.handle,
        encoding=None,
        server_version="OpenSSH_for_Windows_8.1",
    )
    peer.port = server.get_port()
    try:
        yield peer
    finally:
        server.close()
        await server.wait_closed()
    assert peer.unexpected == []
