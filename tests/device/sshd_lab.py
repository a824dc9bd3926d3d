"""A real sshd's keys and configuration, and logins that fit it."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Protocol

import asyncssh

from edgeherd.device.port import Limits, Login, Query
from edgeherd.device.ssh import SshConnector
from edgeherd_sim.memory import run_here

PASSPHRASE = "correct horse"
PATH = "/etc/iotedge/config.yaml"
LOOPBACK = Limits(networks=("127.0.0.0/8", "::1/128"))


async def look(login: Login, connector: SshConnector | None = None) -> str:
    """Log in and look at the device; the kind of its file, which is 'file' when all went well."""
    async with (connector or SshConnector(run_here)).connect(login) as session:
        return (await session.observe(Query(path=PATH))).kind


def key(kind: str = "ssh-ed25519") -> asyncssh.SSHKey:
    """A new key."""
    return asyncssh.generate_private_key(kind)


def public(private: asyncssh.SSHKey) -> str:
    """The public half, as in a `.pub` file."""
    return private.export_public_key("openssh").decode().strip()


def private(of: asyncssh.SSHKey, passphrase: str | None = None) -> bytes:
    """The private key file; with a passphrase as OpenSSL writes it, which needs no bcrypt."""
    return of.export_private_key("openssh" if passphrase is None else "pkcs8-pem", passphrase)


@dataclasses.dataclass(frozen=True)
class Sshd:
    """A server on loopback. Its host key has a certificate too; its user logs in by key or by certificate.

    `more` are lines of its configuration that go before all others, so they win.
    """

    folder: pathlib.Path
    user: str
    port: int
    host: str = "127.0.0.1"
    kinds: tuple[str, ...] = ("ssh-ed25519",)
    more: tuple[str, ...] = ()

    @functools.cached_property
    def host_keys(self) -> tuple[asyncssh.SSHKey, ...]:
        """What the server shows, one of each kind."""
        return tuple(key(kind) for kind in self.kinds)

    @property
    def host_key(self) -> asyncssh.SSHKey:
        """The first of them."""
        return self.host_keys[0]

    @functools.cached_property
    def host_authority(self) -> asyncssh.SSHKey:
        """Who signed the server's certificate."""
        return key()

    @functools.cached_property
    def client_key(self) -> asyncssh.SSHKey:
        """What is in authorized_keys."""
        return key()

    @functools.cached_property
    def private_key(self) -> bytes:
        """Its file; each export of a key is different."""
        return private(self.client_key)

    @functools.cached_property
    def user_authority(self) -> asyncssh.SSHKey:
        """Whose certificates open the user's account."""
        return key()

    @property
    def log(self) -> str:
        """What the server says of itself, in detail."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def connections(self) -> int:
        """How many there were."""
        return self.log.count("Connection from ")

    def authorize(self, client: asyncssh.SSHKey) -> None:
        """Let one more key in."""
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(f"{public(client)}\n")

    def write_config(self, environment: Mapping[str, str]) -> None:
        """Everything that the server reads."""
        files = {
            "host_key-cert.pub": self.host_authority.generate_host_certificate(
                self.host_key, "device", principals=["localhost"]
            ).export_certificate("openssh"),
            "authorized_keys": public(self.client_key).encode() + b"\n",
            "user_authority.pub": public(self.user_authority).encode() + b"\n",
            "config": self._config(environment).encode(),
        }
        files |= {f"host_key{number}": private(host_key) for number, host_key in enumerate(self.host_keys)}
        for name, content in files.items():
            path = self.folder / name
            path.write_bytes(content)
            path.chmod(0o600)

    def _config(self, environment: Mapping[str, str]) -> str:
        settings = " ".join(f"{name}={environment[name]}" for name in ("EDGEHERD_DEVICE_ROOT", "HOME", "PATH"))
        return "\n".join(
            [
                *self.more,
                f"Port {self.port}",
                f"ListenAddress {self.host}",
                *(f"HostKey {self.folder}/host_key{number}" for number in range(len(self.kinds))),
                f"HostCertificate {self.folder}/host_key-cert.pub",
                f"AuthorizedKeysFile {self.folder}/authorized_keys",
                f"TrustedUserCAKeys {self.folder}/user_authority.pub",
                f"SetEnv {settings}",
                "PidFile none",
                "StrictModes no",
                "UsePAM no",
                "UseDNS no",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin prohibit-password",
                "MaxStartups 100",
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
            private_key=self.private_key,
            host_keys=(public(self.host_key),),
            limits=LOOPBACK,
        )
        return dataclasses.replace(good, **other)  # type: ignore[arg-type]


class StartSshd(Protocol):
    """Starts one."""

    def __call__(
        self,
        *more: str,
        kinds: tuple[str, ...] = ("ssh-ed25519",),
        host: str = "127.0.0.1",
        user: str = "",
        before: str = "",
    ) -> Sshd:
        """See `start_sshd`."""
