"""Who we are: keys, certificates and passwords, at OpenSSH's own sshd."""

import getpass
import logging
import os
import traceback
from collections.abc import Callable

import asyncssh
import pytest
from sshd_lab import LOOPBACK, PASSPHRASE, Sshd, StartSshd, key, look, private, public

import processes
from edgeherd.device.port import CredentialError, DeviceError, Login, LoginRefusedError
from edgeherd.device.ssh import SshConnector
from edgeherd_sim.memory import run_here

PASSWORD = "mauve staple 7"
_HASH = "$6$edgeherd$LusSSoVB00nyhtOo7n78wQBEBHhvQZq.iJ8tGl7G0qA1bptLFySecBvsXBo.WINHBuZQv76YlsdzrsYzwKoUs0"
PASSWORDS = ("PasswordAuthentication yes", "PermitRootLogin yes")


def openssh_private(lab: Sshd) -> bytes:
    """What `ssh-keygen` writes when it is given a passphrase."""
    pytest.importorskip("bcrypt", reason="asyncssh reads OpenSSH's encrypted keys with bcrypt only")
    return lab.client_key.export_private_key("openssh", PASSPHRASE, rounds=64)


def certified(lab: Sshd, client: asyncssh.SSHKey) -> dict[str, object]:
    """A key that only its certificate lets in."""
    certificate = lab.user_authority.generate_user_certificate(client, "operator", principals=[lab.user])
    return {"private_key": private(client), "certificate": certificate.export_certificate("openssh")}


def authorized(lab: Sshd, kind: str) -> dict[str, object]:
    """Another key that is let in."""
    client = asyncssh.generate_private_key(kind)
    lab.authorize(client)
    return {"private_key": private(client)}


GOOD_LOGINS: dict[str, Callable[[Sshd], dict[str, object]]] = {
    "a key": lambda _: {},
    "an RSA key": lambda lab: authorized(lab, "ssh-rsa"),
    "an ECDSA key": lambda lab: authorized(lab, "ecdsa-sha2-nistp384"),
    "an encrypted key with its passphrase": lambda lab: {
        "private_key": private(lab.client_key, PASSPHRASE),
        "passphrase": PASSPHRASE,
    },
    "an encrypted key in OpenSSH's own format": lambda lab: {
        "private_key": openssh_private(lab),
        "passphrase": PASSPHRASE,
    },
    "a passphrase that the key does not need": lambda _: {"passphrase": PASSPHRASE},
    "a user certificate": lambda lab: certified(lab, key()),
    "a user certificate of an RSA key": lambda lab: certified(lab, key("ssh-rsa")),
    "a password too, which nobody asks for": lambda _: {"password": PASSWORD},
}


