"""The operator's SSH adapter against OpenSSH's own sshd."""

import asyncio
import base64
import hashlib
import hmac
import os
import stat
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncssh
import pytest
from sshd_lab import PASSPHRASE, Sshd, key, private, public, until

from edgeherd.device import scripts, ssh
from edgeherd.device.port import (
    AddressNotAllowedError,
    CredentialError,
    DeviceError,
    HostKeyMismatchError,
    Login,
    LoginRefusedError,
    OddAnswerError,
    SudoRefusedError,
    UnreachableError,
)
from edgeherd.sim.devices.device import Device

PATH = "/etc/iotedge/config.yaml"


async def look(login: Login) -> str:
    """Log in and look at the device; the kind of its file, which is 'file' when all went well."""
    async with ssh.connect(login) as session:
        return (await session.observe(PATH)).kind


def hashed_line(lab: Sshd) -> str:
    """A line of known_hosts as `ssh-keygen -H` leaves it."""
    salt = b"0123456789abcdefghij"
    digest = hmac.digest(salt, f"[{lab.host}]:{lab.port}".encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()} {public(lab.host_key)}\n"


GOOD_LOGINS: dict[str, Callable[[Sshd], dict[str, object]]] = {
    "a pinned key": lambda _: {},
    "one of two pinned keys": lambda lab: {"host_keys": (public(key()), public(lab.host_key))},
    "a pinned fingerprint": lambda lab: {"host_keys": (lab.host_key.get_fingerprint(),)},
    "a pinned key with a comment": lambda lab: {"host_keys": (f"{public(lab.host_key)} root@press-01",)},
    "a line of known_hosts": lambda lab: {
        "host_keys": (),
        "known_hosts": f"# mine\n[{lab.host}]:{lab.port} {public(lab.host_key)}\n",
    },
    "a hashed line of known_hosts": lambda lab: {"host_keys": (), "known_hosts": hashed_line(lab)},
    "a host authority": lambda lab: {
        "host": "localhost",
        "host_keys": (f"@cert-authority {public(lab.host_authority)}",),
    },
    "a host authority and allowed networks": lambda lab: {
        "host": "localhost",
        "host_keys": (f"@cert-authority {public(lab.host_authority)}",),
        "allowed_networks": ("127.0.0.0/8",),
    },
    "a host authority in known_hosts": lambda lab: {
        "host": "localhost",
        "host_keys": (),
        "known_hosts": f"@cert-authority * {public(lab.host_authority)}\n",
    },
    "an encrypted key with its passphrase": lambda lab: {
        "private_key": private(lab.client_key, PASSPHRASE),
        "passphrase": PASSPHRASE,
    },
    "an encrypted key in OpenSSH's own format": lambda lab: {
        "private_key": openssh_private(lab),
        "passphrase": PASSPHRASE,
    },
    "a user certificate": lambda lab: certified(lab, key()),
    "an address in an allowed network": lambda _: {"allowed_networks": ("10.0.0.0/8", "127.0.0.0/8")},
    "a name in an allowed network": lambda _: {"host": "localhost", "allowed_networks": ("127.0.0.0/8",)},
    "a name in known_hosts": lambda lab: {
        "host": "localhost",
        "host_keys": (),
        "known_hosts": f"[localhost]:{lab.port} {public(lab.host_key)}\n",
        "allowed_networks": ("127.0.0.0/8",),
    },
}


def openssh_private(lab: Sshd) -> bytes:
    """What `ssh-keygen` writes when it is given a passphrase."""
    pytest.importorskip("bcrypt", reason="asyncssh reads OpenSSH's encrypted keys with bcrypt only")
    return lab.client_key.export_private_key("openssh", PASSPHRASE, rounds=1)


def certified(lab: Sshd, client: asyncssh.SSHKey) -> dict[str, object]:
    """A key that only its certificate lets in."""
    certificate = lab.user_authority.generate_user_certificate(client, "operator", principals=[lab.user])
    return {"private_key": private(client), "certificate": certificate.export_certificate("openssh")}


