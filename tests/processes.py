"""The programs that the tests start: each is bounded in time, and what it started goes with it."""

import asyncio
import contextlib
import os
import pathlib
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

SECONDS = 60.0
Argument = str | bytes | pathlib.Path


def run(
    command: Sequence[Argument],
    *,
    stdin: bytes = b"",
    cwd: pathlib.Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
    check: bool = False,
) -> "subprocess.CompletedProcess[bytes]":
    """`subprocess.run` in a session of its own, whose bound holds for all that the command starts.

    Raises:
        subprocess.TimeoutExpired: the bound was hit; the whole process group is gone.
        subprocess.CalledProcessError: it failed, with `check`.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=env, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout=seconds)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


@contextlib.contextmanager
def running(
    command: Sequence[Argument],
    *,
    cwd: pathlib.Path | None = None,
    env: Mapping[str, str] | None = None,
    stderr: int | None = None,
) -> "Iterator[subprocess.Popen[str]]":
    """A program in a session of its own, whose output can be read; after the block its process group is gone."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, cwd=cwd, env=env, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def started(
    *command: Argument, env: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program in a session of its own, whose outputs can be read; after the block its process group is gone."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def finished(
    *command: Argument, env: Mapping[str, str] | None = None, seconds: float = SECONDS
) -> "subprocess.CompletedProcess[bytes]":
    """`run` for tests whose event loop has to go on meanwhile.

    Raises:
        TimeoutError: the bound was hit; the whole process group is gone.
    """
    async with asyncio.timeout(seconds), started(*command, env=env) as process:
        out, err = await process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def kill_all_with(variable: str, value: object) -> None:
    """End every process that has this in its environment: it may have left its session and its parents.

    The value must be the test's own, as its temporary folder is.
    """
    mark = os.fsencode(f"{variable}={value}")
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


def runs(pid: int) -> bool:
    """Whether a process does; one that ended and whose parent has not yet asked for its status does not."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
