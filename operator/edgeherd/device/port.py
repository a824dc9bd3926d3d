"""What the operator asks of a device, and how it can fail. No policy here."""

import dataclasses
from typing import Protocol

from edgeherd.device.facts import Facts


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How to log in at a device. Secrets never show in a repr.

    `host_keys` are public keys as in a '.pub' file, which may start with '@cert-authority', or SHA256 fingerprints. `known_hosts` is the text
    of a known_hosts file. `allowed_networks` are CIDRs that the address must be in; none means any.
    """

    host: str
    port: int
    user: str
    private_key: bytes = dataclasses.field(repr=False)
    passphrase: str | None = dataclasses.field(repr=False, default=None)
    host_keys: tuple[str, ...] = ()
    known_hosts: str = dataclasses.field(repr=False, default="")
    certificate: bytes | None = None
    allowed_networks: tuple[str, ...] = ()


class DeviceError(Exception):
    """A session with the device did not do its work. The text holds nothing that the device said."""


class UnreachableError(DeviceError):
    """No connection, or it broke."""


class HostKeyMismatchError(DeviceError):
    """The device showed a host key that is not pinned. Nothing was sent to it."""

    def __init__(self, presented: str, expected: tuple[str, ...]) -> None:
        super().__init__(f"presented {presented}, expected {' or '.join(expected) or 'none'}")
        self.presented = presented
        self.expected = expected


class AddressNotAllowedError(DeviceError):
    """The host's address is in none of the allowed networks. Nothing was sent to it."""


class LoginRefusedError(DeviceError):
    """The device does not accept the user's key."""


class CredentialError(DeviceError):
    """The private key or a pinned host key cannot be read."""


class SudoRefusedError(DeviceError):
    """The user may not become root without a password."""


class OddAnswerError(DeviceError):
    """The device answered something else than the script says."""


class Session(Protocol):
    """One connection to one device."""

    fingerprint: str
    """The host key that was accepted, as 'SHA256:...'."""

    async def observe(self, path: str) -> Facts:
        """One look at the device; `path` is the daemon's file."""

    async def apply(self, path: str, *, before: str, content: bytes) -> str:
        """Replace the file if its SHA-256 still is `before`, and restart the daemon.

        Returns:
            'applied', 'changed' (by somebody else meanwhile), 'unwritable', 'incomplete' or 'owner'.
        """

    async def place(self, path: str, content: bytes, *, like: str) -> str:
        """Put a file on the device, unless it is there already. Only the owner of the file `like` can read it.

        Returns:
            'same', 'placed', 'unwritable', 'incomplete' or 'owner'.
        """

    async def restart(self) -> None:
        """Restart the daemon."""