@pytest.mark.parametrize("name", GOOD_LOGINS)
async def test_a_login_that_works(sshd: Sshd, name: str) -> None:
    """The device is looked at through sudo, and the accepted host key is known by its fingerprint."""
    assert await look(sshd.login(**GOOD_LOGINS[name](sshd))) == "file"


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
    "one in OpenSSH's own format with a wrong passphrase": (
        lambda lab: {"private_key": openssh_private(lab), "passphrase": "battery staple"},
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
    connections = sshd.connections
    with pytest.raises(CredentialError) as caught:
        await look(sshd.login(**make(sshd)))
    assert str(caught.value) == message
    assert sshd.connections == connections


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
    with pytest.raises(LoginRefusedError, match=r"does not accept this user and key$"):
        await look(sshd.login(**make(sshd, stranger)))


def accounts(*, changed: int) -> str:
    """Commands that put a user with a password into accounts of our own; `changed` 0 lets the password expire."""
    lines = {
        "passwd": "root:x:0:0::/root:/bin/sh\npress:x:0:0::/root:/bin/sh\nsshd:x:65534:65534::/run/sshd:/bin/false\n",
        "shadow": f"root:*:20000:0:99999:7:::\npress:{_HASH}:{changed}:0:99999:7:::\nsshd:*:20000:0:99999:7:::\n",
    }
    lines["pam.d/sshd"] = "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n"
    commands = ["mount --make-rprivate /", "mount -t tmpfs none /mnt", "mkdir /mnt/pam.d"]
    for name, text in lines.items():
        commands += [f"printf %s '{text}' > /mnt/{name}", f"mount --bind /mnt/{name} /etc/{name}"]
    return " && ".join(commands)


@pytest.fixture
def with_password(start_sshd: StartSshd) -> Callable[..., Sshd]:
    """Starts an sshd at which 'press' has a password. The machine's own accounts stay as they are."""
    if os.geteuid() != 0 or processes.run(["unshare", "--mount", "true"]).returncode:
        pytest.skip("mount namespaces are not to be had here")

    def start(*more: str, changed: int = 20000) -> Sshd:
        return start_sshd(*more, *PASSWORDS, user="press", before=accounts(changed=changed))

    return start


async def test_a_password(with_password: Callable[..., Sshd]) -> None:
    """Alone, without any key."""
    assert await look(with_password().login(private_key=b"", password=PASSWORD)) == "file"


async def test_a_wrong_password(with_password: Callable[..., Sshd]) -> None:
    """It is sent once, and told apart."""
    lab = with_password()
    with pytest.raises(LoginRefusedError, match=r"does not accept this user and password$"):
        await look(lab.login(private_key=b"", password="guess"))
    assert lab.log.count("Failed password") == 1


async def test_a_server_that_wants_the_key_and_the_password(with_password: Callable[..., Sshd]) -> None:
    """It gets both; one alone is refused."""
    lab = with_password("AuthenticationMethods publickey,password")
    assert await look(lab.login(password=PASSWORD)) == "file"
    for alone in ({}, {"private_key": b"", "password": PASSWORD}):
        with pytest.raises(LoginRefusedError):
            await look(lab.login(**alone))
    with pytest.raises(LoginRefusedError, match=r"does not accept this user and key and password$"):
        await look(lab.login(password="guess"))


ASKS = ("UsePAM yes", "KbdInteractiveAuthentication yes", "PasswordAuthentication no")


async def test_a_password_that_pam_asks_for(with_password: Callable[..., Sshd]) -> None:
    """Keyboard-interactive, the only way in on many systems."""
    lab = with_password(*ASKS)
    assert await look(lab.login(private_key=b"", password=PASSWORD)) == "file"
    with pytest.raises(LoginRefusedError, match=r"this user and password$"):
        await look(lab.login(private_key=b"", password="guess"))


@pytest.mark.parametrize("more", [(), ("UsePAM yes",)], ids=["shadow", "PAM"])
async def test_an_expired_password(with_password: Callable[..., Sshd], more: tuple[str, ...]) -> None:
    """OpenSSH lets the user in and runs no command until there is a new one."""
    lab = with_password(*more, changed=0)
    with pytest.raises(LoginRefusedError, match=r"^the password has expired$"):
        await look(lab.login(private_key=b"", password=PASSWORD))


async def test_an_expired_password_shuts_out_the_key_too(with_password: Callable[..., Sshd]) -> None:
    """Where accounts are PAM's."""
    with pytest.raises(LoginRefusedError, match=r"^the password has expired$"):
        await look(with_password("UsePAM yes", changed=0).login())


async def test_an_expired_password_that_pam_wants_changed(with_password: Callable[..., Sshd]) -> None:
    """In the dialogue: nothing is changed."""
    with pytest.raises(LoginRefusedError):
        await look(with_password(*ASKS, changed=0).login(private_key=b"", password=PASSWORD))


class _Asks(asyncssh.SSHServer):
    """A server like those whose passwords are PAM's."""

    def begin_auth(self, username: str) -> bool:
        del username
        return True

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> object:
        del username, lang, submethods
        return "", "Welcome", "", [("Password: ", False)]

    def validate_kbdint_response(self, username: str, responses: list[str]) -> bool:
        return (username, responses) == ("press", [PASSWORD])


class _Expired(asyncssh.SSHServer):
    """A server that wants another password before it goes on."""

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        del username, password
        raise asyncssh.PasswordChangeRequired("Choose another one: ")

    def change_password(self, username: str, old_password: str, new_password: str) -> bool:
        del username, old_password, new_password
        pytest.fail("it was changed")


def _login_at(acceptor: asyncssh.SSHAcceptor, host_key: asyncssh.SSHKey, **other: object) -> Login:
    return Login(
        host="127.0.0.1",
        port=acceptor.get_port(),
        user="press",
        host_keys=(public(host_key),),
        limits=LOOPBACK,
        **other,  # type: ignore[arg-type]
    )


async def test_a_password_that_is_asked_for_in_a_dialogue() -> None:
    """Keyboard-interactive, as PAM does it: one question for the password is answered."""
    host_key = key()
    async with asyncssh.listen("127.0.0.1", 0, server_factory=_Asks, server_host_keys=[host_key]) as acceptor:
        async with SshConnector(run_here).connect(_login_at(acceptor, host_key, password=PASSWORD)):
            pass
        with pytest.raises(LoginRefusedError, match=r"this user and password$"):
            async with SshConnector(run_here).connect(_login_at(acceptor, host_key, password="guess")):
                pass


async def test_a_password_that_must_be_changed_is_not() -> None:
    """Nobody would know the new one."""
    host_key = key()
    async with asyncssh.listen("127.0.0.1", 0, server_factory=_Expired, server_host_keys=[host_key]) as acceptor:
        with pytest.raises(LoginRefusedError, match=r"^the password has expired$"):
            async with SshConnector(run_here).connect(_login_at(acceptor, host_key, password=PASSWORD)):
                pass


async def test_no_error_and_no_log_holds_a_secret(
    sshd: Sshd, stranger: asyncssh.SSHKey, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the text nor the traceback, nor the repr of the login, nor what asyncssh logs at DEBUG."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "asyncssh")
    secrets = [PASSPHRASE, "battery staple", PASSWORD, *private(sshd.client_key).decode().splitlines()[1:-1]]
    logins = [make(sshd) for make, _ in BAD_CREDENTIALS.values()]
    logins += [{"host_keys": (public(stranger),)}, {"private_key": private(stranger), "password": PASSWORD}]
    logins += [{"port": 1}, {"private_key": b"", "password": PASSWORD}, {"host": "10.0.0.1"}]
    logins += [{"jump": sshd.login(**other)} for other in logins]
    told = ""
    for other in logins:
        login = sshd.login(**other)
        with pytest.raises(DeviceError) as caught:
            await look(login)
        told += "".join(traceback.format_exception(caught.value)) + repr(login)
    await look(sshd.login())
    assert "Trying public key auth" in caplog.text
    told += caplog.text
    assert not [secret for secret in secrets if secret in told]


async def test_a_user_without_a_name_can_connect(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: asyncssh wants a name of us, though nobody else does."""

    def nobody(_: int) -> object:
        raise KeyError

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    login = sshd.login()
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert await look(login) == "file"
    assert getpass.getuser() == "edgeherd"


async def test_nothing_of_our_own_home_is_used(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor settings in ~/.ssh, nor an agent."""
    home = sshd.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/id_ed25519").write_bytes(private(sshd.client_key))
    (home / ".ssh/config").write_text("Host *\n  ProxyCommand false\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))
    with pytest.raises(LoginRefusedError):
        await look(sshd.login(private_key=b"", password="guess"))
    assert "Postponed publickey" not in sshd.log
    assert await look(sshd.login()) == "file"
    assert await SshConnector(run_here).host_key(sshd.login()) == public(sshd.host_key)
