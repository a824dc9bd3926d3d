"""A real sshd's keys and configuration, and logins that fit it."""

import asyncio
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Mapping

import asyncssh

from edgeherd.device.port import Login

PASSPHRASE = "correct horse"


async def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something that must come true."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


def key() -> asyncssh.SSHKey:
    """A new key."""
    return asyncssh.generate_private_key("ssh-ed25519")


def public(private: asyncssh.SSHKey) -> str:
    """The public half, as in a `.pub` file."""
    return private.export_public_key("openssh").decode().strip()


def private(of: asyncssh.SSHKey, passphrase: str | None = None) -> bytes:
    """The private key file; with a passphrase as OpenSSL writes it, which needs no bcrypt."""
    return of.export_private_key("openssh" if passphrase is None else "pkcs8-pem", passphrase)


@dataclasses.dataclass(frozen=True)
class Sshd:
    """A server on loopback. Its host key has a certificate too; its user logs in by key or by certificate."""

    folder: pathlib.Path
    user: str
    port: int
    host: str = "127.0.0.1"

    @functools.cached_property
    def host_key(self) -> asyncssh.SSHKey:
        """What the server shows."""
        return key()

    @functools.cached_property
    def host_authority(self) -> asyncssh.SSHKey:
        """Who signed the server's certificate."""
        return key()

    @functools.cached_property
    def client_key(self) -> asyncssh.SSHKey:
        """What is in authorized_keys."""
        return key()

    @functools.cached_property
    def user_authority(self) -> asyncssh.SSHKey:
        """Whose certificates open the user's account."""
        return key()

    @property
    def log(self) -> str:
        """What the server says of itself, in detail."""
        return (self.folder / "log").read_text(errors="replace")

    def write_config(self, environment: Mapping[str, str]) -> None:
        """Everything that the server reads."""
        files = {
            "host_key": private(self.host_key),
            "host_key-cert.pub": self.host_authority.generate_host_certificate(
                self.host_key, "device", principals=["localhost"]
            ).export_certificate("openssh"),
            "authorized_keys": public(self.client_key).encode() + b"\n",
            "user_authority.pub": public(self.user_authority).encode() + b"\n",
            "config": self._config(environment).encode(),
        }
        for name, content in files.items():
            path = self.folder / name
            path.write_bytes(content)
            path.chmod(0o600)

    def _config(self, environment: Mapping[str, str]) -> str:
        settings = " ".join(f"{name}={environment[name]}" for name in ("EDGEHERD_DEVICE_ROOT", "HOME", "PATH"))
        return "\n".join(
            [
                f"Port {self.port}",
                f"ListenAddress {self.host}",
                f"HostKey {self.folder}/host_key",
                f"HostCertificate {self.folder}/host_key-cert.pub",
                f"AuthorizedKeysFile {self.folder}/authorized_keys",
                f"TrustedUserCAKeys {self.folder}/user_authority.pub",
                f"SetEnv {settings}",
                "PidFile none",
                "StrictModes no",
                "UsePAM no",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin prohibit-password",
                "LogLevel DEBUG",
                "",
            ]
        )

    def login(self, **other: object) -> Login:
        """A login that works, but for what is other."""
        good = Login(
            host=self.host,
            port=self.port,
            user=self.user,
            private_key=private(self.client_key),
            host_keys=(public(self.host_key),),
        )
        return dataclasses.replace(good, **other)  # type: ignore[arg-type]
