"""Servers that mean no good, until there is a login: each ends in time, and nothing of what it said is in the error."""

import asyncio
import contextlib
import os
import random
import struct

import asyncssh
import pytest
from rogue_lab import HOST_KEY, SAID, SOON, Rogue, between, ends, listening, login, raw, rogue, says
from sshd_lab import Sshd, key, public

from edgeherd.device.port import (
    DeviceError,
    HostKeyMismatchError,
    JumpHostError,
    LoginRefusedError,
    TurnedAwayError,
    UnreachableError,
)
from edgeherd.device.ssh import SshConnector
from edgeherd_sim.memory import run_here


@pytest.mark.usefixtures("short_login")
@pytest.mark.parametrize(
    ("text", "again"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"SSH-2.0-mind-the-gap\r\n", False, id="its name and nothing more"),
        pytest.param(b"SSH-1.5-mind-the-gap\r\n", False, id="a version of long ago"),
        pytest.param(b"HTTP/1.1 400 mind-the-gap\r\n\r\n", False, id="another protocol"),
        pytest.param(b"mind-the-gap\r\n", True, id="endless banners"),
        pytest.param(b"mind-the-gap" * 100, True, id="one endless line"),
        pytest.param(b"SSH-2.0-Odd\r\n" + b"\xff" * 64, False, id="a packet of nonsense"),
        pytest.param(b"SSH-2.0-Odd\r\n\x00\x00\x80\x00" + b"\x00" * 64, True, id="a packet that is long"),
        pytest.param(b"SSH-2.0-Odd\r\n\x00\x00\x00\x0c\x0a\x02" + b"\x00" * 10, True, id="endless ignored packets"),
        pytest.param(
            b"SSH-2.0-Odd\r\n" + struct.pack(">IBBI", 44, 8, 1, 2) + struct.pack(">I", 12) + SAID.encode() + bytes(14),
            False,
            id="a farewell",
        ),
    ],
)
async def test_what_is_no_ssh_server_is_unreachable_in_time(text: bytes, again: bool) -> None:
    """Silence, tarpits and noise all end at the deadline or before; asking for the host key too."""
    async with listening(says(text, again=again)) as port:
        await ends(port, UnreachableError)
        async with asyncio.timeout(SOON):
            with pytest.raises(UnreachableError):
                await SshConnector(run_here).host_key(login(port))


@pytest.mark.parametrize(
    ("text", "reset", "turned_away"),
    [
        pytest.param(b"", True, True, id="a reset, as Dropbear's with too many guests"),
        pytest.param(b"", False, True, id="an end"),
        pytest.param(
            b"Not allowed at this time\r\n", False, True, id="what OpenSSH 9.8 and later say after refused logins"
        ),
        pytest.param(b"Exceeded MaxStartups\r\n", False, True, id="what OpenSSH says with too many guests"),
        pytest.param(b"SSH-2.0-Odd\r\n", False, False, id="an end after its name"),
    ],
)
async def test_a_server_that_hangs_up_at_once(text: bytes, reset: bool, turned_away: bool) -> None:
    """It is told apart whether it ever spoke: this passes by itself. At a jump host too, and when its key is asked for."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reset:
            writer.transport.abort()
            return
        writer.write(text)
        await writer.drain()
        writer.close()

    async with listening(serve) as port:
        assert ("MaxStartups" in await ends(port, UnreachableError)) is turned_away
        assert ("MaxStartups" in await ends(port, JumpHostError, jump=login(port))) is turned_away
        with pytest.raises(UnreachableError) as caught:
            await SshConnector(run_here).host_key(login(port))
        assert isinstance(caught.value, TurnedAwayError) is turned_away


@pytest.mark.usefixtures("short_login")
async def test_a_tarpit_that_answers_byte_by_byte(sshd: Sshd) -> None:
    """Each answer comes in time, all of them do not."""
    async with between(sshd, lambda chunk, _: chunk, pause=0.05) as port:
        await ends(port, UnreachableError, host_keys=(public(sshd.host_key),))


@pytest.mark.usefixtures("short_login")
async def test_bytes_that_somebody_changed_on_the_way(sshd: Sshd) -> None:
    """Wherever it is: nothing but a DeviceError comes of it, and never another host key."""
    dice = random.Random(7)  # noqa: S311 - nothing is kept secret with it
    good = public(sshd.host_key)

    async def one(where: int, flip: int) -> None:
        def change(chunk: bytes, start: int) -> bytes:
            changed = bytearray(chunk)
            if start <= where < start + len(chunk):
                changed[where - start] ^= flip
            return bytes(changed)

        async with between(sshd, change) as port:
            with contextlib.suppress(DeviceError):
                async with SshConnector(run_here).connect(sshd.login(port=port, host_keys=(good,))) as there:
                    assert there.fingerprint == sshd.host_key.get_fingerprint()
            with contextlib.suppress(DeviceError):
                assert await SshConnector(run_here).host_key(sshd.login(port=port)) == good

    for _ in range(8):
        await asyncio.gather(*(one(dice.randrange(2200), 1 << dice.randrange(8)) for _ in range(12)))


async def test_another_host_key() -> None:
    """It hears no user name."""
    heard: list[str] = []

    class Listens(Rogue):
        def begin_auth(self, username: str) -> bool:
            heard.append(username)
            return True

    async with rogue(Listens) as port:
        await ends(port, HostKeyMismatchError, host_keys=(public(key()),))
    assert not heard


@pytest.mark.usefixtures("short_login")
async def test_endless_banners_before_the_login() -> None:
    """In packets of their own."""

    class Talks(Rogue):
        async def begin_auth(self, username: str) -> bool:
            del username
            assert self.connection is not None
            while not self.connection.is_closed():
                self.connection.send_auth_banner(SAID * 100)
                await asyncio.sleep(0)
            return True

    async with rogue(Talks) as port:
        assert await ends(port, UnreachableError) == "it did not answer in time"


@pytest.mark.usefixtures("short_login")
async def test_silence_after_the_key_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is let in, and nobody is refused."""

    class Silent(Rogue):
        async def begin_auth(self, username: str) -> bool:
            del username
            await asyncio.sleep(60)
            return True

    async with rogue(Silent) as port:
        assert await ends(port, UnreachableError) == "it did not answer in time"
        monkeypatch.undo()
        assert await SshConnector(run_here).host_key(login(port)) == public(HOST_KEY)


async def test_refusals_without_end() -> None:
    """Each with the same offer; every method is tried once, and the password sent once."""
    tried: list[str] = []

    class Refuses(Rogue):
        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            del username, key
            tried.append("key")
            return False

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            del username
            tried.append(password)
            return False

    async with rogue(Refuses) as port:
        await ends(port, LoginRefusedError, password="mauve")
    assert tried == ["key", "mauve"]


async def test_a_farewell_in_its_own_words() -> None:
    """They are not repeated."""

    class Leaves(Rogue):
        def begin_auth(self, username: str) -> bool:
            del username
            assert self.connection is not None
            self.connection.disconnect(asyncssh.DISC_BY_APPLICATION, SAID)
            return True

    async with rogue(Leaves) as port:
        assert await ends(port, UnreachableError) == "the device closed the connection"


async def test_garbage_after_the_key_exchange() -> None:
    """No packet has such a tag."""

    class Garbles(Rogue):
        def begin_auth(self, username: str) -> bool:
            del username
            assert self.connection is not None
            raw(self.connection).write(os.urandom(4096))
            return True

    async with rogue(Garbles) as port:
        await ends(port, UnreachableError)
