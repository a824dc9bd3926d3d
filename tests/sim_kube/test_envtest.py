"""Starting the real thing: whichever etcd is there, and nothing stays behind."""

import os
import pathlib
import signal
import sys

import pytest

import processes
import waiting
from edgeherd_sim.kube import control_plane, envtest

NAMES = ("etcd", "kube-apiserver", "kube-controller-manager")


def program(folder: pathlib.Path, name: str, script: str) -> None:
    """A program that is a line of shell."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("help_text", "last"),
    [
        ("echo '--unsafe-no-fsync'", "--unsafe-no-fsync=true"),
        ("echo '--unsafe-no-fsync' >&2; exit 2", "--unsafe-no-fsync=true"),
        ("echo '--data-dir'", "--listen-peer-urls=http://127.0.0.1:2"),
    ],
)
def test_etcd_writes_without_waiting_for_the_disk_where_it_can(
    tmp_path: pathlib.Path, help_text: str, last: str
) -> None:
    """Debian's 3.4 does not know how to, and ends at a flag that it does not know."""
    program(tmp_path, "etcd", help_text)
    assert control_plane.etcd(tmp_path, tmp_path, client=1, peer=2)[-1] == last


@pytest.mark.parametrize(
    ("programs", "message"),
    [((), "There is no program etcd in"), (("etcd",), "There is no program kube-apiserver in")],
)
def test_a_missing_program_is_named(tmp_path: pathlib.Path, programs: tuple[str, ...], message: str) -> None:
    """Before anything is started."""
    for name in programs:
        program(tmp_path, name, "exit 1")
    with pytest.raises(envtest.EnvtestError, match=message), envtest.start(tmp_path):
        pass


def test_a_server_that_ends_at_once_says_why(tmp_path: pathlib.Path) -> None:
    """With the end of its log."""
    program(tmp_path, "etcd", "[ $1 = --help ] || exec sleep 60")
    program(tmp_path, "kube-apiserver", "echo not today; exit 3")
    with pytest.raises(envtest.EnvtestError, match=r"ended with 3: (?s:.*)not today"), envtest.start(tmp_path):
        pass


@pytest.mark.parametrize(("programs", "answer"), [(NAMES[:2], False), (NAMES, True)])
def test_controllers_are_there_or_not(tmp_path: pathlib.Path, programs: tuple[str, ...], answer: bool) -> None:
    """What `setup-envtest` installs has none."""
    for name in programs:
        program(tmp_path, name, "exit 1")
    assert envtest.has_controllers(tmp_path) == answer


def test_a_controller_manager_that_ended_is_noticed(tmp_path: pathlib.Path) -> None:
    """A test that waits for it would only wait."""
    program(tmp_path, NAMES[2], "exit 4")
    server = envtest.RealServer(
        url="https://127.0.0.1:1",
        token="none",
        ca_file=tmp_path / "ca.crt",
        kubeconfig=tmp_path / "kubeconfig",
        audit_log=tmp_path / "audit.log",
        programs=tmp_path,
    )
    log = tmp_path / f"{NAMES[2]}.log"
    with pytest.raises(envtest.EnvtestError, match="ended with 4"), envtest.managed(server):
        waiting.wait_until(lambda: not started_with(log.parent))


KILLED = """
import signal
from edgeherd_sim.kube import envtest
with envtest.start(controllers=True) as server, envtest.managed(server):
    print("ready", flush=True)
    signal.pause()
"""


def test_no_program_outlives_the_process_that_started_it(tmp_path: pathlib.Path) -> None:
    """Whatever ended it; here what nobody can answer, SIGKILL."""
    if not envtest.has_controllers():
        pytest.skip(f"{envtest.ASSETS} names no folder with kube-apiserver and kube-controller-manager")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with processes.running([sys.executable, "-c", KILLED], env=environment) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
        waiting.wait_until(lambda: sorted(started_with(tmp_path)) == sorted(NAMES))
        os.kill(starter.pid, signal.SIGKILL)
        waiting.wait_until(lambda: not started_with(tmp_path))


def started_with(folder: pathlib.Path) -> list[str]:
    """The names of the running programs whose arguments name this folder."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(folder) in argument for argument in arguments[1:]):
            found.append(pathlib.Path(arguments[0]).name)
    return found
