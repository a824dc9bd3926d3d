"""Who the other side is: pinned keys, fingerprints, known_hosts, authorities; and asking a host for its key."""

import asyncio
import base64
import hmac
from collections.abc import Callable

import asyncssh
import pytest
from sshd_lab import Sshd, StartSshd, key, look, private, public

from edgeherd.device.port import AddressNotAllowedError, HostKeyMismatchError, UnreachableError
from edgeherd.device.ssh import SshConnector, connector
from edgeherd_sim.memory import run_here

KINDS = ("ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519")


def hashed_line(lab: Sshd) -> str:
    """A line of known_hosts as `ssh-keygen -H` leaves it."""
    salt = b"0123456789abcdefghij"
    digest = hmac.digest(salt, f"[{lab.host}]:{lab.port}".encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()} {public(lab.host_key)}\n"


def known(text: str) -> dict[str, object]:
    """Nothing but known_hosts."""
    return {"host_keys": (), "known_hosts": text}


GOOD_PINS: dict[str, Callable[[Sshd], dict[str, object]]] = {
    "a key": lambda _: {},
    "two keys while they are changed": lambda lab: {"host_keys": (public(key()), public(lab.host_key))},
    "a key that comes from a file with a comment": lambda lab: {
        "host_keys": (f"{public(lab.host_key)} root@press-01",)
    },
    "a fingerprint": lambda lab: {"host_keys": (lab.host_key.get_fingerprint(),)},
    "two fingerprints": lambda lab: {"host_keys": (key().get_fingerprint(), lab.host_key.get_fingerprint())},
    "a key of another kind and a fingerprint": lambda lab: {
        "host_keys": (public(key("ecdsa-sha2-nistp256")), lab.host_key.get_fingerprint())
    },
    "an authority": lambda lab: {"host": "localhost", "host_keys": (f"@cert-authority {public(lab.host_authority)}",)},
    "an authority in known_hosts": lambda lab: {
        "host": "localhost",
        **known(f"@cert-authority * {public(lab.host_authority)}\n"),
    },
    "known_hosts": lambda lab: known(f"# mine\n[{lab.host}]:{lab.port} {public(lab.host_key)}\n"),
    "known_hosts with CR LF": lambda lab: known(f"# mine\r\n[{lab.host}]:{lab.port} {public(lab.host_key)}\r\n"),
    "known_hosts, hashed": lambda lab: known(hashed_line(lab)),
    "known_hosts, any port": lambda lab: known(f"{lab.host} {public(lab.host_key)}\n"),
    "known_hosts, a wildcard": lambda lab: known(f"[127.0.*]:{lab.port} {public(lab.host_key)}\n"),
    "known_hosts, a list of names": lambda lab: known(f"press-01,[{lab.host}]:{lab.port} {public(lab.host_key)}\n"),
    "known_hosts, another key revoked": lambda lab: known(
        f"@revoked * {public(key())}\n[{lab.host}]:{lab.port} {public(lab.host_key)}\n"
    ),
    "known_hosts, lines that nobody can read": lambda lab: known(
        f"{lab.host} ssh-future AAAA\n{lab.host} {public(lab.host_key)}\n"
    ),
    "known_hosts, a name": lambda lab: {
        "host": "localhost",
        **known(f"[localhost]:{lab.port} {public(lab.host_key)}\n"),
    },
}


@pytest.mark.parametrize("name", GOOD_PINS)
async def test_a_host_key_that_is_pinned(sshd: Sshd, name: str) -> None:
    """Whichever way."""
    async with SshConnector(run_here).connect(sshd.login(**GOOD_PINS[name](sshd))) as session:
        assert session.fingerprint == sshd.host_key.get_fingerprint()
        assert session.jump_fingerprint == ""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_host_with_many_keys_shows_the_one_that_is_pinned(start_sshd: StartSshd, kind: str) -> None:
    """Whatever it would rather show; and a host that has only that kind, too."""
    for lab in (start_sshd(kinds=KINDS), start_sshd(kinds=(kind,))):
        pinned = next(one for one in lab.host_keys if one.get_algorithm() == kind)
        async with SshConnector(run_here).connect(lab.login(host_keys=(public(pinned),))) as session:
            assert session.fingerprint == pinned.get_fingerprint()


@pytest.mark.parametrize(
    "pin",
    [
        pytest.param(lambda other: {"host_keys": (public(other),)}, id="a pinned key"),
        pytest.param(lambda other: {"host_keys": (other.get_fingerprint(),)}, id="a pinned fingerprint"),
        pytest.param(lambda other: known(f"* {public(other)}\n"), id="known_hosts"),
    ],
)
async def test_another_host_key_ends_everything_at_once(
    sshd: Sshd, stranger: asyncssh.SSHKey, pin: Callable[[asyncssh.SSHKey], dict[str, object]]
) -> None:
    """Both fingerprints are told, and no user name, key or command was sent."""
    with pytest.raises(HostKeyMismatchError) as caught:
        await look(sshd.login(**pin(stranger)))
    assert caught.value.presented == sshd.host_key.get_fingerprint()
    assert caught.value.expected == (stranger.get_fingerprint(),)
    assert "userauth-request" not in sshd.log


