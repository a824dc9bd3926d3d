"""How the programs on the devices reach the simulator: one named pipe for the fleet, one for each answer.

A line is `DEVICE VERB REPLY-PIPE`. It is shorter than PIPE_BUF, so lines of many devices never mix. The answer is
what the program shall print and its status; it is shorter than what a pipe holds, so that nobody has to wait.
"""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Awaitable, Callable
from typing import Self


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a program ends that asked."""

    status: int = 0
    output: str = ""
    errors: str = ""

    def lines(self) -> str:
        """For the pipe: `o` and `e` lines are to be printed, the last one has the status."""
        printed = [f"o {line}\n" for line in self.output.splitlines()]
        complained = [f"e {line}\n" for line in self.errors.splitlines()]
        return "".join([*printed, *complained, f"exit {self.status}\n"])


Handler = Callable[[str, str], Awaitable[Outcome]]
"""Does what (device, verb) ask for."""


class Control:
    """Reads the pipe while the block lasts."""

    def __init__(self, path: pathlib.Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._descriptor = -1
        self._rest = b""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        os.mkfifo(self._path, 0o600)
        # For both ways, so that the end of one program is not the end of the pipe.
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            *lines, self._rest = (self._rest + os.read(self._descriptor, 65536)).split(b"\n")
            for line in lines:
                device, _, rest = os.fsdecode(line).partition(" ")
                verb, _, reply = rest.partition(" ")
                task = asyncio.get_running_loop().create_task(self._answer(device, verb, reply))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _answer(self, device: str, verb: str, reply: str) -> None:
        try:
            outcome = await self._handler(device, verb)
        except Exception as exc:  # noqa: BLE001 - a bug of the simulator; the program must not wait for ever
            context = {"message": f"'{verb}' failed on {device}", "exception": exc}
            asyncio.get_running_loop().call_exception_handler(context)
            outcome = Outcome(status=1, errors="the simulator failed")
        # The program holds its pipe open; where it is gone, nobody waits for the answer.
        with contextlib.suppress(OSError):
            descriptor = os.open(reply, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(descriptor, outcome.lines().encode())
            finally:
                os.close(descriptor)
