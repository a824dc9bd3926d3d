"""The one door to asyncssh: pinned host keys, keys in memory only, every wait bounded.

Options are pinned to what is fast and modern (measured: AES-GCM before ChaCha20; curve25519 and mlkem768 cost the
same), and nothing is read from the operator's own ~/.ssh or agent.
"""

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import ipaddress
import secrets
from collections.abc import AsyncIterator, Sequence

import asyncssh

from edgeherd.device import facts, scripts
from edgeherd.device.facts import Facts
from edgeherd.device.port import (
    AddressNotAllowedError,
    CredentialError,
    HostKeyMismatchError,
    Login,
    LoginRefusedError,
    OddAnswerError,
    SudoRefusedError,
    UnreachableError,
)

CONNECT_SECONDS = 10.0
LOGIN_SECONDS = 15.0
EXEC_SECONDS = 180.0
OUTPUT_BYTES = 4 * 1024 * 1024

_KEX = ("mlkem768x25519-sha256", "curve25519-sha256", "ecdh-sha2-nistp256")
_HOST_KEYS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_HOST_CERTIFICATES = tuple(f"{name}-cert-v01@openssh.com" for name in _HOST_KEYS)
_FINGERPRINT = "SHA256:"
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")


class _Client(asyncssh.SSHClient):
    """Asked about a host key that is not among the pinned keys: is its fingerprint pinned?

    Remembers which one was shown, so that a mismatch can say both fingerprints.
    """

    def __init__(self, pinned: tuple[str, ...]) -> None:
        self._pinned = pinned
        self.presented = ""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        self.presented = key.get_fingerprint()
        return self.presented in self._pinned

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        self.presented = key.get_fingerprint()
        return False


