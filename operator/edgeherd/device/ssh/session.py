"""A session with a device: fixed scripts run, parameters go in on stdin, framed answers come out."""

import asyncio
import contextlib
import os
import re
import secrets
import socket
from typing import Protocol

import asyncssh

from edgeherd.device import facts, scripts, windows
from edgeherd.device.facts import Facts
from edgeherd.device.port import (
    Change,
    DeviceError,
    Initialization,
    LoginRefusedError,
    OddAnswerError,
    Platform,
    Query,
    Result,
    SudoRefusedError,
    UnreachableError,
)
from edgeherd.device.remote_command import RemoteCommand
from edgeherd.fence import OPEN, Fence, NotLeadingError

OUTPUT_BYTES = 1024 * 1024
"""More than any answer has: a file of 256 KiB in base64, and all the rest."""

TAIL_BYTES = 1024
"""A device takes as much of a long input at a time as it has room for, which may last. So the fence is asked once more before
this much of the end is sent: without it every script that changes something does not run, or ends as `Result.INCOMPLETE`."""

AGAIN_SECONDS = (0.05, 0.2, 0.5, 1.0)
"""A session that is not opened after another one is tried again, after so long each time."""

_REFUSED = re.compile(rb"^(?:edgeherd: (?:no )?)?(sudo|sudo-rs|doas)\b(?:: | refuses| and no doas)", re.MULTILINE)
"""What our command says on standard error where nobody lets us become root, or the program itself does."""
_EXPIRED = b"Password change required"
"""What OpenSSH's sshd says in place of running a command, whether the login was by password or by key."""


class _Scripts(Protocol):
    """What both platforms have."""

    def observe(self, query: Query) -> RemoteCommand: ...
    def apply(self, change: Change) -> RemoteCommand: ...
    def check(self) -> RemoteCommand: ...
    def answers(self, output: bytes, nonce: str) -> dict[str, bytes]: ...


class _Answer(asyncssh.SSHClientSession[bytes]):
    """All that comes, but not more than a device may say.

    An answer is many packets: nobody is woken for each, as readers of streams would be.
    """

    def __init__(self) -> None:
        self.output, self.errors = bytearray(), bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: Exception | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def sent(self) -> None:
        """Wait until all that was written is on its way, or nothing more will be."""
        await self._writable.wait()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        kept = self.output if datatype is None else self.errors
        if len(kept) + len(data) > OUTPUT_BYTES:
            self._end(OddAnswerError(f"the device sent more than {OUTPUT_BYTES} bytes"))
        elif not self.ended.done():
            kept += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _end(self, failure: Exception | None) -> None:
        self._writable.set()
        if not self.ended.done():
            self.failure = failure
            self.ended.set_result(None)


