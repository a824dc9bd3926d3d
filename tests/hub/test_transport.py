"""The parts that bound a call: its clock and counter, and the threads."""

import concurrent.futures
import subprocess
import sys
import threading

import pytest

from edgeherd.hub.transport import HEADERS, Call, ClosedError, Threads


@pytest.mark.parametrize(
    ("at", "left"),
    [(100.0, 10.0), (109.0, 1.0), (110.0, None), (111.0, None)],
    ids=["when it begins", "later", "when its time is over", "after that"],
)
def test_one_time_for_all(at: float, left: float | None) -> None:
    """What is left is for the next step, whatever it is; then there is none."""
    now = [100.0]
    call = Call(seconds=10, most_bytes=0, clock=lambda: now[0])
    now[0] = at
    if left is not None:
        assert call.seconds_left() == left
        return
    with pytest.raises(TimeoutError):
        call.seconds_left()
    assert call.ended_by == "Timeout"


def test_a_call_that_nobody_waits_for() -> None:
    """It may not even send its request any more."""
    call = Call(seconds=10, most_bytes=0)
    call.abandon()
    with pytest.raises(TimeoutError):
        call.seconds_left()


def test_bytes_are_counted() -> None:
    """Before the headers are through, the body's share does not count."""
    call = Call(seconds=10, most_bytes=100)
    call.received(HEADERS)
    call.body_follows()
    call.received(100)
    with pytest.raises(OSError, match="too large"):
        call.received(1)
    assert call.ended_by == "AnswerTooLarge"


def test_threads_are_started_when_they_are_needed() -> None:
    """A free one is used again, there are never more than may be, and the interpreter waits for none."""
    threads, release = Threads(2), threading.Event()
    first = threads.submit(threading.current_thread).result(10)
    second = threads.submit(threading.current_thread).result(10)
    assert (first, first.daemon) == (second, True)
    blocked = [threads.submit(release.wait) for _ in range(2)]
    behind = [threads.submit(threading.current_thread) for _ in range(5)]
    assert concurrent.futures.wait(behind, timeout=0.1).done == set()
    release.set()
    used = {future.result(10) for future in behind}
    assert (len(used) <= 2, [future.result(10) for future in blocked]) == (True, [True, True])
    threads.shutdown()


def test_an_error_is_that_of_the_call() -> None:
    """The thread goes on."""
    threads = Threads(1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(10)
    assert threads.submit(lambda: 1).result(10) == 1
    threads.shutdown()


def test_what_waits_when_they_are_closed() -> None:
    """It ends at once; what is under way goes on; the thread ends then."""
    threads, begun, release = Threads(1), threading.Event(), threading.Event()

    def work() -> threading.Thread:
        begun.set()
        release.wait()
        return threading.current_thread()

    under_way = threads.submit(work)
    begun.wait(10)
    waits = threads.submit(int)
    threads.shutdown()
    assert isinstance(waits.exception(10), ClosedError)
    with pytest.raises(ClosedError):
        threads.submit(int)
    release.set()
    thread = under_way.result(10)
    thread.join(10)
    assert not thread.is_alive()


def test_a_thread_that_is_stuck_does_not_hold_up_the_end() -> None:
    """A program ends, whatever a thread of a hub waits for."""
    program = (
        "import asyncio, threading\n"
        "from edgeherd.hub.transport import Threads\n"
        "async def main():\n"
        "    begun = threading.Event()\n"
        "    def stuck():\n"
        "        begun.set()\n"
        "        threading.Event().wait()\n"
        "    task = asyncio.get_running_loop().run_in_executor(Threads(1), stuck)\n"
        "    begun.wait()\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