@pytest.mark.parametrize("name", GOOD_LOGINS)
async def test_a_login_that_works(sshd: Sshd, name: str) -> None:
    """The device is looked at through sudo, and the accepted host key is known by its fingerprint."""
    async with ssh.connect(sshd.login(**GOOD_LOGINS[name](sshd))) as session:
        assert (await session.observe(PATH)).kind == "file"
        assert session.fingerprint == sshd.host_key.get_fingerprint()


def garbled(lab: Sshd) -> bytes:
    """A key file that lost a line."""
    lines = private(lab.client_key).splitlines(keepends=True)
    return b"".join(lines[:2] + lines[3:])


BAD_CREDENTIALS: dict[str, tuple[Callable[[Sshd], dict[str, object]], str]] = {
    "no key at all": (lambda _: {"private_key": b"hello"}, "the private key or its certificate cannot be read"),
    "a garbled key": (lambda lab: {"private_key": garbled(lab)}, "the private key or its certificate cannot be read"),
    "a public key for a private one": (
        lambda lab: {"private_key": public(lab.client_key).encode()},
        "the private key or its certificate cannot be read",
    ),
    "an encrypted key without its passphrase": (
        lambda lab: {"private_key": private(lab.client_key, PASSPHRASE)},
        "the private key is encrypted, and the passphrase is missing or wrong",
    ),
    "an encrypted key with a wrong passphrase": (
        lambda lab: {"private_key": private(lab.client_key, PASSPHRASE), "passphrase": "battery staple"},
        "the private key is encrypted, and the passphrase is missing or wrong",
    ),
    "a certificate that is none": (
        lambda _: {"certificate": b"ssh-ed25519-cert-v01@openssh.com AAAA"},
        "the private key or its certificate cannot be read",
    ),
    "a certificate of another key": (
        lambda lab: {**certified(lab, key()), "private_key": private(lab.client_key)},
        "the private key or its certificate cannot be read",
    ),
    "a pinned host key that is none": (
        lambda _: {"host_keys": ("ssh-ed25519 AAAA",)},
        "a pinned host key cannot be read",
    ),
    "a known_hosts that is none": (
        lambda _: {"host_keys": (), "known_hosts": "\x00\n* ssh-ed25519\n"},
        "a pinned host key cannot be read",
    ),
}


@pytest.mark.parametrize("name", BAD_CREDENTIALS)
async def test_a_credential_that_cannot_be_used_is_named_before_anything_is_sent(sshd: Sshd, name: str) -> None:
    """The message says which one, never what is in it; the server hears of nothing."""
    make, message = BAD_CREDENTIALS[name]
    connections = sshd.log.count("Connection from")
    with pytest.raises(CredentialError) as caught:
        await look(sshd.login(**make(sshd)))
    assert str(caught.value) == message
    assert sshd.log.count("Connection from") == connections


@pytest.mark.parametrize(
    "pin",
    [
        pytest.param(lambda other: {"host_keys": (public(other),)}, id="a pinned key"),
        pytest.param(lambda other: {"host_keys": (other.get_fingerprint(),)}, id="a pinned fingerprint"),
        pytest.param(lambda other: {"host_keys": (), "known_hosts": f"* {public(other)}\n"}, id="known_hosts"),
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
            lambda lab, _: {"host_keys": (), "known_hosts": f"[{lab.host}]:1 {public(lab.host_key)}\n"},
            id="known_hosts of another port",
        ),
        pytest.param(
            lambda lab, _: {"known_hosts": f"@revoked * {public(lab.host_key)}\n"}, id="a pinned key that was revoked"
        ),
        pytest.param(
            lambda _lab, _other: {"host_keys": (public(asyncssh.generate_private_key("ecdsa-sha2-nistp256")),)},
            id="a key of a kind that the device does not have",
        ),
    ],
)
async def test_nothing_else_makes_a_host_key_good(
    sshd: Sshd, stranger: asyncssh.SSHKey, pin: Callable[[Sshd, asyncssh.SSHKey], dict[str, object]]
) -> None:
    """Whatever is pinned, the server's key is none of it."""
    with pytest.raises(HostKeyMismatchError):
        await look(sshd.login(**pin(sshd, stranger)))
    assert "userauth-request" not in sshd.log


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda _, other: {"private_key": private(other)}, id="another key"),
        pytest.param(lambda _, __: {"user": "nobody-of-this-name"}, id="another user"),
        pytest.param(
            lambda lab, other: {
                "private_key": private(other),
                "certificate": key()
                .generate_user_certificate(other, "x", principals=[lab.user])
                .export_certificate("openssh"),
            },
            id="a certificate by somebody else",
        ),
    ],
)
async def test_a_refused_login_is_told_apart(
    sshd: Sshd, stranger: asyncssh.SSHKey, make: Callable[[Sshd, asyncssh.SSHKey], dict[str, object]]
) -> None:
    """The host is right, but it does not want us."""
    with pytest.raises(LoginRefusedError, match="does not accept this user and key"):
        await look(sshd.login(**make(sshd, stranger)))


