"""How the programs on the devices reach the simulator: one named pipe for the fleet, one for each answer.

A line is `DEVICE VERB REPLY-PIPE`. It is shorter than PIPE_BUF, so lines of many devices never mix.
"""

import asyncio
import contextlib
import os
import pathlib
from collections.abc import Awaitable, Callable
from typing import Self

Handler = Callable[[str, str], Awaitable[bool]]
"""Does what (device, verb) ask for; whether it went well."""


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
        good = await self._handler(device, verb)
        # The program holds its pipe open; where it is gone, nobody waits for the answer.
        with contextlib.suppress(OSError):
            descriptor = os.open(reply, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(descriptor, b"ok\n" if good else b"failed\n")
            finally:
                os.close(descriptor)
