"""Who the other side must be, and who we are: keys and certificates, parsed once for a content.

Parsing an RSA key costs 98 ms, one with a passphrase more, and known_hosts of a fleet 50 ms (measured): a pass over a
device must pay none of it.
"""

import dataclasses
import functools
from collections.abc import Sequence

import asyncssh

from edgeherd.device import addresses
from edgeherd.device.port import CredentialError, Login

FINGERPRINT = "SHA256:"
HOST_KEYS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_HOST_CERTIFICATES = tuple(f"{name}-cert-v01@openssh.com" for name in HOST_KEYS)


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


_known_hosts = functools.lru_cache(maxsize=64)(asyncssh.import_known_hosts)


def pinned(login: Login) -> Pins:
    """The host keys and the host certificate authorities that are trusted for this host.

    Raises:
        CredentialError: one of them cannot be read.
    """
    keys: list[asyncssh.SSHKey] = []
    authorities: list[asyncssh.SSHKey] = []
    revoked: list[asyncssh.SSHKey] = []
    try:
        for line in login.host_keys:
            if line.startswith(FINGERPRINT):
                continue
            is_authority = line.startswith("@cert-authority ")
            key = asyncssh.import_public_key(line.removeprefix("@cert-authority "))
            (authorities if is_authority else keys).append(key)
        if login.known_hosts:
            address = login.host if addresses.parsed(login.host) else ""
            matches = _known_hosts(login.known_hosts).match(login.host, address, login.port)
            keys.extend(matches[0])
            authorities.extend(matches[1])
            revoked.extend(matches[2])
    except (ValueError, asyncssh.Error):
        message = "a pinned host key cannot be read"
        raise CredentialError(message) from None
    prints = tuple(line for line in login.host_keys if line.startswith(FINGERPRINT))
    return Pins(keys, authorities, revoked, prints)


@functools.lru_cache(maxsize=256)
def _private_key(content: bytes, passphrase: str | None) -> asyncssh.SSHKey:
    return asyncssh.import_private_key(content, passphrase)


def client_keys(login: Login) -> Sequence[asyncssh.SSHKeyPair]:
    """What proves who we are; nothing for a login by password alone.

    Raises:
        CredentialError: the key or its certificate cannot be read.
    """
    if not login.private_key:
        return []
    try:
        key = _private_key(login.private_key, login.passphrase)
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
