"""A Debian machine for each test, with a stand-in for the runtime, and a login at it."""

import os
import pathlib
from collections.abc import Iterator

import asyncssh
import build
import pytest

from edgeherd.device.port import Login
from machine import Machine, boot

SWITCH = "EDGEHERD_TEST_MACHINE"


@pytest.fixture(scope="session")
def base() -> pathlib.Path:
    """The machine's file system; skips where no machine is wanted or can be had."""
    if os.environ.get(SWITCH) != "1":
        pytest.skip(f"builds and boots a Debian machine as root: 'make test-device', or {SWITCH}=1")
    if why := build.trouble():
        pytest.skip(why)
    return build.base()


@pytest.fixture
def machine(base: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Machine]:
    """A fresh machine, which takes less than a second; without a runtime."""
    with boot(base, tmp_path / "log") as booted:
        yield booted


@pytest.fixture(scope="session")
def client_key() -> asyncssh.SSHKey:
    """What the user logs in with."""
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def login(machine: Machine, client_key: asyncssh.SSHKey) -> Login:
    """A login of the user who is not root, with the machine's host key pinned."""
    keys = f"/home/{build.USER}/.ssh/authorized_keys"
    machine.run("tee", keys, stdin=client_key.export_public_key("openssh"))
    return Login(
        host=machine.address,
        port=22,
        user=build.USER,
        private_key=client_key.export_private_key("openssh"),
        host_keys=(machine.host_key,),
    )
