"""Who the other side must be, and who we are: keys and certificates, read once for a content.

Reading an RSA key costs 98 ms, one with a passphrase more, and known_hosts of a fleet 50 ms (measured): a pass over a
device must pay none of it, and the first one must not make all others wait, so a worker does it. A key comes back without
passphrase and is taken as it is, which costs 0.1 ms.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

import asyncssh

from edgeherd.cache import Cache, digest
from edgeherd.device import addresses
from edgeherd.device.port import CredentialError, Login
from edgeherd.device.ssh import keys
from edgeherd.device.ssh.algorithms import HOST_KEYS
from edgeherd.worker import Run, WorkerError

FINGERPRINT = "SHA256:"
AUTHORITY = "@cert-authority "
_HOST_CERTIFICATES = tuple(f"{name}-cert-v01@openssh.com" for name in HOST_KEYS)
_PORT = 22
"""Lines of known_hosts name every port but this one."""

CACHED_KEY_BYTES = 8 * 1024 * 1024
CACHED_HOST_BYTES = 4 * 1024 * 1024
"""Room for 1,400 RSA keys, and for what a known_hosts file says of 1,800 hosts: at least."""

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


_public_key = functools.lru_cache(maxsize=1024)(keys.public_key)


class Trust:
    """Reads what Logins name. `run` runs what may take long in a process of its own."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._private_keys = Cache[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate | None]](CACHED_KEY_BYTES)
        self._known_hosts = Cache[keys.KnownHosts](CACHED_HOST_BYTES)

    async def pinned(self, login: Login) -> Pins:
        """The host keys and the host certificate authorities that are trusted for this host.

        Raises:
            CredentialError: one of them cannot be read.
        """
        lines = [line for line in login.host_keys if not line.startswith(FINGERPRINT)]
        prints = tuple(line for line in login.host_keys if line.startswith(FINGERPRINT))
        pins = Pins(
            keys=[_pinned(line) for line in lines if not line.startswith(AUTHORITY)],
            authorities=[_pinned(line.removeprefix(AUTHORITY)) for line in lines if line.startswith(AUTHORITY)],
            revoked=[],
            prints=prints,
        )
        if login.known_hosts:
            known = await self._known(login)
            pins.keys.extend(map(_pinned, known.keys))
            pins.authorities.extend(map(_pinned, known.authorities))
            pins.revoked.extend(map(_pinned, known.revoked))
        return pins

    async def _known(self, login: Login) -> keys.KnownHosts:
        address = login.host if addresses.parsed(login.host) else ""
        about = (login.host, address, login.port if login.port != _PORT else None)

        async def read() -> tuple[keys.KnownHosts, int]:
            found: keys.KnownHosts = await _read(self._run, "known_hosts", keys.known_hosts, login.known_hosts, *about)
            return found, sum(len(line) for lines in found for line in lines)

        return await self._known_hosts.get(digest(login.known_hosts, *about), read)

    async def client_keys(self, login: Login) -> Sequence[asyncssh.SSHKeyPair]:
        """What proves who we are; nothing for a login by password alone.

        Raises:
            CredentialError: the key or its certificate cannot be read.
        """
        content, passphrase, certificate = login.private_key, login.passphrase, login.certificate
        if not content:
            return []

        async def read() -> tuple[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate | None], int]:
            exported = await _read(self._run, "the private key", keys.private_key, content, passphrase)
            # It was validated by the worker.
            key = asyncssh.import_private_key(exported, unsafe_skip_rsa_key_validation=True)
            if not certificate:
                return (key, None), len(exported)
            await _read(self._run, "the certificate", keys.check_certificate, certificate)
            size = len(exported) + len(certificate)
            return (key, asyncssh.import_certificate(certificate)), size

        key, certified = await self._private_keys.get(digest(content, passphrase, certificate), read)
        try:
            return asyncssh.load_keypairs([key if certified is None else (key, certified)])
        except ValueError:
            raise CredentialError("the private key or its certificate cannot be read") from None


async def _read(run: Run, what: str, function: Callable[..., _T], *arguments: object) -> _T:
    try:
        result: _T = await run(function, *arguments)
    except WorkerError as exc:
        message = f"{what} could not be read: {exc}"
        raise CredentialError(message) from None
    return result


def _pinned(line: str | bytes) -> asyncssh.SSHKey:
    try:
        return _public_key(line)
    except ValueError:
        message = "a pinned host key cannot be read"
        raise CredentialError(message) from None
