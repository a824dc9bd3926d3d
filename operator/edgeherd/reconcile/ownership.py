"""Whose an identity in the hub is, told from what was observed. Pure."""

import dataclasses

from edgeherd.hub.port import Identity, Twin
from edgeherd.model import Credentials, EdgeDevice, HubConnection, Origin, Secret, Thumbprints
from edgeherd.reconcile import connection_secret, credentials
from edgeherd.reconcile.step import Event


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one look at a device's identity is about. `thumbprints` are None with symmetric keys."""

    device: EdgeDevice
    connection: HubConnection
    secret: Secret | None
    thumbprints: Thumbprints | None
    remembered: str = ""
    """A digest of the keys that the identity had when it was last seen to be ours."""

    @property
    def moved_from(self) -> str:
        """The host name of another hub that has the identity; empty for none."""
        had = self.device.status.identity
        elsewhere = had.hub_host_name.lower() != self.connection.host_name.lower()
        return had.hub_host_name if had.origin is not None and elsewhere else ""


def is_ours(observation: Observation, identity: Identity, twin: Twin | None) -> bool:
    """Whether an identity that is there is ours. What the status says is no proof by itself.

    A key that is in our Secret, or was the identity's when we last saw it, proves it; so does the mark in the twin, which only
    who holds the hub's credential can write. Thumbprints, known in the same ways, are no secret, so with X.509 the status has to say that we created it
    or had it, too; it may only be written by the operator.
    """
    device, had = observation.device, observation.device.status.identity
    if twin is not None and twin.owner is not None and twin.owner.uid == device.uid:
        return True
    if identity.keys is not None:
        return is_proved_by_keys(observation, identity)
    if identity.thumbprints is None or is_marked_by_another(device, twin):
        return False
    stored = credentials.thumbprints_of(observation.secret)
    last_seen = remembered(device, identity.thumbprints) == observation.remembered
    if not last_seen and identity.thumbprints not in {observation.thumbprints, stored}:
        return False
    # A crash may have come between the creation, which the log in the status announces, and the generation's id.
    logged = had.origin is Origin.CREATED and not had.generation_id
    return had.device_id == device.device_id and (logged or had.generation_id == identity.generation_id)


def is_marked_by_another(device: EdgeDevice, twin: Twin | None) -> bool:
    """The twin names another EdgeDevice as the owner."""
    return twin is not None and twin.owner is not None and twin.owner.uid != device.uid


def remembered(device: EdgeDevice, held: Credentials) -> str:
    """What is remembered of credentials: not for a namesake."""
    return f"{device.uid} {credentials.digest(held)}"


def is_proved_by_keys(observation: Observation, identity: Identity) -> bool:
    """A key of the identity is in our Secret, or was the identity's when it was last seen to be ours."""
    if identity.keys is None:
        return False
    stored = credentials.keys_of(observation.secret)
    return (
        credentials.share_one(stored, identity.keys)
        or remembered(observation.device, identity.keys) == observation.remembered
    )


def what_changed(observation: Observation, identity: Identity) -> tuple[Origin, tuple[Event, ...]]:
    """Where an identity of ours came from, and what somebody did to it in the hub."""
    before, stored = observation.device.status.identity, credentials.keys_of(observation.secret)
    if before.origin is not None:
        origin = before.origin
    elif credentials.share_one(stored, identity.keys):
        origin = connection_secret.origin_of(observation.secret) or Origin.CREATED
    else:
        origin = Origin.ADOPTED  # our mark is all that we know: a crash came after it
    if stored is None or identity.keys is None or stored == identity.keys:
        return origin, ()
    if before.generation_id and before.generation_id != identity.generation_id:
        return origin, (Event("IdentityReplaced", "The identity was replaced in the hub; Secret and device follow."),)
    return origin, (Event("IdentityKeysChanged", "The keys were changed in the hub; Secret and device follow."),)