class SshSession:
    """A connection to a device. Implements `port.Session`."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        platform: Platform,
        *,
        jump_fingerprint: str = "",
        fence: Fence = OPEN,
    ) -> None:
        self._connection = connection
        self._fence = fence
        self._one_command = asyncio.Lock()
        """OpenSSH has `MaxSessions` at once: 10, or what somebody set."""
        self._had_session = False
        self._scripts: _Scripts = windows if platform is Platform.WINDOWS else scripts
        self.fingerprint = fingerprint(connection)
        self.jump_fingerprint = jump_fingerprint

    async def observe(self, query: Query) -> Facts:
        """See `port.Session`."""
        values = await self._run(self._scripts.observe(query))
        try:
            return facts.parse(values, others=len(query.others))
        except ValueError as exc:
            raise OddAnswerError(str(exc)) from None

    async def apply(self, change: Change) -> Result:
        """See `port.Session`."""
        return _result(await self._run(self._scripts.apply(change), self._fence))

    async def check(self) -> str:
        """See `port.Session`."""
        return facts.text(await self._run(self._scripts.check(), self._fence), "check")

    async def initialize(self, initialization: Initialization) -> Result:
        """See `port.Session`."""
        return _result(await self._run(windows.initialize(initialization), self._fence))

    async def _run(self, command: RemoteCommand, fence: Fence = OPEN) -> dict[str, bytes]:
        """Run one fixed script; what it said, by name. `fence` is that of one that does more than look."""
        nonce = secrets.token_hex(16)
        try:
            stdin = command.stdin(nonce)
        except ValueError as exc:
            raise OddAnswerError(str(exc)) from None
        try:
            async with self._one_command, asyncio.timeout(command.seconds):
                output, errors, status = await self._exchange(command.command, stdin, fence)
        except (DeviceError, NotLeadingError):
            raise
        except TimeoutError:
            message = f"the device did not finish within {command.seconds:.0f} s"
            raise UnreachableError(message) from None
        except asyncssh.ChannelOpenError:
            raise UnreachableError("the device opens no session") from None
        except Exception as exc:  # noqa: BLE001 - packets that make no sense come out of asyncssh as anything
            raise UnreachableError(cause(exc)) from None
        values = self._scripts.answers(output, nonce)
        if not values:
            if _EXPIRED in errors:
                raise LoginRefusedError("the password has expired")
            if refused := _REFUSED.search(errors):
                raise SudoRefusedError(refused[1].decode("ascii"), installed=not refused[0].endswith(b"no doas"))
            message = f"the device's shell answered nothing that belongs to the script (exit status {status})"
            raise OddAnswerError(message)
        return values

    async def _exchange(self, command: str, stdin: bytes, fence: Fence) -> tuple[bytes, bytes, int | None]:
        fence.check()
        answer = _Answer()
        channel = await self._channel(answer, command)
        try:
            # A shell that has ended already reads nothing more; what it said, and how it ended, is still to be heard.
            with contextlib.suppress(BrokenPipeError):
                if len(stdin) > TAIL_BYTES:
                    channel.set_write_buffer_limits(0)
                    channel.write(stdin[:-TAIL_BYTES])
                    await answer.sent()
                    stdin = stdin[-TAIL_BYTES:]
                fence.check()
                channel.write(stdin)
                channel.write_eof()
            await answer.ended
            if answer.failure is not None:
                raise answer.failure
            status = channel.get_exit_status()
            if status is None and not answer.output:
                raise UnreachableError("the device closed the connection")
            return bytes(answer.output), bytes(answer.errors), status
        finally:
            # Not waited for: a command that hangs on the device would hold us beyond every deadline.
            channel.close()

    async def _channel(self, answer: _Answer, command: str) -> asyncssh.SSHClientChannel[bytes]:
        """A session. OpenSSH takes some moments until one that has ended is none of its `MaxSessions` any more."""
        for pause in AGAIN_SECONDS if self._had_session else ():
            with contextlib.suppress(asyncssh.ChannelOpenError):
                return (await self._connection.create_session(lambda: answer, command, encoding=None))[0]
            await asyncio.sleep(pause)
        channel, _ = await self._connection.create_session(lambda: answer, command, encoding=None)
        self._had_session = True
        return channel


def _result(values: dict[str, bytes]) -> Result:
    try:
        return Result(values.get("result", b"").decode("ascii", "replace").strip())
    except ValueError:
        # The script ended half-way, before anything was different: all that matters is known by looking again.
        return Result.INCOMPLETE


def fingerprint(connection: asyncssh.SSHClientConnection) -> str:
    """Of the host key that the other side proved to have, as 'SHA256:...'."""
    key = connection.get_server_host_key()
    return str(key.get_fingerprint()) if key is not None else ""


def cause(exc: Exception) -> str:
    """A failure in words that do not change from try to try and repeat nothing that the device said."""
    if isinstance(exc, asyncssh.DisconnectError):
        return "the device closed the connection"
    if isinstance(exc, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(exc, socket.gaierror):
        return (exc.strerror or "its name cannot be looked up").lower()
    if isinstance(exc, OSError) and exc.errno:
        return os.strerror(exc.errno).lower()
    return "it does not speak SSH as it should"
