"""All of a pass that needs a session with the device: reach it, make it right, check it when somebody asks."""

import contextlib
import dataclasses
from collections.abc import Iterator

from edgeherd.cluster.port import Cluster
from edgeherd.device.port import DeviceError, Session
from edgeherd.errors import ReconcileError, Waiting
from edgeherd.model import EdgeDevice, HubConnection, Secret
from edgeherd.reconcile import desired, diagnostics
from edgeherd.reconcile.context import Context
from edgeherd.reconcile.desired import DesiredState
from edgeherd.reconcile.ssh_logins import Connect, SshLogins, from_device_error
from edgeherd.reconcile.steps.configuration import ConfigurationResult, ConfigurationStep, RejectedError
from edgeherd.reconcile.steps.identity import Claim


class ConnectionStep:
    """Visits devices."""

    def __init__(
        self, *, cluster: Cluster, reach: SshLogins, connect: Connect, configuration: ConfigurationStep
    ) -> None:
        self._cluster = cluster
        self._reach = reach
        self._connect = connect
        self._configuration = configuration

    async def pay(
        self, device: EdgeDevice, connection: HubConnection, claim: Claim, connection_string: str, found: Context
    ) -> ConfigurationResult:
        """Make the device look as the spec says. `found` is told what is seen, also of a visit that fails half-way.

        Raises:
            Waiting: the device or a Secret is not in a state to act.
            Stalled: a human must fix something.
        """
        state = await self._desired_state(device, connection, claim, connection_string)
        known = device.status.device
        with _device_errors(device, found):
            credentials = await self._reach.login(device, connection)
            async with self._connect(credentials) as session:
                found.device = dataclasses.replace(
                    known,
                    host_key_fingerprint=session.fingerprint,
                    jump_host_key_fingerprint=session.jump_fingerprint,
                )
                found.say("True", "Connected", f"An SSH session with {device.ssh.host} works; its host key is pinned.")
                found.link = "ConfigApplied"
                applied = await self._configured(session, state, found)
        found.device = dataclasses.replace(
            found.device,
            runtime_version=applied.facts.version,
            dialect=applied.version.dialect.value,
            config_hash=applied.config_hash,
            applied_generation=known.applied_generation if applied.plan else device.generation,
            rejected_hash="",
        )
        found.plan = applied.plan
        return applied

    async def _configured(self, session: Session, state: DesiredState, found: Context) -> ConfigurationResult:
        """The configuration link, and `iotedge check` where it was asked for: also, or just, where the link fails."""
        known = state.device.status.device
        try:
            applied = await self._configuration.apply(
                session, state, applied_before=known.applied_generation is not None
            )
        except ReconcileError as exc:
            if isinstance(exc, RejectedError):
                found.device = dataclasses.replace(found.device, rejected_hash=f"sha256:{exc.content_hash}")
            await self._check(session, state.device, found)
            raise
        if not applied.restarted:
            await self._check(session, state.device, found)
        return applied

    async def _check(self, session: Session, device: EdgeDevice, found: Context) -> None:
        asked = device.check_requested
        if asked and (found.check is None or found.check.handled_at != asked):
            found.check = diagnostics.report(await session.check(), handled_at=asked)

    async def _desired_state(
        self, device: EdgeDevice, connection: HubConnection, claim: Claim, text: str
    ) -> DesiredState:
        runtime = device.runtime
        proxy = await self._secret(device, runtime.proxy_secret_name, "spec.runtime.proxy.credentialsSecretRef")
        login = await self._secret(device, runtime.registry_secret_name, "spec.runtime.agent.registryAuthSecretRef")
        return DesiredState(
            device=device,
            host_name=connection.host_name,
            connection_string=text,
            certificate=claim.certificate,
            registry=desired.registry_auth(device, login) if login is not None else None,
            proxy=desired.proxy_url(device, proxy),
        )

    async def _secret(self, device: EdgeDevice, name: str | None, field: str) -> Secret | None:
        """The Secret that a field names; None where it names none."""
        if name is None:
            return None
        secret = await self._cluster.secret(device.namespace, name)
        if secret is None:
            raise Waiting("RuntimeSecretNotFound", f"There is no Secret '{name}' ({field}). Create it.", retry_after=30)
        return secret


@contextlib.contextmanager
def _device_errors(device: EdgeDevice, found: Context) -> Iterator[None]:
    """Failures of the session, as what happens next. A connection that breaks half-way is the reach's trouble."""
    try:
        yield
    except DeviceError as exc:
        error = from_device_error(exc, device)
        if error.reason == "DeviceUnreachable":
            found.link = "Reachable"
        raise error from exc
