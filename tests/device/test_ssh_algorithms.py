"""What a server must have, and what is said where it has not."""

import struct

import asyncssh
import pytest
from rogue_lab import Rogue, ends, rogue
from sshd_lab import StartSshd, look

from edgeherd.device.port import UnreachableError
from edgeherd.device.ssh import SshConnector, algorithms
from edgeherd_sim.memory import run_here


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(("Ciphers aes128-ctr",), id="aes128-ctr alone"),
        pytest.param(("Ciphers aes256-ctr", "MACs hmac-sha1"), id="and HMAC-SHA1"),
        pytest.param(("Ciphers aes128-gcm@openssh.com", "MACs hmac-md5"), id="no MAC is needed with GCM"),
        pytest.param(("KexAlgorithms diffie-hellman-group14-sha256",), id="the oldest key exchange"),
        pytest.param(("HostKeyAlgorithms rsa-sha2-256",), id="RSA as Dropbear has it"),
    ],
)
async def test_servers_that_are_good_enough(start_sshd: StartSshd, lines: tuple[str, ...]) -> None:
    """Hardened ones and old ones."""
    lab = start_sshd(*lines, kinds=("ssh-rsa", "ssh-ed25519"))
    assert await look(lab.login(host_keys=[f"SHA256:{_print(host_key)}" for host_key in lab.host_keys])) == "file"


def _print(host_key: asyncssh.SSHKey) -> str:
    return host_key.get_fingerprint().removeprefix("SHA256:")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(
            "Ciphers aes128-cbc,3des-cbc",
            f"no cipher is common to both: it offers aes128-cbc, 3des-cbc; edgeherd takes {', '.join(algorithms.CIPHERS)}",
            id="CBC",
        ),
        pytest.param(
            "MACs hmac-md5\nCiphers aes192-ctr,aes256-ctr",
            f"no MAC is common to both: it offers hmac-md5; edgeherd takes {', '.join(algorithms.MACS)}",
            id="MD5",
        ),
        pytest.param(
            "HostKeyAlgorithms ssh-rsa",
            f"no host key type is common to both: it offers ssh-rsa; edgeherd takes {', '.join(algorithms.HOST_KEYS)}",
            id="a host key that signs with SHA-1",
        ),
    ],
)
async def test_what_was_offered_and_what_was_asked_for_is_told(start_sshd: StartSshd, line: str, message: str) -> None:
    """When a session is opened, and when the host key is asked for."""
    lab = start_sshd(*line.splitlines(), kinds=("ssh-rsa",))
    with pytest.raises(UnreachableError) as caught:
        await look(lab.login())
    assert str(caught.value) == message
    with pytest.raises(UnreachableError) as caught:
        await SshConnector(run_here).host_key(lab.login())
    assert str(caught.value) == message


async def test_a_key_exchange_by_sha_1(start_sshd: StartSshd) -> None:
    """It has a sign of its own among the names, against an attack on sequence numbers."""
    lab = start_sshd("KexAlgorithms diffie-hellman-group14-sha1,diffie-hellman-group1-sha1")
    with pytest.raises(
        UnreachableError, match="no key exchange is common to both: it offers diffie-hellman-group14-sha1, "
    ):
        await look(lab.login())


def kexinit(*lists: bytes) -> bytes:
    """As RFC 4253, section 7.1, has it."""
    return bytes([20]) + bytes(16) + b"".join(struct.pack(">I", len(text)) + text for text in lists) + bytes(5)


GOOD = [",".join(names).encode() for names in (algorithms.KEX, algorithms.HOST_KEYS, algorithms.CIPHERS)]


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        pytest.param(b"", "", id="nothing was said"),
        pytest.param(kexinit(b"a"), "", id="half of it"),
        pytest.param(b"\x14" + bytes(16) + b"\xff\xff\xff\xff", "", id="a length that is none"),
        pytest.param(kexinit(*GOOD, GOOD[2], b"", b""), "", id="all that is needed"),
        pytest.param(kexinit(GOOD[0], GOOD[1], b"aes128-ctr", b"", b"hmac-sha2-256", b""), "", id="the least"),
        pytest.param(
            kexinit(b"", GOOD[1], GOOD[2], b"", b"", b""),
            f"no key exchange is common to both: it offers none; edgeherd takes {', '.join(algorithms.KEX)}",
            id="an empty list",
        ),
        pytest.param(
            kexinit(b"\x1b[31m,$(x),a b," + b"y" * 65 + b",ok\xff,ssh-odd", GOOD[1], GOOD[2], b"", b"", b""),
            f"no key exchange is common to both: it offers ssh-odd; edgeherd takes {', '.join(algorithms.KEX)}",
            id="what a terminal obeys, and what is too long",
        ),
        pytest.param(
            kexinit(b",".join(b"x%d" % number for number in range(500)), GOOD[1], GOOD[2], b"", b"", b""),
            (
                "no key exchange is common to both: it offers x0, x1, x2, x3, x4, x5, x6, x7, ...; edgeherd takes "
                f"{', '.join(algorithms.KEX)}"
            ),
            id="more than anybody reads",
        ),
    ],
)
def test_an_offer_that_is_read(offer: bytes, message: str) -> None:
    """Whoever listens there wrote it."""
    assert algorithms.in_the_way(offer) == message


async def test_a_farewell_after_the_key_exchange_is_no_question_of_algorithms() -> None:
    """There was one that both have."""

    class Leaves(Rogue):
        def begin_auth(self, username: str) -> bool:
            del username
            raise asyncssh.DisconnectError(2, "mind-the-gap")

    async with rogue(Leaves) as port:
        assert "common" not in await ends(port, UnreachableError)
