"""One pass over one EdgeDevice: the chain of links, from what is observed now to one status.

identity -> Secret -> reach -> configuration -> daemon. Each link observes and acts at most once; what it led to is
seen by the next pass. Only an observation says True.
"""

import dataclasses
import random
import time
from collections.abc import Callable

from edgeherd import conditions
from edgeherd.cluster.errors import ApiError
from edgeherd.cluster.port import Cluster
from edgeherd.config import Dialect
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.hub.port import Hub
from edgeherd.model import (
    FINALIZER,
    EdgeDevice,
    HubConnection,
    IdentityStatus,
    Key,
    Status,
)
from edgeherd.reconcile.context import Context
from edgeherd.reconcile.deletion import Deletion
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.index import DeviceIndex
from edgeherd.reconcile.ssh_logins import Connect, HostKey, SshLogins
from edgeherd.reconcile.steps.configuration import ConfigurationResult, ConfigurationStep
from edgeherd.reconcile.steps.connection import ConnectionStep
from edgeherd.reconcile.steps.health import check_health
from edgeherd.reconcile.steps.identity import Claim, IdentityStep

GRACE_SECONDS = 50.0
"""How long a healthy device may be out of observation before its status says so (Cluster API's remote connection probe)."""

DEADLINE_SECONDS = 600.0
"""After this long out of reach a device is Stalled: kstatus counts insufficient progress as such."""

STALLED_SECONDS = 60.0
"""How often what only a human can fix is looked at, because the fix may happen where nobody tells us."""

_BLIPS = frozenset({"DeviceUnreachable", "HubUnavailable", "HubThrottled", "HubBudgetSpent", "HubChanging"})
"""What may pass by itself within the grace."""