async def test_no_error_holds_a_secret(sshd: Sshd, stranger: asyncssh.SSHKey) -> None:
    """Neither the text nor the traceback, nor the repr of the login."""
    secrets = [PASSPHRASE, "battery staple", *private(sshd.client_key).decode().splitlines()[1:-1]]
    logins = [make(sshd) for make, _ in BAD_CREDENTIALS.values()]
    logins += [{"host_keys": (public(stranger),)}, {"private_key": private(stranger)}, {"port": 1}]
    for other in logins:
        login = sshd.login(**other)
        with pytest.raises(DeviceError) as caught:
            await look(login)
        told = "".join(traceback.format_exception(caught.value)) + repr(login)
        assert not [secret for secret in secrets if secret in told]


async def test_an_address_outside_of_the_allowed_networks_is_never_called(sshd: Sshd) -> None:
    """Not even to say hello."""
    connections = sshd.log.count("Connection from")
    with pytest.raises(AddressNotAllowedError):
        await look(sshd.login(allowed_networks=("10.0.0.0/8", "::1/128")))
    assert sshd.log.count("Connection from") == connections


async def test_apply_goes_through_sudo_and_the_real_sshd(sshd: Sshd, device: Device) -> None:
    """Compare-and-swap, mode kept, one restart; a second try with the old hash changes nothing."""
    async with ssh.connect(sshd.login()) as session:
        before = await session.observe(PATH)
        assert before.content is not None
        content = before.content + b"# a remark\n" * 20000
        assert await session.apply(PATH, before=before.sha256, content=content) == "applied"
        assert await session.apply(PATH, before=before.sha256, content=b"late") == "changed"
        await session.restart()
        after = await session.observe(PATH)
    assert (after.content, after.mode) == (content, before.mode)
    assert stat.S_IMODE(device.config_file.stat().st_mode) == 0o400
    assert device.config_file.stat().st_uid == os.geteuid()
    assert device.restarts == 2


async def test_a_symbolic_link_is_refused(sshd: Sshd, device: Device) -> None:
    """It is seen, not read, and not replaced."""
    real = device.config_file.rename(device.config_file.with_name("elsewhere.yaml"))
    device.config_file.symlink_to(real)
    async with ssh.connect(sshd.login()) as session:
        facts = await session.observe(PATH)
        result = await session.apply(PATH, before=hashlib.sha256(real.read_bytes()).hexdigest(), content=b"new")
    assert (facts.kind, facts.content, result, device.restarts) == ("symlink", None, "changed", 0)
    assert device.config_file.is_symlink()


async def test_sudo_that_asks_for_a_password_is_told_apart(sshd: Sshd, device: Device) -> None:
    """There is nobody to type it."""
    device.faults.sudo_refuses()
    with pytest.raises(SudoRefusedError):
        await look(sshd.login())


