"""A program that a test starts cannot outlive its bound, nor can what it started."""

import os
import pathlib
import subprocess
import time

import pytest

import processes

SPINS = "echo $$ > pids; { echo $$; while :; do :; done; } & echo $! >> pids; while :; do :; done"


def _all_end(folder: pathlib.Path) -> bool:
    """Both of them, soon: a killed process needs a moment to end."""
    pids = [int(line) for line in (folder / "pids").read_text().split()]
    deadline = time.monotonic() + 20
    while any(map(processes.runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(pids) == 2 and not any(map(processes.runs, pids))


def test_what_hits_its_bound_is_gone_with_its_children(tmp_path: pathlib.Path) -> None:
    """They hold the pipes open, so a wait for the end of their output would be for ever."""
    with pytest.raises(subprocess.TimeoutExpired):
        processes.run(["sh", "-c", SPINS], cwd=tmp_path, seconds=1)
    assert _all_end(tmp_path)


async def test_the_same_beside_an_event_loop(tmp_path: pathlib.Path) -> None:
    """By `finished`."""
    with pytest.raises(TimeoutError):
        await processes.finished("sh", "-c", f"cd '{tmp_path}'; {SPINS}", seconds=1)
    assert _all_end(tmp_path)


def test_a_program_that_left_its_session_is_found_by_its_environment(tmp_path: pathlib.Path) -> None:
    """Only by the whole value."""
    environment = {**os.environ, "EDGEHERD_DEVICE_ROOT": str(tmp_path)}
    with processes.running(["sh", "-c", "echo up; exec sleep 600"], env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        processes.kill_all_with("EDGEHERD_DEVICE_ROOT", tmp_path.parent)
        assert process.poll() is None
        processes.kill_all_with("EDGEHERD_DEVICE_ROOT", tmp_path)
        assert process.wait(processes.SECONDS) == -9