class SshSession:
    """A connection to a device. Implements `port.Session`."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection
        key = connection.get_server_host_key()
        self.fingerprint = key.get_fingerprint() if key is not None else ""

    async def observe(self, path: str) -> Facts:
        """See `port.Session`."""
        values = await self._run(scripts.OBSERVE, [path])
        try:
            return facts.parse(values)
        except ValueError as exc:
            raise OddAnswerError(str(exc)) from None

    async def apply(self, path: str, *, before: str, content: bytes) -> str:
        """See `port.Session`."""
        after = hashlib.sha256(content).hexdigest()
        body = base64.encodebytes(content).decode()
        values = await self._run(scripts.APPLY, [path, before, after], body)
        return values.get("result", b"").decode("ascii", "replace").strip()

    async def place(self, path: str, content: bytes, *, like: str) -> str:
        """See `port.Session`."""
        after = hashlib.sha256(content).hexdigest()
        body = base64.encodebytes(content).decode()
        values = await self._run(scripts.PLACE, [path, like, after], body)
        return values.get("result", b"").decode("ascii", "replace").strip()

    async def restart(self) -> None:
        """See `port.Session`."""
        await self._run(scripts.RESTART, [])

    async def _run(self, command: str, parameters: list[str], body: str = "") -> dict[str, bytes]:
        """Run one fixed script; what it said, by name."""
        if any("\n" in parameter for parameter in parameters):
            message = "a parameter holds a line break"
            raise OddAnswerError(message)
        nonce = secrets.token_hex(16)
        stdin = "\n".join([nonce, *parameters, body])
        try:
            async with asyncio.timeout(EXEC_SECONDS):
                output, errors, status = await self._exchange(command, stdin.encode())
        except TimeoutError:
            message = f"the device did not finish within {EXEC_SECONDS:.0f} s"
            raise UnreachableError(message) from None
        except (OSError, asyncssh.Error) as exc:
            raise UnreachableError(_cause(exc)) from None
        values = facts.framed(output, nonce)
        if not values:
            if b"sudo:" in errors or b"sudo: " in output:
                message = "sudo asks for a password"
                raise SudoRefusedError(message)
            message = f"the device's shell answered nothing that belongs to the script (exit status {status})"
            raise OddAnswerError(message)
        return values

    async def _exchange(self, command: str, stdin: bytes) -> tuple[bytes, bytes, int | None]:
        process = await self._connection.create_process(command, encoding=None, stderr=asyncssh.PIPE)
        try:
            # A shell that has ended already reads nothing more; what it said, and how it ended, is still to be heard.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(stdin)
                process.stdin.write_eof()
            output, errors = await asyncio.gather(_capped(process.stdout), _capped(process.stderr))
            await process.wait_closed()
            if process.exit_status is None and not output:
                raise UnreachableError("the device closed the connection")
            return output, errors, process.exit_status
        finally:
            # Not waited for: a command that hangs on the device would hold us beyond every deadline.
            process.close()


async def _capped(reader: asyncssh.SSHReader[bytes]) -> bytes:
    """All that comes, but not more than a device may say."""
    parts: list[bytes] = []
    total = 0
    while chunk := await reader.read(65536):
        total += len(chunk)
        if total > OUTPUT_BYTES:
            message = f"the device sent more than {OUTPUT_BYTES} bytes"
            raise OddAnswerError(message)
        parts.append(chunk)
    return b"".join(parts)


def _cause(exc: Exception) -> str:
    """A failure in words that do not change from try to try and repeat nothing that the device said."""
    if isinstance(exc, asyncssh.DisconnectError):
        return "the device closed the connection"
    if isinstance(exc, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror.lower()
    return type(exc).__name__


@dataclasses.dataclass(frozen=True, slots=True)
class _Pins:
    """What is known of the device's host key."""

    keys: list[asyncssh.SSHKey]
    authorities: list[asyncssh.SSHKey]
    revoked: list[asyncssh.SSHKey]
    prints: tuple[str, ...]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of all that is trusted."""
        return (*(key.get_fingerprint() for key in [*self.keys, *self.authorities]), *self.prints)

    @property
    def algorithms(self) -> list[str]:
        """The kinds that are pinned first, then all others: a device without them still shows what it has."""
        pinned = [name.decode() for key in self.keys for name in key.sig_algorithms]
        certificates = _HOST_CERTIFICATES if self.authorities else ()
        return list(dict.fromkeys([*certificates, *(name for name in pinned if name in _HOST_KEYS), *_HOST_KEYS]))


def _pinned(login: Login) -> _Pins:
    """The host keys and the host certificate authorities that are trusted for this device."""
    keys: list[asyncssh.SSHKey] = []
    authorities: list[asyncssh.SSHKey] = []
    revoked: list[asyncssh.SSHKey] = []
    try:
        for line in login.host_keys:
            if line.startswith(_FINGERPRINT):
                continue
            is_authority = line.startswith("@cert-authority ")
            key = asyncssh.import_public_key(line.removeprefix("@cert-authority "))
            (authorities if is_authority else keys).append(key)
        if login.known_hosts:
            address = login.host if _is_address(login.host) else ""
            matches = asyncssh.import_known_hosts(login.known_hosts).match(login.host, address, login.port)
            keys.extend(matches[0])
            authorities.extend(matches[1])
            revoked.extend(matches[2])
    except (ValueError, asyncssh.Error):
        message = "a pinned host key cannot be read"
        raise CredentialError(message) from None
    prints = tuple(line for line in login.host_keys if line.startswith(_FINGERPRINT))
    return _Pins(keys, authorities, revoked, prints)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _client_keys(login: Login) -> Sequence[asyncssh.SSHKeyPair]:
    try:
        key = asyncssh.import_private_key(login.private_key, login.passphrase)
        if not login.certificate:
            return asyncssh.load_keypairs([key])
        return asyncssh.load_keypairs([(key, asyncssh.import_certificate(login.certificate))])
    except ValueError as exc:
        # All of asyncssh's errors about keys are this one; only its words tell a lock from garbage.
        is_locked = isinstance(exc, asyncssh.KeyEncryptionError) or any(
            word in str(exc).lower() for word in ("passphrase", "decrypt")
        )
        why = (
            "is encrypted, and the passphrase is missing or wrong" if is_locked else "or its certificate cannot be read"
        )
        message = f"the private key {why}"
        raise CredentialError(message) from None


async def _address(login: Login) -> str:
    """The address to connect to: checked first, then used, so that a second lookup cannot differ."""
    if not login.allowed_networks:
        return login.host
    try:
        found = await asyncio.get_running_loop().getaddrinfo(login.host, login.port)
    except OSError as exc:
        raise UnreachableError(_cause(exc)) from None
    networks = [ipaddress.ip_network(network, strict=False) for network in login.allowed_networks]
    for *_, address in found:
        if any(ipaddress.ip_address(address[0]) in network for network in networks):
            return str(address[0])
    message = "its address is in none of the HubConnection's allowedCIDRs"
    raise AddressNotAllowedError(message)


@contextlib.asynccontextmanager
async def connect(login: Login) -> AsyncIterator[SshSession]:
    """A session with the device.

    Raises:
        CredentialError: a key cannot be read; nothing was sent.
        AddressNotAllowedError: the host is outside of the allowed networks; nothing was sent.
        HostKeyMismatchError: the device showed another host key; nothing was sent.
        LoginRefusedError: the device refuses user and key.
        UnreachableError: anything else on the way.
    """
    pins = _pinned(login)
    client_keys = _client_keys(login)
    client = _Client(pins.prints)
    try:
        async with asyncio.timeout(CONNECT_SECONDS + LOGIN_SECONDS):
            connection, _ = await asyncssh.create_connection(
                lambda: client,
                await _address(login),
                login.port,
                config=None,
                username=login.user,
                client_keys=client_keys,
                known_hosts=(pins.keys, pins.authorities, pins.revoked),
                host_key_alias=login.host,
                server_host_key_algs=pins.algorithms,
                x509_trusted_certs=None,
                agent_path=None,
                kex_algs=_KEX,
                encryption_algs=_CIPHERS,
                compression_algs=["none"],
                preferred_auth=["publickey"],
                connect_timeout=CONNECT_SECONDS,
                login_timeout=LOGIN_SECONDS,
                keepalive_interval=15,
                keepalive_count_max=3,
            )
    except asyncssh.HostKeyNotVerifiable:
        presented = client.presented or "a key or certificate that is revoked, expired or for another host"
        raise HostKeyMismatchError(presented, pins.fingerprints) from None
    except asyncssh.PermissionDenied:
        message = "the device does not accept this user and key"
        raise LoginRefusedError(message) from None
    except TimeoutError:
        message = "it did not answer in time"
        raise UnreachableError(message) from None
    except asyncssh.KeyExchangeFailed:
        message = "no key exchange, cipher or host key type is common to both sides"
        raise UnreachableError(message) from None
    except (OSError, asyncssh.Error) as exc:
        raise UnreachableError(_cause(exc)) from None
    try:
        yield SshSession(connection)
    finally:
        connection.abort()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(connection.wait_closed(), 5)