async def test_a_line_break_in_a_parameter_is_never_sent(sshd: Sshd) -> None:
    """It would become another parameter."""
    async with ssh.connect(sshd.login()) as session:
        with pytest.raises(OddAnswerError, match="line break"):
            await session.observe("/etc/iotedge/config.yaml\n/etc/shadow")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param("yes", OddAnswerError, id="endless output"),
        pytest.param("yes >&2", OddAnswerError, id="endless complaints"),
        pytest.param("exec sleep 600", UnreachableError, id="a script that never ends"),
        pytest.param("echo Welcome; exit 0", OddAnswerError, id="a shell that says something else"),
        pytest.param("kill -9 $$", OddAnswerError, id="a shell that is killed"),
    ],
)
async def test_a_device_cannot_hold_or_flood_the_operator(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch, script: str, error: type[DeviceError]
) -> None:
    """What it may say is capped, and so is its time."""
    monkeypatch.setattr(scripts, "OBSERVE", script)
    monkeypatch.setattr(ssh, "OUTPUT_BYTES", 256 * 1024)
    monkeypatch.setattr(ssh, "EXEC_SECONDS", 1.0 if "sleep" in script else 20.0)
    async with asyncio.timeout(10):
        with pytest.raises(error):
            await look(sshd.login())


async def test_a_connection_that_breaks_during_a_script_is_unreachable(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator hears at once, not at the deadline."""
    monkeypatch.setattr(scripts, "OBSERVE", "kill -9 $PPID; sleep 60")
    async with asyncio.timeout(10):
        with pytest.raises(DeviceError):
            await look(sshd.login())


@pytest.mark.parametrize("step", ["sync", "mv"])
async def test_an_operator_that_goes_away_mid_apply_leaves_no_half_done_work(
    sshd: Sshd, device: Device, step: str
) -> None:
    """The device has all it needs by then: it finishes by itself, with the restart that a new file needs."""
    marker = device.root / "marker"
    program = device.root / "usr/bin" / step
    program.write_text(f'#!/bin/sh\ntouch "{marker}"\nsleep 0.3\nPATH=${{PATH#*:}} exec {step} "$@"\n')
    program.chmod(0o755)
    async with ssh.connect(sshd.login()) as session:
        before = await session.observe(PATH)
        assert before.content is not None
        content = before.content + b"# new\n"
        work = asyncio.create_task(session.apply(PATH, before=before.sha256, content=content))
        await until(marker.exists)
        work.cancel()
    await until(lambda: device.restarts > 0)
    assert device.config_file.read_bytes() == content
    assert [entry.name for entry in device.config_file.parent.iterdir()] == ["config.yaml"]


async def test_nobody_listens(sshd: Sshd) -> None:
    """A refused connection is named as such."""
    with pytest.raises(UnreachableError, match="the connection was refused"):
        await look(sshd.login(port=1))


async def test_a_name_that_is_nowhere(sshd: Sshd) -> None:
    """With and without allowed networks."""
    for networks in ((), ("10.0.0.0/8",)):
        with pytest.raises(UnreachableError):
            await look(sshd.login(host="no-such-host.invalid", allowed_networks=networks))


@asynccontextmanager
async def rogue(says: bytes, *, again: bool = False) -> AsyncIterator[int]:
    """Something that listens and is no SSH server; its port."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(says)
            while again:
                writer.write(says)
                await writer.drain()
                await asyncio.sleep(0)
            await asyncio.sleep(60)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("says", "again"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"SSH-2.0-Tarpit\r\n", False, id="its name and nothing more"),
        pytest.param(b"SSH-1.5-Ancient\r\n", False, id="a version of long ago"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", False, id="another protocol"),
        pytest.param(b"Welcome, please wait\r\n", True, id="endless banners"),
        pytest.param(b"x" * 1000, True, id="one endless line"),
        pytest.param(b"SSH-2.0-Odd\r\n" + b"\xff" * 64, False, id="a packet of nonsense"),
    ],
)
async def test_what_is_no_ssh_server_is_unreachable_in_time(
    monkeypatch: pytest.MonkeyPatch, stranger: asyncssh.SSHKey, says: bytes, again: bool
) -> None:
    """Silence, tarpits and noise all end at the deadline or before."""
    monkeypatch.setattr(ssh, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(ssh, "LOGIN_SECONDS", 0.2)
    async with rogue(says, again=again) as port:
        login = Login(
            host="127.0.0.1", port=port, user="x", private_key=private(stranger), host_keys=(public(stranger),)
        )
        async with asyncio.timeout(5):
            with pytest.raises(UnreachableError):
                await look(login)
