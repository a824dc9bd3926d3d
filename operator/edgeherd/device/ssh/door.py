"""Connections to devices, straight or through a jump host.

Options are pinned to what is fast and modern (measured: AES-GCM before ChaCha20; curve25519 and mlkem768 cost the
same), and nothing is read from the operator's own ~/.ssh or agent. Nothing is forwarded: no agent, no X11, no port.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator, Sequence

import asyncssh

from edgeherd.device import addresses
from edgeherd.device.port import (
    DeviceError,
    HostKeyMismatchError,
    JumpHostError,
    Login,
    LoginRefusedError,
    UnreachableError,
)
from edgeherd.device.ssh import trust
from edgeherd.device.ssh.session import SshSession, cause, fingerprint

CONNECT_SECONDS = 10.0
LOGIN_SECONDS = 15.0
KEEPALIVE_SECONDS = 15
"""A connection on which three of these go unanswered is given up."""

_KEX = ("mlkem768x25519-sha256", "curve25519-sha256", "ecdh-sha2-nistp256")
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")

_Tunnel = asyncssh.SSHClientConnection | None


class _Client(asyncssh.SSHClient):
    """Asked about a host key that is not among the pinned keys: is its fingerprint pinned?

    Remembers which one was shown, so that a mismatch can say both fingerprints.
    """

    def __init__(self, pinned: tuple[str, ...]) -> None:
        self._pinned = pinned
        self.presented = ""
        self.password_expired = False

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        self.presented = key.get_fingerprint()
        return self.presented in self._pinned

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        self.presented = key.get_fingerprint()
        return False

    def password_change_requested(self, prompt: str, lang: str) -> tuple[str, str]:
        del prompt, lang
        self.password_expired = True
        raise asyncssh.PermissionDenied("the password has expired")


@dataclasses.dataclass(slots=True)
class _Shared:
    """A connection to a jump host, and how many sessions go through it."""

    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    connection: _Tunnel = None
    users: int = 0


class SshDoor:
    """Opens sessions. Devices behind one jump host share a connection to it while they are looked at."""

    def __init__(self) -> None:
        self._jump_hosts: dict[Login, _Shared] = {}

    @contextlib.asynccontextmanager
    async def connect(self, login: Login) -> AsyncIterator[SshSession]:
        """A session with the device.

        Raises:
            CredentialError: a key cannot be read; nothing was sent.
            AddressNotAllowedError: the host is outside of the limits; nothing was sent.
            HostKeyMismatchError: the device showed another host key; nothing was sent.
            LoginRefusedError: the device refuses the user.
            JumpHostError: one of these, about the jump host.
            UnreachableError: anything else on the way.
        """
        async with self._tunnel(login.jump) as tunnel:
            connection = await _open(login, tunnel)
            try:
                jump_fingerprint = fingerprint(tunnel) if tunnel is not None else ""
                yield SshSession(connection, login.platform, jump_fingerprint=jump_fingerprint)
            finally:
                await _close(connection)

    async def host_key(self, login: Login) -> str:
        """The public host key that the host shows, as in a '.pub' file without comment. Nobody logs in.

        Raises:
            AddressNotAllowedError, JumpHostError, UnreachableError: as `connect`.
        """
        async with self._tunnel(login.jump) as tunnel:
            for address in await _addresses(login, tunnel):
                options = asyncssh.SSHClientConnectionOptions(
                    config=None, kex_algs=_KEX, encryption_algs=_CIPHERS, connect_timeout=CONNECT_SECONDS
                )
                with _failures():
                    async with asyncio.timeout(CONNECT_SECONDS + LOGIN_SECONDS):
                        key = await asyncssh.get_server_host_key(
                            address,
                            login.port,
                            tunnel=tunnel,
                            config=None,
                            server_host_key_algs=trust.HOST_KEYS,
                            options=options,
                        )
                if key is not None:
                    return " ".join(key.export_public_key("openssh").decode().split()[:2])
        raise UnreachableError("it shows no host key")

    @contextlib.asynccontextmanager
    async def _tunnel(self, login: Login | None) -> AsyncIterator[_Tunnel]:
        if login is None:
            yield None
            return
        shared = self._jump_hosts.setdefault(login, _Shared())
        shared.users += 1
        try:
            async with shared.lock:
                if shared.connection is None or shared.connection.is_closed():
                    try:
                        shared.connection = await _open(login, None)
                    except DeviceError as exc:
                        raise JumpHostError(exc) from None
            yield shared.connection
        finally:
            shared.users -= 1
            if not shared.users:
                del self._jump_hosts[login]
                if shared.connection is not None:
                    await _close(shared.connection)


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.abort()
    with contextlib.suppress(Exception):
        await asyncio.wait_for(connection.wait_closed(), 5)


async def _addresses(login: Login, tunnel: _Tunnel) -> list[str]:
    """Where to connect to: looked up once and checked, so that a second look-up cannot differ."""
    addresses.check_port(login)
    if tunnel is not None:
        addresses.check_remote(login)
        return [login.host]
    if addresses.parsed(login.host):
        return addresses.allowed([login.host], login.limits)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(login.host, login.port, type=1)
    except TimeoutError:
        raise UnreachableError("its name could not be looked up in time") from None
    except OSError as exc:
        raise UnreachableError(cause(exc)) from None
    return addresses.allowed([str(entry[4][0]) for entry in found], login.limits)


async def _open(login: Login, tunnel: _Tunnel) -> asyncssh.SSHClientConnection:
    """A connection with a login, at the first of the host's addresses that answers."""
    pins = trust.pinned(login)
    keys = trust.client_keys(login)
    *others, last = await _addresses(login, tunnel)
    for address in others:
        with contextlib.suppress(UnreachableError):
            return await _connected(login, address, tunnel, pins, keys)
    return await _connected(login, last, tunnel, pins, keys)


