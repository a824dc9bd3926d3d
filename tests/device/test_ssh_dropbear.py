"""A session at a real Dropbear: what differs from OpenSSH."""

import asyncio

import pytest
from dropbear_lab import Dropbear, StartDropbear, start_dropbear
from sshd_lab import PATH, key, look, private
from test_ssh_session import change, configured

from edgeherd.device import scripts
from edgeherd.device.port import LoginRefusedError, Query, Result, UnreachableError
from edgeherd.device.remote_command import RemoteCommand
from edgeherd.device.ssh import SshConnector
from edgeherd_sim.devices.device import Device
from edgeherd_sim.memory import run_here

__all__ = ["start_dropbear"]
"""A fixture."""

LONGEST = 9_000
"""Dropbear's MAX_CMD_LEN (sysoptions.h): with a longer command it ends the whole connection."""


@pytest.fixture
def dropbear(start_dropbear: StartDropbear) -> Dropbear:
    """One."""
    return start_dropbear()


@pytest.mark.parametrize("command", [scripts.observe(Query()), scripts.check()], ids=["observe", "check"])
def test_every_command_has_room_to_spare(command: RemoteCommand) -> None:
    """It is the same one for all scripts, however long they get: they travel on standard input."""
    assert command.command == scripts.COMMAND
    assert len(scripts.COMMAND) < LONGEST / 10


async def test_a_longer_command_would_end_the_connection(dropbear: Dropbear, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what the limit is for. One character less, and it runs."""
    for length, error in ((LONGEST, None), (LONGEST + 1, UnreachableError)):
        text = f"{scripts.COMMAND} "
        command = RemoteCommand(
            command=text + "x" * (length - len(text)),
            script=scripts.observe(Query()).script,
            lines=(PATH, ""),
            seconds=20,
        )
        with monkeypatch.context() as patched:
            patched.setattr(scripts, "observe", lambda _, command=command: command)
            if error is None:
                assert await look(dropbear.login()) == "file"
            else:
                with pytest.raises(error):
                    await look(dropbear.login())


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
async def test_a_look_and_a_change(start_dropbear: StartDropbear, device: Device, kind: str) -> None:
    """With every kind of host key; of RSA it has no rsa-sha2-512. A file of 200 KB is many windows of 24 KB."""
    dropbear = start_dropbear(kind=kind)
    async with SshConnector(run_here).connect(dropbear.login()) as door:
        before = await door.observe(Query(path=PATH))
        content = configured(before) + (b"# " + b"a remark " * 120 + b"\n") * 180
        assert await door.apply(change(before, content)) is Result.APPLIED
        after = await door.observe(Query(path=PATH))
    assert (after.content, after.mode, device.restarts) == (content, before.mode, 1)


async def test_a_login_that_is_refused(dropbear: Dropbear) -> None:
    """It is told as such."""
    with pytest.raises(LoginRefusedError):
        await look(dropbear.login(private_key=private(key())))


async def test_many_devices_behind_one(start_dropbear: StartDropbear) -> None:
    """A Dropbear as a jump host: one connection to it, and a channel in it for each device.

    Four here, because it is one device, which takes five logins at once from one address (MAX_UNAUTH_PER_IP).
    """
    jump, device = start_dropbear(), start_dropbear()
    connector, through = SshConnector(run_here), jump.login()
    found = await asyncio.gather(*(look(device.login(jump=through), connector) for _ in range(4)))
    assert set(found) == {"file"}
    assert jump.connections == 1
