"""Connections to devices, straight or through a jump host.

Options are pinned (`algorithms` says to what), and nothing is read from the operator's own ~/.ssh or agent. Nothing is forwarded: no agent, no X11, no port.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import getpass
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import asyncssh

from edgeherd.device import addresses
from edgeherd.device.port import (
    CredentialError,
    DeviceError,
    HostKeyMismatchError,
    JumpHostError,
    Login,
    LoginRefusedError,
    TurnedAwayError,
    UnreachableError,
)
from edgeherd.device.ssh import algorithms, keys, trust
from edgeherd.device.ssh.session import SshSession, cause, fingerprint
from edgeherd.fence import OPEN, Fence
from edgeherd.worker import Run

CONNECT_SECONDS = 10.0
"""Until there is a connection."""
LOGIN_SECONDS = 15.0
"""From then on, until there is a login."""
KEEPALIVE_SECONDS = 15
"""A connection on which three of these go unanswered is given up."""
KEY_PROCESSES = 2
KEY_SECONDS = 20.0
"""How many keys are read at once, and how long one may take; at the limits of `keys` it takes 3 s (measured)."""
ADDRESSES = 3
"""So many of a host's addresses are tried: whoever serves its name could list more than there is time for."""

_IGNORE = 2
"""SSH_MSG_IGNORE: asyncssh sends an empty one before each packet, for ciphers in CBC mode. There is none among ours, and
without them there are half as many packets."""
_OPTIONS: Mapping[str, object] = {
    "config": None,
    "agent_path": None,
    "gss_host": None,
    "x509_trusted_certs": None,
    "x509_trusted_cert_paths": [],
    "kex_algs": algorithms.KEX,
    "encryption_algs": algorithms.CIPHERS,
    "mac_algs": algorithms.MACS,
    "compression_algs": ["none"],
    "login_timeout": 0,  # the deadline is ours
    "keepalive_interval": KEEPALIVE_SECONDS,
    "keepalive_count_max": 3,
}

_RESOLVERS = concurrent.futures.ThreadPoolExecutor(max_workers=32, thread_name_prefix="resolver")
"""Of its own: names that hang must not hold up anything else that needs a thread."""

_TURNED_AWAY = (
    "it closed the connection before it said anything; OpenSSH does so with too many at once (MaxStartups) and, from 9.8 on, "
    "for some time after refused logins (PerSourcePenalties)"
)

_Tunnel = asyncssh.SSHClientConnection | None
_T = TypeVar("_T")


class _Client(asyncssh.SSHClient):
    """Asked about a host key that is not among the pinned keys: is its fingerprint pinned?

    Remembers which one was shown, so that a mismatch can say both fingerprints.
    """

    def __init__(self, deadline: asyncio.Timeout, pinned: tuple[str, ...] = ()) -> None:
        self._deadline = deadline
        self._pinned = pinned
        self.presented = ""
        self.refused: CredentialError | None = None
        self.password_expired = False
        self._connection: asyncssh.SSHClientConnection | None = None

    @property
    def turned_away(self) -> bool:
        """Whether there was a connection, and nobody said a word in it."""
        return self._connection is not None and not self._connection.get_extra_info("server_version")

    @property
    def offered(self) -> bytes:
        """What the server said that it has; asyncssh keeps it for the hash of the exchange."""
        return getattr(self._connection, "_server_kexinit", b"")

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn
        send = conn.send_packet

        def send_what_counts(kind: int, *parts: bytes, **options: Any) -> None:
            if kind != _IGNORE:
                send(kind, *parts, **options)

        conn.send_packet = send_what_counts  # type: ignore[method-assign, assignment]
        if not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + LOGIN_SECONDS)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        self.presented = key.get_fingerprint()
        try:
            keys.refuse_large(key, "the host key that it shows")
        except CredentialError as exc:
            self.refused = exc
            return False
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

    users: int = 0
    opening: "asyncio.Task[asyncssh.SSHClientConnection] | None" = None

    async def connection(self, login: Login, known: trust.Trust) -> asyncssh.SSHClientConnection:
        """The one that is open or being opened; a new one when that failed or broke. One user's end is no other's."""
        task = self.opening
        if task is None or (task.done() and (task.exception() or task.result().is_closed())):
            task = self.opening = asyncio.create_task(_open(login, None, known))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """When nobody uses it any more."""
        if self.opening is None:
            return
        self.opening.cancel()
        await asyncio.wait([self.opening])
        if not self.opening.cancelled() and self.opening.exception() is None:
            await _close(self.opening.result())


