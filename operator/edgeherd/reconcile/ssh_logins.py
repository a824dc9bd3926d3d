"""How a device is logged in at: the credentials in its Secrets, and the host keys that are remembered."""

import contextlib
import dataclasses
import ipaddress
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager

from edgeherd.clock import Clock
from edgeherd.cluster.errors import ConflictError
from edgeherd.cluster.port import Cluster
from edgeherd.device.port import (
    JumpHostError,
    Limits,
    Login,
    Platform,
    Session,
    UnreachableError,
)
from edgeherd.errors import Stalled, Waiting
from edgeherd.model import KNOWN_HOSTS_TYPE, EdgeDevice, HubConnection, Secret, SshTarget
from edgeherd.reconcile import secret_use
from edgeherd.reconcile.refused_logins import RefusedLogins
from edgeherd.reconcile.secret_use import Use

_log = logging.getLogger(__name__)

Connect = Callable[[Login], AbstractAsyncContextManager[Session]]
HostKey = Callable[[Login], Awaitable[str]]
"""Asks a host for its public key, without logging in."""


class SshLogins:
    """Finds the credentials of devices, opens sessions with them, and remembers host keys of first use."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        connect: Connect,
        host_key: HostKey,
        cluster_networks: tuple[str, ...] = (),
        clock: Clock | None = None,
    ) -> None:
        self._cluster = cluster
        self._connect = connect
        self._host_key = host_key
        self._cluster_networks = cluster_networks
        self._refused = RefusedLogins(clock or Clock())

    @contextlib.asynccontextmanager
    async def session(self, device: EdgeDevice, connection: HubConnection) -> AsyncIterator[Session]:
        """A session with the device. Raises what `login` raises, and any DeviceError."""
        login = await self.login(device, connection)
        async with contextlib.AsyncExitStack() as stack:
            with _discreet(login), self._refused.attempt(login):
                session = await stack.enter_async_context(self._connect(login))
            yield session

    async def login(self, device: EdgeDevice, connection: HubConnection) -> Login:
        """How to log in at the device, from its Secrets, within the limits of the HubConnection.

        Raises:
            Waiting: a Secret is not there yet.
            Stalled: a Secret's content, or the spec's host keys, cannot be used.
            DeviceError: a host that shall be trusted on first use did not show its key.
        """
        limits = Limits(
            networks=connection.allowed_cidrs,
            ports=connection.allowed_ports,
            cluster_networks=self._cluster_networks,
        )
        jump = None
        if device.ssh.jump is not None:
            jump = await self._hop(device, device.ssh.jump, secret_use.JUMP_HOST_LOGIN, limits, None)
        return await self._hop(device, device.ssh, secret_use.DEVICE_LOGIN, limits, jump)

    async def _hop(self, device: EdgeDevice, target: SshTarget, use: Use, limits: Limits, jump: Login | None) -> Login:
        where = f"Secret '{target.secret_name}' ({use.field})"
        secret = await self._cluster.secret(device.namespace, target.secret_name)
        if secret is None:
            message = (
                f"There is no {where}. Create it with 'kubectl create secret generic --type=kubernetes.io/ssh-auth'."
            )
            raise Waiting("SshSecretNotFound", message, retry_after=30)
        secret_use.require(secret, use)
        private_key, password = secret.data.get("ssh-privatekey", b""), _line(secret, "password")
        if not private_key.strip() and not password:
            message = f"{where} has neither 'ssh-privatekey' nor 'password'. Add one of them."
            raise Stalled("SshSecretInvalid", message)
        login = Login(
            host=target.host,
            port=target.port,
            user=target.user,
            private_key=private_key if private_key.strip() else b"",
            passphrase=_line(secret, "passphrase") or None,
            certificate=secret.data.get("ssh-certificate"),
            password=password or None,
            host_keys=target.host_keys,
            known_hosts=_text(secret, "known_hosts"),
            jump=jump,
            limits=limits,
            platform=Platform(device.runtime.operating_system),
        )
        if target.trust_on_first_use:
            return await self._remembered(device, login)
        if not login.host_keys and not login.known_hosts:
            field = use.field.removesuffix("credentialsSecretRef") + "hostKeys"
            message = f"No host key is pinned. List the host's keys in {field}, or put 'known_hosts' in {where}."
            raise Stalled("HostKeyNotPinned", message)
        return login

    async def _remembered(self, device: EdgeDevice, login: Login) -> Login:
        """The host key of the first use is asked for and stored before anything is sent; from then on it is pinned."""
        secret = await self._cluster.secret(device.namespace, device.known_hosts_name)
        if secret is not None and (secret.type != KNOWN_HOSTS_TYPE or device.uid not in secret.owner_uids):
            message = (
                f"Secret '{device.known_hosts_name}' exists and is not this EdgeDevice's, so no host key can be "
                "remembered in it. Remove it."
            )
            raise Stalled("SecretConflict", message)
        lines = _text(secret, "known_hosts").splitlines() if secret is not None else []
        marker = f"[{login.host}]:{login.port} "
        keys = tuple(line.removeprefix(marker) for line in lines if line.startswith(marker))
        if not keys:
            with _discreet(login), self._refused.attempt(login):
                keys = (await self._host_key(login),)
            text = "".join(f"{line}\n" for line in [*lines, f"{marker}{keys[0]}"])
            try:
                await self._cluster.put_known_hosts(device, text, create=secret is None)
            except ConflictError as exc:
                message = f"Secret '{device.known_hosts_name}' changed meanwhile. It is looked at again."
                raise Waiting("SecretChanging", message, retry_after=1) from exc
            message = f"{login.host} showed the host key {keys[0].split()[0]}; it is trusted from now on and no other."
            await self._cluster.event(device, warning=False, reason="HostKeyRemembered", message=message)
        return _pinned(login, keys)


NOT_TOLD = "why is told only where the HubConnection's allowedCIDRs name its network"


@contextlib.contextmanager
def _discreet(login: Login) -> Iterator[None]:
    """One wording for whatever keeps a host out of reach, unless the administrator named its network.

    Else 'refused', 'in time' and 'closed' would tell whoever may write an EdgeDevice which hosts and ports there are.
    """
    try:
        yield
    except UnreachableError as exc:
        if _is_named(login.limits):
            raise
        _log.debug("%s port %s cannot be reached: %s", login.host, login.port, exc)
        raise type(exc)(NOT_TOLD) from None
    except JumpHostError as exc:
        if _is_named(login.limits) or not isinstance(exc.error, UnreachableError):
            raise
        _log.debug("the jump host of %s cannot be reached: %s", login.host, exc)
        raise JumpHostError(type(exc.error)(NOT_TOLD)) from None


def _is_named(limits: Limits) -> bool:
    """Whether the administrator named the networks: a whole address space is no name."""
    networks = [ipaddress.ip_network(network, strict=False) for network in limits.networks]
    return bool(networks) and all(network.prefixlen for network in networks)


def _pinned(login: Login, keys: tuple[str, ...]) -> Login:
    return dataclasses.replace(login, host_keys=keys, known_hosts="")


def _line(secret: Secret, key: str) -> str:
    return secret_use.line(secret, key).decode("utf-8", "replace")


def _text(secret: Secret, key: str) -> str:
    return secret.data.get(key, b"").decode("utf-8", "replace")
