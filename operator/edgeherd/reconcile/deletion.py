"""A device that shall go: the chain in reverse, then the finalizer.

The identity must go, or be known to stay, before the object does; a device that cannot be reached must not hold it up.
"""

import dataclasses

from edgeherd import conditions, config
from edgeherd.cluster.errors import ApiError
from edgeherd.cluster.port import Cluster
from edgeherd.device.port import Action, Change, DeviceError, Session, UnreachableError
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.model import FINALIZER, Condition, EdgeDevice
from edgeherd.reconcile import desired
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.ssh_logins import Connect, SshLogins
from edgeherd.reconcile.steps.identity import IdentityStep

CLEANUP_SECONDS = 60.0
"""How long after the request to delete an unreachable device is tried."""

RETRY_SECONDS = 10.0


class Deletion:
    """Lets an EdgeDevice go."""

    def __init__(
        self, *, cluster: Cluster, hubs: HubClients, connect: Connect, reach: SshLogins, identity: IdentityStep
    ) -> None:
        self._cluster = cluster
        self._hubs = hubs
        self._connect = connect
        self._reach = reach
        self._identity = identity

    async def run(self, device: EdgeDevice) -> float | None:
        """Take leave, or say what blocks it. Returns seconds until the next try; None when there is none."""
        if FINALIZER not in device.finalizers:
            return None
        if device.force_delete == device.uid:
            text = "The finalizer was removed by force: identity and device are left as they are."
            await self._cluster.event(device, warning=True, reason="DeletionForced", message=text)
            await self._cluster.remove_finalizer(device)
            return None
        try:
            await self._clean_up(device)
        except ReconcileError as exc:
            await self._blocked(device, exc)
            return exc.retry_after if isinstance(exc, Waiting) else RETRY_SECONDS * 6
        await self._cluster.remove_finalizer(device)
        return None

    async def _clean_up(self, device: EdgeDevice) -> None:
        secret = await self._identity.stored(device)
        if secret is None and not device.status.identity.generation_id:
            return  # Keys are stored before anything is created, so nothing was: no credential is needed.
        if self._identity.retains(device, secret):
            text = f"The identity '{device.device_id}' stays in the hub, and the device keeps its configuration."
            await self._cluster.event(device, warning=False, reason="IdentityRetained", message=text)
            return
        if device.suspend:
            message = "spec.suspend is true, so nothing is deleted in the hub. Set it to false, or deletionPolicy to 'Retain'."
            raise Waiting("Paused", message, retry_after=60)
        hub = await self._hubs.for_release(device)
        await self._forget_on_device(device)
        done = await self._identity.release(device, hub, secret)
        await self._cluster.event(device, warning=False, reason="IdentityReleased", message=done)

    async def _forget_on_device(self, device: EdgeDevice) -> None:
        """Take our connection string out of the daemon's file: best effort, bounded in time.

        Raises:
            Waiting: the device cannot be reached, and there is time left.
        """
        if device.status.device.applied_generation is None:
            return
        try:
            connection = await self._cluster.hub_connection(device.hub_name)
            credentials = await self._reach.login(device, connection)
            async with self._connect(credentials) as session:
                await _retire(session, device)
        except UnreachableError as exc:
            if conditions.seconds_since(device.deleted_at, conditions.now()) < CLEANUP_SECONDS:
                message = (
                    f"{device.ssh.host} cannot be reached to remove its configuration: {exc}. It is tried for a minute."
                )
                raise Waiting("DeviceUnreachable", message, retry_after=RETRY_SECONDS) from exc
            await self._left(device, "it cannot be reached")
        except (DeviceError, ReconcileError, config.UneditableError, config.InvalidConfigError, ValueError):
            await self._left(device, "its file or its login cannot be used")

    async def _left(self, device: EdgeDevice, why: str) -> None:
        text = f"The device {device.ssh.host} still has its configuration: {why}. Its identity is deleted all the same."
        await self._cluster.event(device, warning=True, reason="DeviceCleanupSkipped", message=text)

    async def _blocked(self, device: EdgeDevice, error: ReconcileError) -> None:
        """Say what blocks the deletion; a status that cannot be written is no reason to stop trying."""
        hint = f" To leave the hub as it is, annotate the object with edgeherd.io/force-delete={device.uid}."
        for_a_human = isinstance(error, Stalled) or error.reason == "HubNotFound"
        told = Stalled(error.reason, error.message + hint) if for_a_human else error
        said = conditions.deleting(device.status.conditions, device.generation, told, at=conditions.now())
        status = dataclasses.replace(device.status, conditions=said)
        if status == device.status:
            return
        before: Condition | None = device.status.condition("Deleting")
        if before is None or before.reason != error.reason:
            await self._cluster.event(device, warning=True, reason="DeletionBlocked", message=error.message)
        try:
            await self._cluster.put_status(device, status)
        except ApiError as exc:
            if exc.status != 404:
                raise


async def _retire(session: Session, device: EdgeDevice) -> None:
    query = desired.query(device)
    facts = await session.observe(query)
    version = config.Version.parse(facts.version)
    content = facts.content or b""
    if _provisioned_as(config.load(content, version=version)) != device.device_id:
        return
    edit = config.deprovision(content, version=version)
    # The services of 1.2 and later refuse to be without provisioning; what they hold is worth nothing from now on.
    is_yaml = version.dialect is config.Dialect.YAML
    change = Change(
        path=facts.path,
        before=facts.sha256,
        content=edit.content if edit.changes else None,
        others=desired.leftovers(device, query.found(facts)),
        unit=desired.daemon_unit(device, version.dialect),
        action=Action.RETIRE if is_yaml else Action.NONE,
    )
    await session.apply(change)


def _provisioned_as(settings: config.Settings) -> str:
    """The device id in the daemon's file; empty for none."""
    if settings.x509 is not None:
        return settings.x509.device_id
    text = settings.connection_string
    return config.parse_connection_string(text).device_id if text else ""
