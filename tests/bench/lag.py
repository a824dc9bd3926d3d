"""How long the event loop is held up while the worst is read that our limits let through. `make bench` runs it.

What tenants and devices write is parsed in worker processes, or here by code that takes time in proportion to its input.
Each kind is read on its own, several at once as devices send them, while a ticker measures by how much the loop is late.
A control run does nothing: what the machine does beside is in it too.

    BENCH_ROUNDS   how often each is read (3)
    BENCH_JSON     a file for the figures and their targets
"""

import asyncio
import base64
import dataclasses
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Self

import asyncssh
from report import Target, table, write

from edgeherd import config
from edgeherd.config import limits
from edgeherd.device import facts, journal, ssh
from edgeherd.device.ssh import keys
from edgeherd.reconcile import config_editor, diagnostics
from edgeherd.worker import Workers

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
AT_ONCE = 4
"""Twice as many as there are worker processes of a kind."""
TICK_SECONDS = 0.002
TARGET_MILLISECONDS = 50.0

WANTED = config.Wanted(connection_string="HostName=h;DeviceId=d;SharedAccessKey=QQ==", hostname="press-01")
PASSPHRASE = "correct horse"
"""Of keys that exist only here."""
NONCE = "0123456789abcdef"


@dataclasses.dataclass(slots=True)
class Ticker:
    """Asks to be woken again and again, and remembers by how much it was late at most, in seconds."""

    worst: float = 0.0
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0.1)
        self.worst = 0.0
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        await asyncio.sleep(2 * TICK_SECONDS)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            due = time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self.worst = max(self.worst, time.perf_counter() - due)


def yaml_file(number: int) -> bytes:
    """As many lines that mean something as are let through, and as many comments."""
    head = f'# {number}\nprovisioning:\n  source: "manual"\n  device_connection_string: "<ADD DEVICE CONNECTION STRING HERE>"\nmore:\n'
    alive = "".join(f'  key{line}: "some value"\n' for line in range(limits.MAX_LIVE_LINES - 8))
    comments = "# a remark\n" * (limits.MAX_LINES - limits.MAX_LIVE_LINES - 8)
    return (head + alive + comments).encode()


def toml_file(number: int) -> bytes:
    """The same in the other dialect."""
    alive = "".join(f'key{line} = "some value"\n' for line in range(limits.MAX_LIVE_LINES - 8))
    comments = "# a remark\n" * (limits.MAX_LINES - limits.MAX_LIVE_LINES - 8)
    return f"# {number}\n[more]\n{alive}{comments}".encode()


def journal_text(number: int) -> str:
    """Lines that many expressions try, without a verdict among them, as long as the script sends them."""
    line = f"2026-01-01T00:00:00Z [WARN] - trying to do something {number} that goes on "
    return "\n".join(line + "and on " * 20 for _ in range(facts.MOST["journal"] // 100))


def answer(number: int) -> bytes:
    """As much as is read of one answer."""
    room = ssh.session.OUTPUT_BYTES * 3 // 4
    values = {
        "journal": journal_text(number).encode(),
        "modules": b"".join(b"module%d running Up 3 hours image\n" % line for line in range(2000)),
        "content": yaml_file(number),
    }
    values["check"] = b"x" * (room - sum(map(len, values.values())) - 4096)
    values |= {"kind": b"yaml", "path": b"/etc/iotedge/config.yaml", "version": b"iotedge 1.1.15", "end": b"1"}
    return b"\n".join(f"{NONCE} {name} ".encode() + base64.b64encode(value) for name, value in values.items())


def check_output(number: int) -> str:
    """What `iotedge check` would print if it had as many findings as fit."""
    checks = {f"check-{number}-{line}": {"result": {"result": "warning"}} for line in range(4000)}
    return json.dumps({"checks": checks})


def encrypted_key(_: int) -> bytes:
    """The largest and the slowest key that is read."""
    made = asyncssh.generate_private_key("ssh-rsa", key_size=keys.RSA_BITS)
    exported: bytes = made.export_private_key("openssh", PASSPHRASE, rounds=keys.BCRYPT_ROUNDS)
    return exported


async def measured(work: Callable[[int], Awaitable[object]]) -> float:
    """By how many milliseconds the loop was late while it was done, several at once."""
    async with Ticker() as ticker:
        for _ in range(ROUNDS):
            await asyncio.gather(*(work(number) for number in range(AT_ONCE)))
    return ticker.worst * 1000


async def main() -> None:
    """Measure all kinds, print them, and write them down."""
    file_workers = Workers(processes=config_editor.PROCESSES, seconds=config_editor.SECONDS)
    key_workers = Workers(processes=ssh.KEY_PROCESSES, seconds=ssh.KEY_SECONDS)
    await file_workers.start()
    await key_workers.start()
    editor = config_editor.ConfigEditor(file_workers.run)
    fresh = itertools.count()  # a verdict that is remembered would cost nothing

    async def edit(content: Callable[[int], bytes], version: str) -> None:
        with_number = await asyncio.to_thread(content, next(fresh))
        await editor.edit(with_number, WANTED, version=config.Version.parse(version))

    async def here(function: Callable[[], object]) -> None:
        await asyncio.sleep(0)
        function()

    locked = [await asyncio.to_thread(encrypted_key, number) for number in range(AT_ONCE)]
    answers = [answer(number) for number in range(AT_ONCE)]
    journals = [journal_text(number) for number in range(AT_ONCE)]
    checks = [check_output(number) for number in range(AT_ONCE)]
    kinds: dict[str, Callable[[int], Awaitable[object]]] = {
        "nothing": lambda _: asyncio.sleep(0.2),
        "config.yaml": lambda _: edit(yaml_file, "1.1.15"),
        "config.toml": lambda _: edit(toml_file, "1.5.44"),
        "encrypted RSA keys": lambda n: key_workers.run(keys.private_key, locked[n], PASSPHRASE),
        "answers": lambda n: here(lambda: facts.parse(facts.framed(answers[n], NONCE))),
        "journals": lambda n: here(lambda: journal.diagnose(journals[n])),
        "iotedge check": lambda n: here(lambda: diagnostics.report(checks[n], handled_at="x")),
    }
    found = {name: await measured(work) for name, work in kinds.items()}
    print(table([("read, four at once", "ms late"), *((name, f"{late:.1f}") for name, late in found.items())]))  # noqa: T201 - what it is for
    worst = max(late for name, late in found.items() if name != "nothing")
    write([Target(name="lag: milliseconds the event loop is late at most", value=worst, target=TARGET_MILLISECONDS)])


if __name__ == "__main__":
    asyncio.run(main())
