"""The first two links: the identity in the hub, and the Secret with its keys.

The Secret is the write-ahead log: keys are made here and stored in the cluster before the identity is created with
exactly those keys. After any crash or lost reply the truth can be told: if the hub's keys are the Secret's, the
identity is ours.
"""

import base64
import dataclasses
import secrets

from edgeherd.cluster.errors import ConflictError
from edgeherd.cluster.objects import Objects, keys_of
from edgeherd.errors import Stalled, Waiting
from edgeherd.hub.port import (
    AlreadyExistsError,
    Hub,
    HubError,
    Identity,
    InvalidError,
    PreconditionFailedError,
    RefusedError,
    ThrottledError,
)
from edgeherd.model import SECRET_TYPE, EdgeDevice, HubConnection, Keys, Origin, Secret

KEY_BYTES = 64
"""The hub takes 16 to 64 bytes (IoT Hub identity registry: device keys)."""

ORIGIN = "edgeherd.io/identity-origin"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The outcome of the identity link."""

    identity: Identity
    origin: Origin
    keys: Keys
    events: tuple[tuple[str, str], ...] = ()


def new_keys() -> Keys:
    """Two fresh keys from the system's random generator."""
    first, second = (base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() for _ in range(2))
    return Keys(primary=first, secondary=second)


def connection_string(host_name: str, device_id: str, key: str) -> str:
    """A device's connection string in the documented form, without quotation marks."""
    return f"HostName={host_name};DeviceId={device_id};SharedAccessKey={key}"


def secret_data(host_name: str, device_id: str, keys: Keys, *, key_in_use: str) -> dict[str, str]:
    """The content of the connection Secret."""
    primary = connection_string(host_name, device_id, keys.primary)
    secondary = connection_string(host_name, device_id, keys.secondary)
    return {
        "connectionString": secondary if key_in_use == "Secondary" else primary,
        "primaryConnectionString": primary,
        "secondaryConnectionString": secondary,
        "primaryKey": keys.primary,
        "secondaryKey": keys.secondary,
        "hostName": host_name,
        "deviceId": device_id,
    }


def as_next_step(error: HubError) -> Waiting | Stalled:
    """What a failed call to the hub means for the pass."""
    if isinstance(error, RefusedError):
        message = (
            f"The hub refuses the credential of the HubConnection ({error.code}). "
            "Its administrator must mend the Secret; the policy needs registry read and write."
        )
        return Waiting("HubRefusedCredential", message, retry_after=60, blind=True)
    if isinstance(error, ThrottledError):
        return Waiting(
            "HubThrottled", "The hub asks for fewer requests. It is tried again later.", retry_after=20, blind=True
        )
    if isinstance(error, InvalidError):
        return Stalled(
            "HubRefusedRequest", f"The hub refuses the identity ({error.code}). Mend spec.identity or the hub."
        )
    if isinstance(error, AlreadyExistsError | PreconditionFailedError):
        return Waiting(
            "HubChanging", "The identity changed in the hub meanwhile. It is looked at again.", retry_after=1
        )
    return Waiting(
        "HubUnavailable",
        f"The hub cannot be reached now ({error.code}). It is tried again.",
        retry_after=15,
        blind=True,
    )


