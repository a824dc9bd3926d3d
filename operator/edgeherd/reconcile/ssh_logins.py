"""How a device is logged in at: the credentials in its Secrets, and the host keys that are remembered."""

import contextlib
import dataclasses
import ipaddress
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager

from edgeherd.cache import Recent
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
from edgeherd.model import KNOWN_HOSTS_TYPE, EdgeDevice, HubConnection, Key, Secret, SshTarget
from edgeherd.reconcile import secret_use
from edgeherd.reconcile.refused_logins import RefusedLogins
from edgeherd.reconcile.secret_use import Use

_log = logging.getLogger(__name__)

Connect = Callable[[Login], AbstractAsyncContextManager[Session]]
HostKey = Callable[[Login], Awaitable[str]]
"""Asks a host for its public key, without logging in."""
Tell = Callable[[str, str], None]
"""Is told what happened: the reason and the message of an Event, which has its place among those of the pass."""


LAST_LOGINS_BYTES = 32 * 1024 * 1024
"""Room for those of some ten thousand devices."""


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
        self._last: Recent[Key, tuple[str, SshTarget, Login]] = Recent(LAST_LOGINS_BYTES)
        """The login that worked last, by object, with its uid and the target in its spec."""
        self._refused = RefusedLogins(clock or Clock())

    @contextlib.asynccontextmanager
    async def session(self, device: EdgeDevice, connection: HubConnection, *, tell: Tell) -> AsyncIterator[Session]:
        """A session with the device. Raises what `login` raises, and any DeviceError.

        For one that is being deleted a login that worked before does too, where a Secret is gone: a namespace that is deleted
        loses its Secrets first.
        """
        try:
            login = await self.login(device, connection, tell=tell)
        except Waiting:
            last = self._last_login(device) if device.deleting else None
            if last is None:
                raise
            login = _within(last, self._limits(connection))
        async with contextlib.AsyncExitStack() as stack:
            with _discreet(login), self._refused.attempt(login):
                session = await stack.enter_async_context(self._connect(login))
            if not device.deleting:
                self._last.put(device.key, (device.uid, device.ssh, login), _size(login))
            yield session

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._last.pop(key)

    def _last_login(self, device: EdgeDevice) -> Login | None:
        """The login that worked last, unless the spec names another host, user or Secret by now."""
        if device.key not in self._last:
            return None
        uid, target, login = self._last[device.key]
        return login if (uid, target) == (device.uid, device.ssh) else None

    def _limits(self, connection: HubConnection) -> Limits:
        return Limits(
            networks=connection.allowed_cidrs,
            ports=connection.allowed_ports,
            cluster_networks=self._cluster_networks,
        )

    async def login(self, device: EdgeDevice, connection: HubConnection, *, tell: Tell) -> Login:
        """How to log in at the device, from its Secrets, within the limits of the HubConnection.

        Raises:
            Waiting: a Secret is not there yet.
            Stalled: a Secret's content, or the spec's host keys, cannot be used.
            DeviceError: a host that shall be trusted on first use did not show its key.
        """
        limits = self._limits(connection)
        jump = None
        if device.ssh.jump is not None:
            jump = await self._hop(device, device.ssh.jump, secret_use.JUMP_HOST_LOGIN, limits, tell=tell)
        return await self._hop(device, device.ssh, secret_use.DEVICE_LOGIN, limits, jump=jump, tell=tell)

    async def _hop(
        self,
        device: EdgeDevice,
        target: SshTarget,
        use: Use,
        limits: Limits,
        *,
        jump: Login | None = None,
        tell: Tell,
    ) -> Login:
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
            return await self._remembered(device, login, tell)
        if not login.host_keys and not login.known_hosts:
            field = use.field.removesuffix("credentialsSecretRef") + "hostKeys"
            message = f"No host key is pinned. List the host's keys in {field}, or put 'known_hosts' in {where}."
            raise Stalled("HostKeyNotPinned", message)
        return login

    async def _remembered(self, device: EdgeDevice, login: Login, tell: Tell) -> Login:
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
        if not keys and device.deleting:
            message = (
                f"There is no Secret '{device.known_hosts_name}' any more, so no host key of {login.host} is known."
            )
            raise Waiting("SshSecretNotFound", message)
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
            tell("HostKeyRemembered", message)
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


def _within(login: Login, limits: Limits) -> Login:
    """The login, within the limits of now."""
    jump = _within(login.jump, limits) if login.jump is not None else None
    return dataclasses.replace(login, limits=limits, jump=jump)


def _size(login: Login) -> int:
    """The bytes of its secrets, about."""
    own = sum(
        len(part or "")
        for part in (login.private_key, login.certificate, login.password, login.passphrase, login.known_hosts)
    )
    return own + (_size(login.jump) if login.jump is not None else 0)


def _pinned(login: Login, keys: tuple[str, ...]) -> Login:
    return dataclasses.replace(login, host_keys=keys, known_hosts="")


def _line(secret: Secret, key: str) -> str:
    return secret_use.line(secret, key).decode("utf-8", "replace")


def _text(secret: Secret, key: str) -> str:
    return secret.data.get(key, b"").decode("utf-8", "replace")
