"""The one door to anyio: functions that run in a process of their own, because only a process can be ended.

What tenants and devices write is parsed by libraries that may take for ever, or all memory. A thread that is at it cannot
be stopped, holds the interpreter's lock while it counts, and keeps the operator from ending. A process is killed.

Processes are kept and used again; each has pipes of its own, so one that is killed harms no other, and ends by itself when
the operator is gone. Functions and arguments travel through the pipe: nothing shows in arguments or files.
"""

import asyncio
import contextlib
import pathlib
import resource
import signal
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio import to_process

MEMORY_BYTES = 128 * 1024 * 1024
"""What a process may allocate. Python with asyncssh and ruamel.yaml needs 42 MiB of it (measured)."""

PATIENCE = 6
"""On a machine that is busy elsewhere, so many times as long by the clock may pass for a function's processor time."""

Run = Callable[..., Awaitable[Any]]
"""Runs a function that can be imported, with arguments that can be pickled, and gives what it returns."""


class WorkerError(Exception):
    """A function did not come to its end: it took too long or too much memory, or its process died."""


class Workers:
    """Processes that take one kind of work, so that it cannot use up those of another kind."""

    def __init__(self, *, processes: int, seconds: float, memory_bytes: int = MEMORY_BYTES) -> None:
        """`seconds` is how much processor time a function may take. To wait for a free process costs none."""
        self._free = asyncio.Semaphore(processes)
        self._seconds = seconds
        self._memory_bytes = memory_bytes

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """See `Run`. A task that is cancelled while it waits takes the process with it.

        Raises:
            WorkerError: it took too long or too much, and is no more.
        """
        async with self._free:
            try:
                async with asyncio.timeout(self._seconds * PATIENCE):
                    return await to_process.run_sync(
                        _limited,
                        function,
                        arguments,
                        self._seconds,
                        self._memory_bytes,
                        cancellable=True,
                        limiter=anyio.CapacityLimiter(1),  # the semaphore counts, and its wait is not on the clock
                    )
            except MemoryError:
                raise WorkerError(f"it took more than {self._memory_bytes // 2**20} MiB of memory") from None
            except (TimeoutError, anyio.BrokenWorkerProcess):
                raise WorkerError(f"it took longer than {self._seconds:.0f} s, or its process was killed") from None


def _limited(function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float, memory_bytes: int) -> Any:
    """Run in the child: the function, within limits that the kernel keeps, so that they hold without the operator too."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # keys must not end up in a file
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the operator, which ends its processes
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends the process, whatever library is at work
    try:
        return function(*arguments)
    except Exception as exc:
        if not isinstance(exc, MemoryError):
            exc.add_note("".join(["In the worker process:\n", *traceback.format_tb(exc.__traceback__)]))
        raise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