@pytest.mark.parametrize(
    "pin",
    [
        pytest.param(lambda _, other: {"host_keys": (f"@cert-authority {public(other)}",)}, id="another authority"),
        pytest.param(
            lambda lab, _: {"host_keys": (f"@cert-authority {public(lab.host_authority)}",)},
            id="a certificate for another name",
        ),
        pytest.param(
            lambda lab, _: known(f"[{lab.host}]:1 {public(lab.host_key)}\n"), id="known_hosts of another port"
        ),
        pytest.param(lambda lab, _: known(f"!{lab.host},* {public(lab.host_key)}\n"), id="known_hosts, all but this"),
        pytest.param(
            lambda lab, _: {"known_hosts": f"@revoked * {public(lab.host_key)}\n"}, id="a pinned key that was revoked"
        ),
        pytest.param(
            lambda lab, _: {
                "host": "localhost",
                "host_keys": (f"@cert-authority {public(lab.host_authority)}",),
                "known_hosts": f"@revoked * {public(lab.host_authority)}\n",
            },
            id="an authority that was revoked",
        ),
        pytest.param(
            lambda lab, _: {
                "host": "localhost",
                "host_keys": (f"@cert-authority {public(lab.host_authority)}",),
                "known_hosts": f"@revoked * {public(lab.host_key)}\n",
            },
            id="a certificate of a key that was revoked",
        ),
        pytest.param(
            lambda _lab, _other: {"host_keys": (public(asyncssh.generate_private_key("ecdsa-sha2-nistp256")),)},
            id="a key of a kind that the device does not have",
        ),
        pytest.param(lambda _lab, _other: {"host_keys": ()}, id="nothing is pinned"),
    ],
)
async def test_nothing_else_makes_a_host_key_good(
    sshd: Sshd, stranger: asyncssh.SSHKey, pin: Callable[[Sshd, asyncssh.SSHKey], dict[str, object]]
) -> None:
    """Whatever is pinned, the server's key is none of it."""
    with pytest.raises(HostKeyMismatchError):
        await look(sshd.login(**pin(sshd, stranger)))
    assert "userauth-request" not in sshd.log


async def test_a_host_is_asked_for_its_key(start_sshd: StartSshd) -> None:
    """The most modern one, as in a '.pub' file; nobody logs in, and it can be pinned as it is."""
    lab = start_sshd(kinds=KINDS)
    found = await SshConnector(run_here).host_key(lab.login(private_key=b"", host_keys=()))
    assert found == public(lab.host_keys[2])
    assert "userauth-request" not in lab.log
    assert "kex: algorithm" in lab.log
    assert await look(lab.login(host_keys=(found,))) == "file"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_host_is_asked_for_the_only_key_that_it_has(start_sshd: StartSshd, kind: str) -> None:
    """Never for its certificate."""
    lab = start_sshd(kinds=(kind,))
    assert await SshConnector(run_here).host_key(lab.login()) == public(lab.host_key)


async def test_a_host_is_asked_for_its_key_through_a_jump_host(start_sshd: StartSshd) -> None:
    """Which must be who it is."""
    jump, lab = start_sshd(), start_sshd()
    assert await SshConnector(run_here).host_key(lab.login(jump=jump.login())) == public(lab.host_key)
    assert "userauth-request" not in lab.log
    assert "userauth-request" in jump.log


async def test_a_host_that_may_not_be_connected_to_is_not_asked(sshd: Sshd) -> None:
    """The limits hold here too."""
    before = sshd.connections
    with pytest.raises(AddressNotAllowedError):
        await SshConnector(run_here).host_key(sshd.login(limits=sshd.login().limits.__class__()))
    assert sshd.connections == before


async def test_a_host_that_is_not_there_shows_no_key(sshd: Sshd) -> None:
    """Refused, and silent."""
    with pytest.raises(UnreachableError, match="the connection was refused"):
        await SshConnector(run_here).host_key(sshd.login(port=1))


async def test_a_silent_host_shows_no_key(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for longer than for a login."""
    monkeypatch.setattr(connector, "LOGIN_SECONDS", 0.2)
    async with await asyncio.start_server(lambda _, __: asyncio.sleep(60), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(30):
            with pytest.raises(UnreachableError, match="did not answer in time"):
                await SshConnector(run_here).host_key(sshd.login(port=port, private_key=private(key())))
