"""Starts the stand-ins and the operator as processes of their own, the way a user would, and stops them again."""

import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

START_SECONDS = 60.0
STOP_SECONDS = 15.0
FACTS_BYTES = 64 * 1024 * 1024
"""The longest line of facts. A device has about 250 bytes in it; asyncio's own limit of 64 KiB ends at 280 devices."""


class StageError(Exception):
    """A process did not start, or a command failed; the text says which and shows the end of what it said."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Running:
    """A process, and what it said of itself when it was ready."""

    name: str
    process: asyncio.subprocess.Process
    log: pathlib.Path
    facts: Mapping[str, Any]

    async def stop(self, *, kill: bool = False) -> int:
        """End the process (SIGTERM, or SIGKILL with `kill`) and wait for it. Returns its exit status."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill() if kill else self.process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        return self.process.returncode or 0

    @property
    def resident_kib(self) -> int:
        """Its resident memory, in KiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]


@contextlib.asynccontextmanager
async def stand_in(name: str, *arguments: str, folder: pathlib.Path) -> AsyncIterator[Running]:
    """`edgeherd sim NAME` until the block ends; its facts are the line that it prints when it listens.

    Raises:
        StageError: it ended early or did not get ready.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "edgeherd", "sim", name, "--output", "json", *arguments]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=stream, limit=FACTS_BYTES
        )
    running = Running(name=name, process=process, log=log, facts={})
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for above
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await process.stdout.readline()
            running.facts = json.loads(line)
        except (TimeoutError, ValueError):
            raise StageError(f"'edgeherd sim {name}' did not get ready: {running.last_words()}") from None
        yield running
    finally:
        await running.stop()


@contextlib.asynccontextmanager
async def operator(
    environment: Mapping[str, str], *, folder: pathlib.Path, says: str = "watches EdgeDevices"
) -> AsyncIterator[Running]:
    """`edgeherd run` until the block ends. It is ready when its log says that it watches, or something else.

    Raises:
        StageError: it ended early or did not get ready.
    """
    log = folder / "operator.log"
    with log.open("ab") as stream:
        start = stream.tell()
        command = [sys.executable, "-m", "edgeherd", "run"]
        process = await asyncio.create_subprocess_exec(*command, stderr=stream, env={**os.environ, **environment})
    running = Running(name="operator", process=process, log=log, facts={})
    try:
        async with asyncio.timeout(START_SECONDS):
            while says.encode() not in log.read_bytes()[start:]:
                if process.returncode is not None:
                    raise StageError(f"The operator ended with {process.returncode}: {running.last_words()}")
                await asyncio.sleep(0.05)
        yield running
    except TimeoutError:
        raise StageError(f"The operator did not get ready: {running.last_words()}") from None
    finally:
        await running.stop()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """kubectl for one API server."""

    kubeconfig: pathlib.Path
    program: str = "kubectl"

    async def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run it; what it printed.

        Raises:
            StageError: it failed, unless `check` is False.
        """
        status, out, err = await self.run(*arguments, stdin=stdin)
        if status and check:
            raise StageError(f"kubectl {' '.join(arguments)}: {err.strip() or out.strip()}")
        return out

    async def run(self, *arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
        """Run it; its exit status, stdout and stderr."""
        search = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        process = await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": search},
        )
        try:
            out, err = await process.communicate(stdin.encode() if stdin is not None else None)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, out.decode(), err.decode()

    async def apply(self, *bodies: Mapping[str, Any], arguments: Sequence[str] = ()) -> None:
        """Apply objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
        await self("apply", "-f", "-", *arguments, stdin=json.dumps(listed))

    async def get(self, *arguments: str) -> Any:
        """Get objects, decoded."""
        return json.loads(await self("get", *arguments, "-o", "json"))
