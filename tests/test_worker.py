"""Work that can be ended: whatever a process does, the operator goes on, and no process is left."""

import asyncio
import os
import pathlib
import resource
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

import busy
import processes
from edgeherd.worker import WorkerError, Workers
from waiting import wait_until

TOO_LONG = "it took longer than 2 s, or its process was killed"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        pytest.param(busy.spin, TOO_LONG, id="it never ends"),
        pytest.param(busy.hoard, "it took more than 128 MiB of memory", id="it takes all memory"),
        pytest.param(busy.die, TOO_LONG, id="its process dies"),
    ],
)
async def test_work_that_goes_wrong_is_given_up(function: Callable[[], object], message: str) -> None:
    """And the next one is done."""
    workers = Workers(processes=1, seconds=2)
    await workers.run(bool)
    with pytest.raises(WorkerError) as caught:
        await workers.run(function)
    assert str(caught.value) == message
    assert await workers.run(len, "abc") == 3


async def test_work_is_done_elsewhere_within_limits() -> None:
    """In one process after another call, without core files."""
    workers = Workers(processes=1, seconds=5)
    first, second = await workers.run(os.getpid), await workers.run(os.getpid)
    assert (first == second, first == os.getpid()) == (True, False)
    assert await workers.run(resource.getrlimit, resource.RLIMIT_CORE) == (0, 0)


async def test_a_bug_comes_back_as_itself() -> None:
    """With the place where it happened."""
    with pytest.raises(KeyError) as caught:
        await Workers(processes=1, seconds=5).run(busy.bug)
    assert "busy.py" in caught.value.__notes__[0]


async def test_who_stops_waiting_stops_the_work(tmp_path: pathlib.Path) -> None:
    """As every pass does when the operator ends."""
    told = tmp_path / "pid"
    task = asyncio.create_task(Workers(processes=1, seconds=60).run(busy.wait, str(told)))
    await asyncio.to_thread(wait_until, lambda: told.exists() and told.read_text() != "")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_until, lambda: not processes.runs(int(told.read_text())))


PARENT = """
import asyncio, signal, sys
import busy
from edgeherd.worker import Workers

async def main():
    workers = Workers(processes=2, seconds=60)
    await workers.run(bool)
    main = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main.cancel)
    await workers.run(busy.wait, sys.argv[1])

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_no_process_is_left_when_the_operator_ends(tmp_path: pathlib.Path) -> None:
    """It ends at once, though a process is at work that never will."""
    script, told = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    parent = subprocess.Popen([sys.executable, script, told], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: told.exists() and told.read_text() != "")
        parent.send_signal(signal.SIGTERM)
        parent.wait(30)
        wait_until(lambda: not processes.runs(int(told.read_text())))
    finally:
        parent.kill()
        parent.wait()
