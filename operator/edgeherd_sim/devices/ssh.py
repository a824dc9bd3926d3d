"""The devices' SSH server; the only module here that knows asyncssh.

A command runs as OpenSSH would run it: in a shell of its own, which outlives the connection. When the client goes
away its pipes are closed, and nothing is killed.
"""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

import asyncssh

from edgeherd_sim.devices import shell
from edgeherd_sim.devices.faults import Line
from edgeherd_sim.devices.filesystem import write

Key = asyncssh.SSHKey

_CHUNK = 65536
_GRACE = 2.0
_VERSION = "OpenSSH_7.9p1 Debian-10+deb10u2"


def private_key(path: pathlib.Path) -> asyncssh.SSHKey:
    """The key in the file; a new one when there is no file yet. The public half lies beside it."""
    if not path.exists():
        key = asyncssh.generate_private_key("ssh-ed25519", comment="edgeherd-sim")
        write(path, key.export_private_key("openssh"), 0o600)
        write(path.with_name(f"{path.name}.pub"), key.export_public_key("openssh"), 0o644)
        return key
    return asyncssh.read_private_key(path)


def public_line(key: asyncssh.SSHKey) -> str:
    """The public key as in a `.pub` file, without the comment."""
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How the devices of a fleet let people in."""

    client_key: asyncssh.SSHKey
    password: str | None = dataclasses.field(default=None, repr=False)
    """It works for the methods `password` and `keyboard-interactive`; None: neither is offered."""
    forwarding: bool = False
    """Whether a client may go on from here to other hosts, as `ssh -J` does."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who may log in, and what a session looks like."""

    user: str
    door: Door
    home: pathlib.Path
    environment: Mapping[str, str]


class _Server(asyncssh.SSHServer):
    def __init__(self, login: Login, opened: Callable[[asyncssh.SSHServerConnection], None]) -> None:
        self._login = login
        self._opened = opened

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._opened(conn)

    def begin_auth(self, username: str) -> bool:
        del username
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self._login.user and key == self._login.door.client_key.convert_to_public()

    def password_auth_supported(self) -> bool:
        return self._login.door.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        return username == self._login.user and password == self._login.door.password

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        del dest_host, dest_port, orig_host, orig_port
        return self._login.door.forwarding


class SshServer:
    """One device's listener. It keeps its address when it is closed and opened again."""

    def __init__(self, *, login: Login, host_key: asyncssh.SSHKey, line: Line) -> None:
        self.host = ""
        self.port = 0
        self._login = login
        self._line = line
        self._socket: socket.socket | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._silent: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._commands: set[int] = set()
        self._options = asyncssh.SSHServerConnectionOptions(
            server_factory=lambda: _Server(login, self._connections.add),
            server_host_keys=[host_key],
            server_version=_VERSION,
            process_factory=self._session,
            encoding=None,
            line_editor=False,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            password_auth=login.door.password is not None,
            kbdint_auth=login.door.password is not None,
            login_timeout=60,
        )

    def listen(self, host: str, port: int) -> None:
        """Take the address.

        Raises:
            OSError: it is not to be had.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        self.host, self.port = listener.getsockname()[:2]
        self._socket = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def open(self, on: bool) -> None:
        """Listen, or do not; at the address that was taken first."""
        if on and self._socket is None:
            self.listen(self.host, self.port)
        elif not on:
            self._close_listener()

    async def close(self) -> None:
        """End everything: listener, connections and what still runs."""
        self._close_listener()
        for connection in list(self._connections):
            connection.abort()
        for waiting in self._silent:
            waiting.close()
        for number in (signal.SIGHUP, signal.SIGKILL):
            for group in self._commands:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, number)
            if self._tasks and self._commands:
                await asyncio.wait(self._tasks, timeout=_GRACE)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _close_listener(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except OSError:
            return
        accepted.setblocking(False)
        if self._line.dead:
            self._silent.add(accepted)
            return
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._spawn(self._serve(accepted))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError, asyncssh.Error, TimeoutError):
            connection = await asyncssh.run_server(accepted, config=None, options=self._options)
            await connection.wait_closed()
        self._connections = {conn for conn in self._connections if not conn.is_closed()}

    def _session(self, channel: asyncssh.SSHServerProcess[bytes]) -> None:
        self._spawn(self._command(channel))

    async def _command(self, channel: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run one command and say how it ended."""
        await asyncio.sleep(self._line.delay)
        async with _output(channel.stdout) as (stdout, said), _output(channel.stderr) as (stderr, complained):
            process = await self._shell(channel.command, stdout, stderr)
            self._commands.add(process.pid)
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            feed = asyncio.ensure_future(self._feed(channel, process.stdin))
            gone = asyncio.ensure_future(channel.channel.wait_closed())
            outputs = asyncio.ensure_future(asyncio.wait({said, complained}))
            try:
                await asyncio.wait({outputs, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (feed, gone, outputs, said, complained):
                    task.cancel()
                process.stdin.close()
        status = await process.wait()
        self._commands.discard(process.pid)
        with contextlib.suppress(OSError, asyncssh.Error):
            if status >= 0:
                channel.exit(status)
            else:
                channel.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))

    async def _shell(self, command: str | None, stdout: int, stderr: int) -> asyncio.subprocess.Process:
        """A shell of its own session, as sshd starts it; without a command it reads what the client types."""
        try:
            return await asyncio.create_subprocess_exec(
                *shell.arguments(self._line, command),
                stdin=asyncio.subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                cwd=self._login.home,
                env=self._login.environment,
                start_new_session=True,
            )
        finally:
            os.close(stdout)
            os.close(stderr)

    async def _feed(self, channel: asyncssh.SSHServerProcess[bytes], stdin: asyncio.StreamWriter) -> None:
        """Pass on what the client sends, up to the byte at which the connection shall break."""
        total = 0
        with contextlib.suppress(OSError, asyncssh.Error):
            while chunk := await channel.stdin.read(_CHUNK):
                limit = self._line.reset_after
                if limit is not None and total + len(chunk) > limit:
                    stdin.write(chunk[: limit - total])
                    _reset(channel)
                    break
                total += len(chunk)
                stdin.write(chunk)
                await stdin.drain()
        stdin.close()


def _reset(channel: asyncssh.SSHServerProcess[bytes]) -> None:
    """Break the connection as a router does that forgot it: RST, no SSH message."""
    sock = channel.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    channel.get_extra_info("connection").abort()


@contextlib.asynccontextmanager
async def _output(sink: asyncssh.SSHWriter[bytes]) -> AsyncIterator[tuple[int, asyncio.Future[None]]]:
    """A pipe for the command to write into, and the task that passes it on.

    After the block nobody reads any more: a command that still writes gets SIGPIPE, as from OpenSSH.
    """
    read, write_end = os.pipe()
    source = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(source), os.fdopen(read, "rb", buffering=0)
    )
    try:
        yield write_end, asyncio.ensure_future(_pass_on(source, sink))
    finally:
        transport.close()


async def _pass_on(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while chunk := await source.read(_CHUNK):
            sink.write(chunk)
            await sink.drain()
