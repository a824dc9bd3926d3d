"""Dropbear in front of a simulated device: the SSH server of OpenWrt, of Yocto's small images and of many gateways."""

import contextlib
import dataclasses
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Protocol

import asyncssh
import pytest
from sshd_lab import LOOPBACK, key, private, public

import processes
from edgeherd.device.port import Login
from edgeherd_sim.devices.device import Device
from waiting import wait_until


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dropbear:
    """A server on loopback, whose user logs in by key."""

    folder: pathlib.Path
    port: int
    host_key: asyncssh.SSHKey
    client_key: asyncssh.SSHKey
    user: str

    @property
    def log(self) -> str:
        """What the server says of itself."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def connections(self) -> int:
        """How many there were, but for the first one, which only asked whether somebody listens."""
        return self.log.count("Child connection from") - 1

    def login(self, **other: object) -> Login:
        """A login that works, but for what is other."""
        good = Login(
            host="127.0.0.1",
            port=self.port,
            user=self.user,
            private_key=private(self.client_key),
            host_keys=(public(self.host_key),),
            limits=LOOPBACK,
        )
        return dataclasses.replace(good, **other)  # type: ignore[arg-type]


class StartDropbear(Protocol):
    """Starts one."""

    def __call__(self, *more: str, kind: str = "ssh-ed25519") -> Dropbear:
        """With these arguments, and a host key of this kind."""


@pytest.fixture
def start_dropbear(device: Device, tmp_path: pathlib.Path) -> Iterator[StartDropbear]:
    """Starts a real dropbear whose sessions are on the simulated device."""
    program = shutil.which("dropbear", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or shutil.which("dropbearconvert") is None:
        pytest.skip("dropbear is not installed: apt-get install dropbear-bin")
    if os.geteuid() != 0:
        pytest.skip("dropbear takes keys from the user's home alone, and only root can put another one there")
    running: list[subprocess.Popen[bytes]] = []

    def start(*more: str, kind: str = "ssh-ed25519") -> Dropbear:
        folder = tmp_path / f"dropbear{len(running)}"
        keys = folder / "home/.ssh"
        keys.mkdir(parents=True, mode=0o700)
        user = pwd.getpwuid(os.geteuid())
        lab = Dropbear(folder=folder, port=free_port(), host_key=key(kind), client_key=key(), user=user.pw_name)
        (keys / "authorized_keys").write_text(f"{public(lab.client_key)}\n")
        (folder / "openssh").write_bytes(
            lab.host_key.export_private_key("pkcs1-pem" if kind == "ssh-rsa" else "openssh")
        )
        convert = ["dropbearconvert", "openssh", "dropbear", str(folder / "openssh"), str(folder / "host_key")]
        processes.run(convert, check=True)
        # -e: the sessions get our environment, which says where the device is; but for PATH.
        forced = f"PATH='{device.environment['PATH']}' exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\""
        server = [program, "-F", "-E", "-e", "-s", "-p", f"127.0.0.1:{lab.port}", "-r", str(folder / "host_key")]
        server += ["-c", forced, *more]
        home = f'mount --bind {folder}/home {user.pw_dir} && exec "$0" "$@"'
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", home, *server, "-P", str(folder / "pid")],
                stderr=log,
                env=device.environment,
                start_new_session=True,
            )
        running.append(process)
        wait_until(lambda: process.poll() is not None or listens(lab.port))
        assert process.poll() is None, lab.log
        return lab

    yield start
    for process in running:
        process.terminate()
        process.wait(processes.SECONDS)
    if running:
        processes.kill_all_with("EDGEHERD_DEVICE_ROOT", device.environment["EDGEHERD_DEVICE_ROOT"])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