async def _connected(
    login: Login, address: str, tunnel: _Tunnel, pins: trust.Pins, keys: Sequence[asyncssh.SSHKeyPair]
) -> asyncssh.SSHClientConnection:
    client = _Client(pins.prints)
    try:
        with _failures():
            async with asyncio.timeout(CONNECT_SECONDS + LOGIN_SECONDS):
                connection, _ = await asyncssh.create_connection(
                    lambda: client,
                    address,
                    login.port,
                    tunnel=tunnel,
                    config=None,
                    username=login.user,
                    client_keys=keys,
                    password=login.password,
                    known_hosts=(pins.keys, pins.authorities, pins.revoked),
                    host_key_alias=login.host,
                    server_host_key_algs=pins.algorithms,
                    x509_trusted_certs=None,
                    agent_path=None,
                    kex_algs=_KEX,
                    encryption_algs=_CIPHERS,
                    compression_algs=["none"],
                    preferred_auth=_methods(login),
                    connect_timeout=CONNECT_SECONDS,
                    login_timeout=LOGIN_SECONDS,
                    keepalive_interval=KEEPALIVE_SECONDS,
                    keepalive_count_max=3,
                )
    except asyncssh.HostKeyNotVerifiable:
        presented = client.presented or "a key or certificate that is revoked, expired or for another host"
        raise HostKeyMismatchError(presented, pins.fingerprints) from None
    except asyncssh.PermissionDenied:
        what = "key" if login.private_key else "password"
        message = "the password has expired" if client.password_expired else f"it does not accept this user and {what}"
        raise LoginRefusedError(message) from None
    return connection


def _methods(login: Login) -> list[str]:
    """A server that wants both gets both, the key first."""
    return [
        *(["publickey"] if login.private_key else []),
        *(["password", "keyboard-interactive"] if login.password else []),
    ]


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """What goes wrong on the way, as `UnreachableError`; who is refused is the caller's."""
    try:
        yield
    except (asyncssh.HostKeyNotVerifiable, asyncssh.PermissionDenied):
        raise
    except TimeoutError:
        raise UnreachableError("it did not answer in time") from None
    except asyncssh.KeyExchangeFailed:
        message = "no key exchange, cipher or host key type is common to both sides"
        raise UnreachableError(message) from None
    except (OSError, asyncssh.Error) as exc:
        raise UnreachableError(cause(exc)) from None
