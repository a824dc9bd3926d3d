"""Who the other side must be, and who we are: keys and certificates, parsed once for a content.

Parsing an RSA key costs 98 ms, one with a passphrase more, and known_hosts of a fleet 50 ms (measured): a pass over a
device must pay none of it, and the first one must not make all others wait, so it is done in a thread.
"""

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import asyncssh

from edgeherd.device import addresses
from edgeherd.device.port import CredentialError, Login

FINGERPRINT = "SHA256:"
AUTHORITY = "@cert-authority "
HOST_KEYS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_HOST_CERTIFICATES = tuple(f"{name}-cert-v01@openssh.com" for name in HOST_KEYS)
_PORT = 22
"""Lines of known_hosts name every port but this one."""

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, slots=True)
class Pins:
    """What is known of the other side's host key."""

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
        return list(dict.fromkeys([*certificates, *(name for name in pinned if name in HOST_KEYS), *HOST_KEYS]))


class _Once(Generic[_T]):
    """What a content was parsed to. Content that cannot be parsed is tried again each time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._values: list[_T] = []

    async def value(self, parse: Callable[[], _T]) -> _T:
        if not self._values:
            async with self._lock:
                if not self._values:
                    self._values.append(await asyncio.to_thread(parse))
        return self._values[0]


class _KnownHosts:
    """A known_hosts file. Trying 10,000 hashed lines costs as much as parsing them, so what was found is kept too."""

    def __init__(self, text: str) -> None:
        self.match = functools.lru_cache(maxsize=1024)(asyncssh.import_known_hosts(text).match)


@functools.lru_cache(maxsize=64)
def _known_hosts(text: str) -> _Once[_KnownHosts]:
    del text
    return _Once()


@functools.lru_cache(maxsize=4096)
def _private_key(content: bytes, passphrase: str | None) -> _Once[asyncssh.SSHKey]:
    del content, passphrase
    return _Once()


_public_key = functools.lru_cache(maxsize=4096)(asyncssh.import_public_key)


async def pinned(login: Login) -> Pins:
    """The host keys and the host certificate authorities that are trusted for this host.

    Raises:
        CredentialError: one of them cannot be read.
    """
    keys: list[asyncssh.SSHKey] = []
    authorities: list[asyncssh.SSHKey] = []
    revoked: list[asyncssh.SSHKey] = []
    try:
        for line in login.host_keys:
            if not line.startswith(FINGERPRINT):
                (authorities if line.startswith(AUTHORITY) else keys).append(_public_key(line.removeprefix(AUTHORITY)))
        text = login.known_hosts
        if text:
            known = await _known_hosts(text).value(lambda: _KnownHosts(text))
            address = login.host if addresses.parsed(login.host) else ""
            matches = known.match(login.host, address, login.port if login.port != _PORT else None)
            keys.extend(matches[0])
            authorities.extend(matches[1])
            revoked.extend(matches[2])
    except (ValueError, asyncssh.Error):
        message = "a pinned host key cannot be read"
        raise CredentialError(message) from None
    prints = tuple(line for line in login.host_keys if line.startswith(FINGERPRINT))
    return Pins(keys, authorities, revoked, prints)


async def client_keys(login: Login) -> Sequence[asyncssh.SSHKeyPair]:
    """What proves who we are; nothing for a login by password alone.

    Raises:
        CredentialError: the key or its certificate cannot be read.
    """
    content, passphrase = login.private_key, login.passphrase
    if not content:
        return []
    try:
        key = await _private_key(content, passphrase).value(lambda: asyncssh.import_private_key(content, passphrase))
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
