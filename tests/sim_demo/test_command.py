"""How the demo ends."""

import pathlib
import signal
import sys

import pytest

import processes
from waiting import wait_until


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGINT, 130, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 143, id="a supervisor ends it"),
    ],
)
def test_nothing_stays_when_the_demo_is_ended(number: signal.Signals, status: int) -> None:
    """The stand-ins that it started are stopped first."""
    with processes.running([sys.executable, "-m", "edgeherd", "demo"]) as demo:
        children = pathlib.Path(f"/proc/{demo.pid}/task/{demo.pid}/children")
        wait_until(lambda: len(children.read_text(encoding="ascii").split()) >= 2)
        started = [int(pid) for pid in children.read_text(encoding="ascii").split()]
        demo.send_signal(number)
        assert demo.wait(processes.SECONDS) == status
    assert [pid for pid in started if processes.runs(pid)] == []