class SshConnector:
    """Opens sessions. Devices behind one jump host share a connection to it while they are looked at."""

    def __init__(self, run: Run, *, fence: Fence = OPEN) -> None:
        """`run` is where keys are read; `fence` lets scripts pass that do more than look."""
        self._trust = trust.Trust(run)
        self._fence = fence
        self._jump_hosts: dict[Login, _Shared] = {}
        try:
            getpass.getuser()
        except (KeyError, OSError):
            # A container's user often has no name. asyncssh wants one, for ~/.ssh/config, which is not even read.
            os.environ["LOGNAME"] = "edgeherd"

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
            connection = await _open(login, tunnel, self._trust)
            try:
                jump_fingerprint = fingerprint(tunnel) if tunnel is not None else ""
                yield SshSession(connection, login.platform, jump_fingerprint=jump_fingerprint, fence=self._fence)
            finally:
                await _close(connection)

    async def host_key(self, login: Login) -> str:
        """The public host key that the host shows, as in a '.pub' file without comment. Nobody logs in.

        Raises:
            CredentialError: it is one that would cost too much to use.
            AddressNotAllowedError, JumpHostError, UnreachableError: as `connect`.
        """
        async with self._tunnel(login.jump) as tunnel:
            key = await _first(login, tunnel, lambda address: _shown(login, address, tunnel))
        keys.refuse_large(key, "the host key that it shows")
        return " ".join(key.export_public_key("openssh").decode().split()[:2])

    @contextlib.asynccontextmanager
    async def _tunnel(self, login: Login | None) -> AsyncIterator[_Tunnel]:
        if login is None:
            yield None
            return
        shared = self._jump_hosts.setdefault(login, _Shared())
        shared.users += 1
        try:
            try:
                connection = await shared.connection(login, self._trust)
            except DeviceError as exc:
                raise JumpHostError(exc) from None
            try:
                yield connection
            except UnreachableError:
                if connection.is_closed():
                    raise JumpHostError(UnreachableError("the connection to it broke")) from None
                raise
        finally:
            shared.users -= 1
            if not shared.users:
                del self._jump_hosts[login]
                await shared.close()


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
    look_up = asyncio.get_running_loop().run_in_executor(
        _RESOLVERS, lambda: socket.getaddrinfo(login.host, login.port, type=socket.SOCK_STREAM)
    )
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await look_up
    except TimeoutError:
        raise UnreachableError("its name could not be looked up in time") from None
    except UnicodeError:
        raise UnreachableError("its name is none that can be looked up") from None
    except OSError as exc:
        raise UnreachableError(cause(exc)) from None
    return addresses.allowed([str(entry[4][0]) for entry in found], login.limits)[:ADDRESSES]


async def _first(login: Login, tunnel: _Tunnel, attempt: Callable[[str], Awaitable[_T]]) -> _T:
    """What the first of the host's addresses gives that can be reached."""
    *others, last = await _addresses(login, tunnel)
    for address in others:
        with contextlib.suppress(UnreachableError):
            return await attempt(address)
    return await attempt(last)


async def _open(login: Login, tunnel: _Tunnel, known: trust.Trust) -> asyncssh.SSHClientConnection:
    """A connection with a login."""
    pins = await known.pinned(login)
    own = await known.client_keys(login)
    options = {
        **_OPTIONS,
        "username": login.user,
        "client_keys": own or None,
        "password": login.password,
        "known_hosts": (pins.keys, pins.authorities, pins.revoked),
        "host_key_alias": login.host,
        "server_host_key_algs": pins.algorithms,
        "preferred_auth": _methods(login),
    }
    return await _first(login, tunnel, lambda address: _connected(login, address, tunnel, pins, options))


async def _connected(
    login: Login, address: str, tunnel: _Tunnel, pins: trust.Pins, options: Mapping[str, object]
) -> asyncssh.SSHClientConnection:
    async with _attempt(pins.prints) as client:
        try:
            connection, _ = await asyncssh.create_connection(
                lambda: client, address, login.port, tunnel=tunnel, **options
            )
        except asyncssh.HostKeyNotVerifiable:
            if client.refused is not None and client.presented in pins.prints:
                raise client.refused from None
            presented = client.presented or "a key or certificate that is revoked, expired or for another host"
            raise HostKeyMismatchError(presented, pins.fingerprints) from None
        except asyncssh.PermissionDenied:
            if client.password_expired:
                raise LoginRefusedError("the password has expired") from None
            means = [*(["key"] if login.private_key else []), *(["password"] if login.password else [])]
            raise LoginRefusedError(f"it does not accept this user and {' and '.join(means)}") from None
    return connection


async def _shown(login: Login, address: str, tunnel: _Tunnel) -> asyncssh.SSHKey:
    async with _attempt() as client:
        options = asyncssh.SSHClientConnectionOptions(
            **_OPTIONS, client_keys=None, username=login.user, client_factory=lambda: client
        )
        key = await asyncssh.get_server_host_key(
            address,
            login.port,
            tunnel=tunnel,
            config=None,
            server_host_key_algs=algorithms.HOST_KEYS,
            options=options,
        )
    if key is None:
        raise UnreachableError("it shows no host key")
    return key


def _methods(login: Login) -> list[str]:
    """A server that wants both gets both, the key first."""
    return [
        *(["publickey"] if login.private_key else []),
        *(["password", "keyboard-interactive"] if login.password else []),
    ]


@contextlib.asynccontextmanager
async def _attempt(pinned: tuple[str, ...] = ()) -> AsyncIterator[_Client]:
    """One attempt to connect. What goes wrong on the way comes out as `UnreachableError`."""
    client = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS) as deadline:
            client = _Client(deadline, pinned)
            yield client
    except DeviceError:
        raise
    except TimeoutError:
        raise UnreachableError("it did not answer in time") from None
    except asyncssh.ChannelOpenError as exc:
        if exc.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
            message = "the jump host does not allow this connection (AllowTcpForwarding, PermitOpen)"
            raise UnreachableError(message) from None
        raise UnreachableError("the jump host cannot connect to it") from None
    except (asyncssh.DisconnectError, ConnectionError) as exc:
        if client is not None and client.turned_away:
            raise TurnedAwayError(_TURNED_AWAY) from None
        # The server ends it where it has no host key of a type that is asked for.
        lacks = algorithms.in_the_way(client.offered) if client is not None and not client.presented else ""
        raise UnreachableError(lacks or cause(exc)) from None
    except Exception as exc:  # noqa: BLE001 - packets that make no sense come out of asyncssh as anything
        raise UnreachableError(cause(exc)) from None