class IdentityLink:
    """Makes the identity exist and be ours, and keeps the Secret equal to it."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def claim(self, device: EdgeDevice, connection: HubConnection, hub: Hub) -> Claim:
        """The identity: observed, created, adopted or put right.

        Raises:
            Waiting: the hub is not in a state to tell or to act.
            Stalled: the identity or the Secret belongs to somebody else.
        """
        secret = await self._own_secret(device)
        try:
            identity = await hub.get(device.device_id)
            if identity is None:
                return await self._create(device, connection, hub, secret)
            return await self._keep(device, connection, hub, secret, identity)
        except HubError as exc:
            raise as_next_step(exc) from exc

    async def _own_secret(self, device: EdgeDevice) -> Secret | None:
        secret = await self._objects.secret(device.namespace, device.secret_name)
        if secret is None:
            return None
        if secret.type != SECRET_TYPE or (secret.owner_uids and device.uid not in secret.owner_uids):
            message = (
                f"Secret '{device.secret_name}' exists and is not this EdgeDevice's. It is left alone: "
                "remove it, or choose another name in spec.connectionSecret."
            )
            raise Stalled("SecretConflict", message)
        return secret

    async def _create(self, device: EdgeDevice, connection: HubConnection, hub: Hub, secret: Secret | None) -> Claim:
        keys = keys_of(secret) if secret else None
        if keys is None:
            keys = new_keys()
            await self._write(device, connection, keys, Origin.CREATED, secret=secret)
        recreated = bool(device.status.identity.generation_id)
        identity = await hub.create(device.device_id, keys, enabled=device.enabled)
        reason = "IdentityRecreated" if recreated else "IdentityCreated"
        text = (
            "was gone from the hub and was created again with the same keys" if recreated else "was created in the hub"
        )
        event = (reason, f"The identity '{device.device_id}' {text}.")
        return Claim(identity=identity, origin=Origin.CREATED, keys=identity.keys or keys, events=(event,))

    async def _keep(
        self, device: EdgeDevice, connection: HubConnection, hub: Hub, secret: Secret | None, identity: Identity
    ) -> Claim:
        origin, events = self._ownership(device, connection, secret, identity)
        if identity.authentication != "sas" or identity.keys is None:
            message = (
                f"The identity '{device.device_id}' authenticates with '{identity.authentication}', not with symmetric keys. "
                "Delete it in the hub, or set spec.identity.authentication."
            )
            raise Stalled("IdentityAuthenticationDiffers", message)
        keys = identity.keys
        if not identity.iot_edge or identity.enabled != device.enabled:
            if not device.correct_drift:
                raise Stalled("DriftDetected", "The identity differs from the spec, and spec.driftPolicy is 'Report'.")
            identity = await hub.update(identity, enabled=device.enabled, keys=keys)
            events = (*events, ("IdentityCorrected", f"The identity '{device.device_id}' was put right in the hub."))
        return Claim(identity=identity, origin=origin, keys=keys, events=events)

    def _ownership(
        self, device: EdgeDevice, connection: HubConnection, secret: Secret | None, identity: Identity
    ) -> tuple[Origin, tuple[tuple[str, str], ...]]:
        """Whether an identity that is there is ours: by its keys, or because it was ours before."""
        before = device.status.identity
        stored = keys_of(secret) if secret else None
        origin = before.origin or _origin(secret)
        if stored is not None and stored == identity.keys:
            return origin or Origin.CREATED, ()
        ours = (
            before.generation_id
            and before.device_id == device.device_id
            and before.hub_host_name == connection.host_name
        )
        if ours and identity.generation_id == before.generation_id:
            changed = (("IdentityKeysChanged", "The keys were changed in the hub; Secret and device follow."),)
            return origin or Origin.CREATED, changed if stored is not None else ()
        if ours and secret is not None:
            changed = (("IdentityReplaced", "The identity was replaced in the hub; Secret and device follow."),)
            return origin or Origin.CREATED, changed
        if device.may_adopt and connection.adoption_allowed:
            return Origin.ADOPTED, (("IdentityAdopted", f"The identity '{device.device_id}' was adopted."),)
        message = (
            f"The hub already has a device '{device.device_id}' that this EdgeDevice did not create. It is left alone: "
            "choose another spec.deviceId, or allow adoption (spec.adoptionPolicy: IfExists, and the HubConnection's adoption)."
        )
        raise Stalled("IdentityConflict", message)

    async def store(self, device: EdgeDevice, connection: HubConnection, claim: Claim) -> str:
        """The Secret holds the hub's present keys; nothing is written when it does already.

        Returns:
            The connection string that the device shall use.
        """
        secret = await self._own_secret(device)
        wanted = secret_data(connection.host_name, device.device_id, claim.keys, key_in_use=device.key_in_use)
        holds = secret is not None and all(secret.data.get(key) == value.encode() for key, value in wanted.items())
        if holds and secret is not None and device.uid in secret.owner_uids and _origin(secret) == claim.origin:
            return wanted["connectionString"]
        await self._write(device, connection, claim.keys, claim.origin, secret=secret)
        return wanted["connectionString"]

    async def _write(
        self, device: EdgeDevice, connection: HubConnection, keys: Keys, origin: Origin, *, secret: Secret | None
    ) -> None:
        data = secret_data(connection.host_name, device.device_id, keys, key_in_use=device.key_in_use)
        try:
            await self._objects.put_connection_secret(
                device, data, annotations={ORIGIN: origin.value}, create=secret is None
            )
        except ConflictError as exc:
            raise Waiting(
                "SecretChanging", "The Secret changed meanwhile. It is looked at again.", retry_after=1
            ) from exc

    async def stored(self, device: EdgeDevice) -> Secret | None:
        """The device's connection Secret, if it is there and ours."""
        try:
            return await self._own_secret(device)
        except Stalled:
            return None

    def retains(self, device: EdgeDevice, secret: Secret | None) -> bool:
        """Whether the identity stays when the EdgeDevice goes: as the spec says, else what was adopted stays."""
        origin = device.status.identity.origin or _origin(secret) or Origin.CREATED
        policy = device.deletion_policy or ("Delete" if origin is Origin.CREATED else "Retain")
        return policy == "Retain"

    async def release(self, device: EdgeDevice, hub: Hub, secret: Secret | None) -> str:
        """Delete the identity if it still is ours. Returns what was done, for the event.

        Raises:
            Waiting: the hub is not in a state to tell or to act.
            Stalled: the hub refuses the request.
        """
        try:
            identity = await hub.get(device.device_id)
            if identity is None:
                return f"The identity '{device.device_id}' was gone from the hub already."
            keys = keys_of(secret) if secret else None
            same_keys = keys is not None and keys == identity.keys
            generation = device.status.identity.generation_id
            if not same_keys and (not generation or generation != identity.generation_id):
                return f"The hub's device '{device.device_id}' is not this EdgeDevice's; it was left alone."
            await hub.delete(identity)
        except HubError as exc:
            raise as_next_step(exc) from exc
        return f"The identity '{device.device_id}' was deleted from the hub."


def _origin(secret: Secret | None) -> Origin | None:
    value = secret.annotations.get(ORIGIN, "") if secret else ""
    return Origin(value) if value in set(Origin) else None