class DeviceReconciler:
    """Makes one EdgeDevice true. Holds in memory only what may be forgotten."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        hubs: HubClients,
        connect: Connect,
        host_key: HostKey,
        index: DeviceIndex,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._hubs = hubs
        self._index = index
        self._clock = clock
        self._identity = IdentityStep(cluster)
        self._configuration = ConfigurationStep()
        reach = SshLogins(cluster, host_key)
        self._visit = ConnectionStep(cluster=cluster, reach=reach, connect=connect, configuration=self._configuration)
        self._farewell = Deletion(cluster=cluster, hubs=hubs, connect=connect, reach=reach, identity=self._identity)
        self._trouble_since: dict[Key, float] = {}

    async def run(self, key: Key) -> float | None:
        """Look at the device and take the next step.

        Returns:
            Seconds until it shall be looked at again; None when only a change of the object can matter.

        Raises:
            ApiError: the API server refused; a ConflictError among them only asks to look again.
        """
        device = await self._cluster.edge_device(key.namespace, key.name)
        if device is None:
            self.forget(key)
            return None
        if device.deleting:
            return await self._farewell.run(device)
        if device.suspend:
            await self._pause(device)
            return None
        if FINALIZER not in device.finalizers:
            device = await self._cluster.add_finalizer(device)
        if not device.status.conditions:
            device = await self._init_status(device)
        found = Context(
            identity=device.status.identity,
            secret_name=device.status.secret_name,
            device=device.status.device,
            check=device.status.check,
        )
        try:
            await self._links(device, found)
            ended_by = None
        except ReconcileError as exc:
            ended_by = _with_patience(device, found.link, self._with_deadline(device, exc))
            found.say("False" if exc.observed else "Unknown", ended_by.reason, ended_by.message)
        except ApiError:
            raise
        except Exception:
            await self._record_bug(device, found)
            raise
        finally:
            for reason, message in found.events:
                await self._cluster.event(device, warning=False, reason=reason, message=message)
        return await self._update_status(device, found, ended_by)

    async def _record_bug(self, device: EdgeDevice, found: Context) -> None:
        """A bug must show where the user looks, not in the operator's log alone."""
        message = "An error in edgeherd itself; the operator's log has the traceback. It is tried again."
        error = Waiting("InternalError", message)
        found.say("Unknown", error.reason, error.message)
        await self._update_status(device, found, error)

    def forget(self, key: Key) -> None:
        """The device is gone."""
        self._trouble_since.pop(key, None)
        self._configuration.forget(key)

    async def _pause(self, device: EdgeDevice) -> None:
        """A suspended device keeps what was last said of it; nothing is looked at."""
        said = conditions.paused(device.status.conditions, device.generation, at=conditions.now())
        status = dataclasses.replace(device.status, conditions=said)
        if status != device.status:
            await self._cluster.put_status(device, status)

    async def _init_status(self, device: EdgeDevice) -> EdgeDevice:
        """The first status of a new object: every condition is there, as Unknown, before anything is done."""
        begun = conditions.begun(device.generation, at=conditions.now())
        status = dataclasses.replace(device.status, conditions=begun)
        await self._cluster.put_status(device, status)
        return dataclasses.replace(device, status=status)

    async def _links(self, device: EdgeDevice, found: Context) -> None:
        """The chain. `found.link` names the link that is at work, for whatever ends the pass."""
        connection, hub, claim = await self._claim(device, found)
        found.link = "SecretReady"
        text = await self._identity.store(device, connection, claim)
        found.secret_name = device.secret_name
        found.say("True", "SecretStored", f"Secret '{device.secret_name}' holds the credentials that the hub has.")
        found.link = "Reachable"
        applied = await self._visit.pay(device, connection, claim, text, found)
        found.events.extend(applied.events)
        if applied.plan:
            paths = ", ".join(change.path for change in applied.plan)
            message = f"The device differs from the spec ({paths}), and spec.driftPolicy is 'Report'. See status.plan."
            raise Stalled("DriftDetected", message)
        found.say("True", "Applied", "The daemon's file says what the spec says.")
        found.link = "DaemonHealthy"
        if applied.restarted:
            raise Waiting("DaemonRestarted", "The daemon was restarted. It is looked at again.", retry_after=2)
        check_health(applied.facts, enabled=device.enabled)
        await _require_connection(device, hub, applied)
        self._configuration.healthy(device.key)
        found.say("True", "Running", "The daemon is active and edgeAgent is running.")

    async def _claim(self, device: EdgeDevice, found: Context) -> tuple[HubConnection, Hub, Claim]:
        first = self._index.older_claimant(device)
        if first is not None and await self._cluster.edge_device(first.namespace, first.name) is None:
            self._index.delete(first)  # its deletion fell into a gap of the watch
            first = self._index.older_claimant(device)
        if first is not None:
            message = (
                f"EdgeDevice '{first.namespace}/{first.name}' is older and names the same device id '{device.device_id}'. "
                "Give this one another spec.deviceId, or delete one of them."
            )
            raise Stalled("IdentityConflict", message)
        connection, hub = await self._hubs.for_device(device)
        claim = await self._identity.claim(device, connection, hub)
        found.events.extend(claim.events)
        found.identity = IdentityStatus(
            hub_host_name=connection.host_name,
            device_id=device.device_id,
            generation_id=claim.identity.generation_id,
            etag=claim.identity.etag,
            origin=claim.origin,
            status="Enabled" if claim.identity.enabled else "Disabled",
        )
        found.say("True", "Registered", f"The hub has the identity '{device.device_id}' as the spec wants it.")
        return connection, hub, claim

    def _with_deadline(self, device: EdgeDevice, error: ReconcileError) -> ReconcileError:
        """A device that stays out of reach is Stalled in the end, and still looked at."""
        before = device.status.condition("Reachable")
        if error.reason != "DeviceUnreachable" or before is None or before.status != "False":
            return error
        if conditions.seconds_since(before.last_transition_time, conditions.now()) < DEADLINE_SECONDS:
            return error
        return Stalled(error.reason, error.message)

    async def _update_status(self, device: EdgeDevice, found: Context, ended_by: ReconcileError | None) -> float:
        """Write the status if it differs, and say when to come back."""
        if ended_by is None:
            self._trouble_since.pop(device.key, None)
        elif ended_by.reason in _BLIPS and self._in_grace(device):
            return _soon(ended_by)
        status = Status(
            observed_generation=conditions.observed_generation(
                device.generation, device.status.observed_generation, ended_by
            ),
            conditions=conditions.summarise(
                found.conditions,
                old=device.status.conditions,
                generation=device.generation,
                ended_by=ended_by,
                at=conditions.now(),
            ),
            identity=found.identity,
            secret_name=found.secret_name,
            device=found.device,
            plan=found.plan,
            check=found.check,
            last_handled_reconcile_at=device.requested_at,
        )
        if status != device.status:
            await self._cluster.put_status(device, status)
            await self._emit_events(device, status, ended_by)
        return _soon(ended_by) if ended_by else device.interval_seconds * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load

    def _in_grace(self, device: EdgeDevice) -> bool:
        """Whether a device that was healthy at this generation may still be called so."""
        since = self._trouble_since.setdefault(device.key, self._clock())
        ready = device.status.condition("Ready")
        healthy = ready is not None and ready.status == "True" and ready.observed_generation == device.generation
        asked = device.requested_at != device.status.last_handled_reconcile_at
        return healthy and not asked and self._clock() - since < GRACE_SECONDS

    async def _emit_events(self, device: EdgeDevice, status: Status, ended_by: ReconcileError | None) -> None:
        """An Event where the summary moved: to health, away from it, or to what a human must fix."""
        before, after = device.status.condition("Ready"), status.condition("Ready")
        if after is None:
            return
        was_ready = before is not None and before.status == "True"
        if after.status == "True" and not was_ready:
            await self._cluster.event(device, warning=False, reason="Ready", message=after.message)
        worth_saying = was_ready or isinstance(ended_by, Stalled)
        if worth_saying and ended_by is not None and (before is None or before.reason != after.reason):
            await self._cluster.event(device, warning=True, reason=after.reason, message=after.message)


