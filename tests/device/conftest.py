"""OpenSSH's own sshd in front of a simulated device."""

import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator

import asyncssh
import pytest
import userlands
from script_lab import machine, tools, userland_name
from sshd_lab import Sshd, StartSshd

import processes
from edgeherd.device import scripts
from edgeherd.device.remote_command import RemoteCommand
from edgeherd.device.ssh import connector, session
from edgeherd_sim.devices.daemon import Pace
from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.hubdoor import Answer
from edgeherd_sim.devices.server import serve

collect_ignore = [] if userlands.wanted() else ["test_ssh_servers.py"]
"""What builds file systems is for `make test-shells`."""

__all__ = ["machine", "tools", "userland_name"]
"""Fixtures of the script lab."""


class _Hub:
    async def ask(self, connection: object) -> Answer:
        del connection
        return Answer(accepted=True)


@pytest.fixture
async def device(tmp_path: pathlib.Path) -> AsyncIterator[Device]:
    """The files, the programs and the daemon; its own SSH server is not used here."""
    pace = Pace(load=0.02, watchdog=0.05, pull=0.02)
    async with serve(root=tmp_path / "fleet", hub=_Hub(), pace=pace, bind="127.0.0.1") as fleet:
        yield fleet.devices[0]


@pytest.fixture(scope="session")
def sshd_program() -> str:
    """Where sshd is; skips where it is not, or where it would not let us in."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("OpenSSH's sshd is not installed")
    user, shell = pwd.getpwuid(os.geteuid()).pw_name, pwd.getpwuid(os.geteuid()).pw_shell
    if not os.access(shell, os.X_OK) or shell.endswith(("nologin", "false")):
        pytest.skip(f"sshd lets nobody in whose shell is '{shell}'")
    if _locked(user):
        pytest.skip(f"the account '{user}' is locked, and sshd lets nobody into such")
    if os.geteuid() == 0:
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own demand when it is root
    return program


def _locked(user: str) -> bool:
    """Whether sshd would say so; where /etc/shadow cannot be read, it cannot read it either."""
    try:
        lines = pathlib.Path("/etc/shadow").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith(f"{user}:!") for line in lines)


@pytest.fixture
def start_sshd(sshd_program: str, device: Device, tmp_path: pathlib.Path) -> Iterator[StartSshd]:
    """Starts a real sshd whose sessions are on the simulated device.

    It gets lines of configuration, its kinds of host keys, and commands that run before it in a mount namespace of its
    own.
    """
    running: list[subprocess.Popen[bytes]] = []

    def start(
        *more: str,
        kinds: tuple[str, ...] = ("ssh-ed25519",),
        host: str = "127.0.0.1",
        user: str = "",
        before: str = "",
    ) -> Sshd:
        folder = tmp_path / f"sshd{len(running)}"
        folder.mkdir()
        command = [sshd_program, "-D", "-e", "-f", str(folder / "config")]
        if before:
            command = ["unshare", "--mount", "sh", "-c", f'{before} && exec "$0" "$@"', *command]
        for _ in range(5):
            lab = Sshd(
                folder=folder,
                user=user or pwd.getpwuid(os.geteuid()).pw_name,
                port=_free_port(host),
                host=host,
                kinds=kinds,
                more=more,
            )
            lab.write_config(device.environment)
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(command, stderr=log, start_new_session=True)
            if _listens(lab, process):  # otherwise somebody was quicker to take the port
                running.append(process)
                return lab
        pytest.fail(f"sshd does not start:\n{lab.log}")

    yield start
    for process in running:
        process.terminate()
        process.wait(processes.SECONDS)
    if running:  # a session outlives its connection, and the server
        processes.kill_all_with("EDGEHERD_DEVICE_ROOT", device.environment["EDGEHERD_DEVICE_ROOT"])


@pytest.fixture
def sshd(start_sshd: StartSshd) -> Sshd:
    """One."""
    return start_sshd()


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _listens(lab: Sshd, process: "subprocess.Popen[bytes]") -> bool:
    """Wait until it says so, or ends."""
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        if f"Server listening on {lab.host} port {lab.port}" in lab.log:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
    if process.poll() is None:
        process.kill()
        process.wait(10)
    return False


@pytest.fixture(scope="session")
def stranger() -> asyncssh.SSHKey:
    """A key that nobody knows."""
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def short_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for; not for those that must get in, however slow the machine is."""
    monkeypatch.setattr(connector, "CONNECT_SECONDS", 0.6)
    monkeypatch.setattr(connector, "LOGIN_SECONDS", 0.6)


@pytest.fixture
def short_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A deadline and a cap that a test can wait for; what is sent is more than fits into a small window."""

    def set_to(seconds: float) -> None:
        command = RemoteCommand(command="look", lines=("x" * 100_000,), seconds=seconds)
        monkeypatch.setattr(scripts, "observe", lambda _: command)

    monkeypatch.setattr(session, "OUTPUT_BYTES", 256 * 1024)
    set_to(0.6)
    return set_to