async def _require_connection(device: EdgeDevice, hub: Hub, applied: ConfigurationResult) -> None:
    """From 1.2 on containers outlive another key, so an edgeAgent that runs does not prove that the hub takes it.

    The hub is asked once for a content of the file, where its credential allows it.
    """
    before = device.status.condition("DaemonHealthy")
    known = device.status.device.config_hash == applied.config_hash
    proved = known and before is not None and before.status == "True"
    if (
        applied.version.dialect is not Dialect.TOML
        or proved
        or await hub.agent_connected(device.device_id) is not False
    ):
        return
    message = (
        "edgeAgent runs, but the hub has not seen it connected since the change. See 'iotedge logs edgeAgent' and "
        "'iotedge check' on the device."
    )
    raise Waiting("EdgeAgentNotConnected", message, retry_after=3)


def _with_patience(device: EdgeDevice, link: str, error: ReconcileError) -> ReconcileError:
    """A daemon that is on its way is looked at again after half as long as it took so far: 1 s at first, then up to 30.

    edgeAgent takes a second where its image is there, and minutes where it has to be pulled over a thin line.
    """
    before = device.status.condition(link)
    if link != "DaemonHealthy" or not isinstance(error, Waiting) or before is None:
        return error
    waited = conditions.seconds_since(before.last_transition_time, conditions.now()) if before.status == "False" else 0
    return Waiting(error.reason, error.message, retry_after=min(max(waited / 2, 1.0), 30.0), observed=error.observed)


def _soon(ended_by: ReconcileError) -> float:
    """Seconds until the next look after a pass that ended early."""
    return ended_by.retry_after if isinstance(ended_by, Waiting) else STALLED_SECONDS
