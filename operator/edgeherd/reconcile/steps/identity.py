"""The first two links: the identity in the hub, and the Secret with its keys.

The Secret is the write-ahead log: keys are made here and stored in the cluster before the identity is created with
exactly those keys. After any crash or lost reply the truth can be told: if the hub's keys are the Secret's, the
identity is ours. Thumbprints are no secret and prove nothing, so with X.509 the log is the status, which only the
operator may write.
"""

import dataclasses

from edgeherd.cluster.errors import ConflictError
from edgeherd.cluster.port import Cluster
from edgeherd.errors import Stalled, Waiting
from edgeherd.hub.port import (
    AlreadyExistsError,
    BusyError,
    Hub,
    HubError,
    Identity,
    InvalidError,
    PreconditionFailedError,
    QuotaExceededError,
    RefusedError,
    ThrottledError,
)
from edgeherd.model import (
    SECRET_TYPE,
    Credentials,
    EdgeDevice,
    HubConnection,
    IdentityStatus,
    Keys,
    Origin,
    Secret,
    Thumbprints,
)
from edgeherd.reconcile import credentials as keyring

ORIGIN = "edgeherd.io/identity-origin"
WRITTEN_FOR = "edgeherd.io/written-for"

Events = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and its private key for the device, in PEM. The key never shows in a repr."""

    certificate: bytes
    private_key: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The outcome of the identity link. `certificate` is one that has to be on the device."""

    identity: Identity
    origin: Origin
    credentials: Credentials
    events: Events = ()
    certificate: Certificate | None = None


def from_hub_error(error: HubError) -> Waiting | Stalled:
    """What a failed call to the hub means for the pass."""
    match error:
        case RefusedError():
            message = (
                f"The hub refuses the credential of the HubConnection ({error.code}). "
                "Its administrator must fix the Secret; the policy needs registry read and write."
            )
            return Waiting("HubRefusedCredential", message, retry_after=60, observed=False)
        case QuotaExceededError():
            message = f"The hub is full or its quota for today is used up ({error.code}). Add units, or wait."
            return Waiting("HubQuotaExceeded", message, retry_after=600, observed=False)
        case ThrottledError() | BusyError():
            seconds = error.retry_after or 20
            message = "The hub asks for fewer requests. It is tried again later."
            if isinstance(error, BusyError):
                message = "The HubConnection's budget (spec.budget) is used up for the moment. It is tried again."
            reason = "HubThrottled" if isinstance(error, ThrottledError) else "HubBudgetSpent"
            return Waiting(reason, message, retry_after=seconds, observed=False)
        case InvalidError():
            message = f"The hub refuses the identity ({error.code}). Fix spec.identity or the hub."
            return Stalled("HubRefusedRequest", message)
        case AlreadyExistsError() | PreconditionFailedError():
            message = "The identity changed in the hub meanwhile. It is looked at again."
            return Waiting("HubChanging", message, retry_after=1)
        case _:
            message = f"The hub cannot be reached now ({error.code}). It is tried again."
            return Waiting("HubUnavailable", message, retry_after=15, observed=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Observation:
    """What one look at a device's identity is about. `thumbprints` are None with symmetric keys."""

    device: EdgeDevice
    connection: HubConnection
    hub: Hub
    secret: Secret | None
    thumbprints: Thumbprints | None


class IdentityStep:
    """Makes the identity exist and be ours, and keeps the Secret equal to it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def claim(self, device: EdgeDevice, connection: HubConnection, hub: Hub) -> Claim:
        """The identity: observed, created, adopted or put right.

        Raises:
            Waiting: the hub is not in a state to tell or to act.
            Stalled: the identity or the Secret belongs to somebody else.
        """
        secret = await self._own_secret(device)
        thumbprints, certificate = await self._certificate(device)
        observation = _Observation(
            device=device, connection=connection, hub=hub, secret=secret, thumbprints=thumbprints
        )
        try:
            claim = await self._at_rest(observation)
            if claim is None:
                identity = await hub.get(device.device_id)
                claim = await (self._create(observation) if identity is None else self._keep(observation, identity))
        except HubError as exc:
            raise from_hub_error(exc) from exc
        return dataclasses.replace(claim, certificate=certificate)

    async def _own_secret(self, device: EdgeDevice) -> Secret | None:
        secret = await self._cluster.secret(device.namespace, device.secret_name)
        if secret is None:
            return None
        if secret.type != SECRET_TYPE or (secret.owner_uids and device.uid not in secret.owner_uids):
            message = (
                f"Secret '{device.secret_name}' exists and is not this EdgeDevice's. It is left alone: "
                "remove it, or choose another name in spec.connectionSecret."
            )
            raise Stalled("SecretConflict", message)
        return secret

    async def _certificate(self, device: EdgeDevice) -> tuple[Thumbprints | None, Certificate | None]:
        """What an X.509 device authenticates with: thumbprints as given, or those of the certificate in a Secret."""
        x509 = device.x509
        if x509 is None:
            return None, None
        if x509.secret_name is None:
            return Thumbprints(primary=x509.primary_thumbprint or "", secondary=x509.secondary_thumbprint), None
        where = f"Secret '{x509.secret_name}' (spec.identity.x509.certificateSecretRef)"
        secret = await self._cluster.secret(device.namespace, x509.secret_name)
        if secret is None:
            raise Waiting("CertificateSecretNotFound", f"There is no {where}. Create it.", retry_after=30)
        certificate, key = secret.data.get("tls.crt", b""), secret.data.get("tls.key", b"")
        try:
            first = keyring.thumbprint(certificate)
        except ValueError:
            message = f"'tls.crt' of {where} is no PEM certificate. Fix it."
            raise Stalled("CertificateSecretInvalid", message) from None
        if not key.strip():
            raise Stalled("CertificateSecretInvalid", f"{where} has no key 'tls.key'. Add the private key.")
        found = Thumbprints(primary=first, secondary=x509.secondary_thumbprint)
        return found, Certificate(certificate=certificate, private_key=key)

    async def _at_rest(self, observation: _Observation) -> Claim | None:
        """The identity as it was, if nothing can have changed: its etag is that for which the Secret was written."""
        device, secret, thumbprints = observation.device, observation.secret, observation.thumbprints
        known = device.status.identity
        credentials = thumbprints or keyring.keys_of(secret)
        if (
            secret is None
            or credentials is None
            or known.origin is None
            or not known.etag
            or device.renew_key
            or (known.hub_host_name, known.device_id) != (observation.connection.host_name, device.device_id)
            or (known.status == "Enabled") != device.enabled
            or secret.annotations.get(WRITTEN_FOR) != keyring.mark(known.etag, secret.data)
            or (thumbprints is not None and secret.data.get("primaryThumbprint") != thumbprints.primary.encode())
            or (thumbprints is not None and _second(secret) != thumbprints.secondary)
        ):
            return None
        if await observation.hub.twin_etag(device.device_id) != known.etag:
            return None
        identity = Identity(
            device_id=device.device_id,
            generation_id=known.generation_id,
            etag=known.etag,
            enabled=device.enabled,
            iot_edge=True,
            authentication="sas" if isinstance(credentials, Keys) else "selfSigned",
            credentials=credentials,
        )
        return Claim(identity=identity, origin=known.origin, credentials=credentials)

    async def _create(self, observation: _Observation) -> Claim:
        device, connection, secret = observation.device, observation.connection, observation.secret
        credentials: Credentials | None = observation.thumbprints or keyring.keys_of(secret)
        recreated = bool(device.status.identity.generation_id)
        if observation.thumbprints is not None:
            log = IdentityStatus(hub_host_name=connection.host_name, device_id=device.device_id, origin=Origin.CREATED)
            await self._cluster.put_status(device, dataclasses.replace(device.status, identity=log))
        elif credentials is None:
            credentials = keyring.new_keys()
            await self._write(device, connection, credentials, Origin.CREATED, secret=secret, etag="")
        assert credentials is not None  # noqa: S101 - one of the two lines above saw to it
        identity = await observation.hub.create(device.device_id, credentials, enabled=device.enabled)
        reason = "IdentityRecreated" if recreated else "IdentityCreated"
        text = (
            "was gone from the hub and was created again with the same credentials"
            if recreated
            else "was created in the hub"
        )
        event = (reason, f"The identity '{device.device_id}' {text}.")
        held = identity.credentials or credentials
        return Claim(identity=identity, origin=Origin.CREATED, credentials=held, events=(event,))

    async def _keep(self, observation: _Observation, identity: Identity) -> Claim:
        device, connection, secret = observation.device, observation.connection, observation.secret
        origin, events = _ownership(observation, identity)
        credentials, renewed = _wanted(device, identity, observation.thumbprints)
        if credentials is None:
            if origin is Origin.ADOPTED:
                message = (
                    f"The identity '{device.device_id}' authenticates with '{identity.authentication}', not with symmetric "
                    "keys. Set spec.identity.authentication, or change it in the hub."
                )
                raise Stalled("IdentityAuthenticationDiffers", message)
            credentials = keyring.keys_of(secret)
            if credentials is None:
                credentials = keyring.new_keys()
                await self._write(device, connection, credentials, origin, secret=secret, etag="")
        right = identity.iot_edge and identity.enabled == device.enabled and identity.credentials == credentials
        if not right:
            if not device.correct_drift and not renewed:
                raise Stalled("DriftDetected", "The identity differs from the spec, and spec.driftPolicy is 'Report'.")
            identity = await observation.hub.update(identity, enabled=device.enabled, credentials=credentials)
            reason = "IdentityKeyRenewed" if renewed else "IdentityCorrected"
            text = f"got a new {renewed.lower()} key" if renewed else "was put right in the hub"
            events = (*events, (reason, f"The identity '{device.device_id}' {text}."))
        if device.renew_key:
            await self._cluster.forget_renewal(device)
        return Claim(identity=identity, origin=origin, credentials=credentials, events=events)

    async def store(self, device: EdgeDevice, connection: HubConnection, claim: Claim) -> str:
        """The Secret holds what the hub has at present; nothing is written when it does already.

        Returns:
            The connection string that the device shall use.
        """
        secret = await self._own_secret(device)
        wanted = keyring.secret_data(
            connection.host_name, device.device_id, claim.credentials, key_in_use=device.key_in_use
        )
        holds = secret is not None and all(secret.data.get(key) == value.encode() for key, value in wanted.items())
        if (
            holds
            and secret is not None
            and device.uid in secret.owner_uids
            and _origin(secret) == claim.origin
            and not keyring.obsolete(secret, wanted)
            and secret.annotations.get(WRITTEN_FOR) == keyring.mark(claim.identity.etag, secret.data)
        ):
            return wanted["connectionString"]
        await self._write(device, connection, claim.credentials, claim.origin, secret=secret, etag=claim.identity.etag)
        return wanted["connectionString"]

    async def _write(
        self,
        device: EdgeDevice,
        connection: HubConnection,
        credentials: Credentials,
        origin: Origin,
        *,
        secret: Secret | None,
        etag: str,
    ) -> None:
        data = keyring.secret_data(connection.host_name, device.device_id, credentials, key_in_use=device.key_in_use)
        written_for = keyring.mark(etag, {name: value.encode() for name, value in data.items()})
        try:
            await self._cluster.put_connection_secret(
                device,
                data,
                annotations={ORIGIN: origin.value, WRITTEN_FOR: written_for},
                create=secret is None,
                obsolete=keyring.obsolete(secret, data),
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
            if not _still_ours(device, secret, identity):
                return f"The hub's device '{device.device_id}' is not this EdgeDevice's; it was left alone."
            await hub.delete(identity)
        except HubError as exc:
            raise from_hub_error(exc) from exc
        return f"The identity '{device.device_id}' was deleted from the hub."


def _ownership(observation: _Observation, identity: Identity) -> tuple[Origin, Events]:
    """Whether an identity that is there is ours: by its keys, by our log, or because it was ours before."""
    device, connection, secret = observation.device, observation.connection, observation.secret
    before = device.status.identity
    stored = keyring.keys_of(secret)
    origin = before.origin or _origin(secret)
    if stored is not None and stored == identity.keys:
        return origin or Origin.CREATED, ()
    ours = before.device_id == device.device_id and before.hub_host_name == connection.host_name
    logged = ours and not before.generation_id and before.origin is Origin.CREATED
    if logged and observation.thumbprints is not None and observation.thumbprints == identity.thumbprints:
        return Origin.CREATED, ()
    ours = ours and bool(before.generation_id)
    if ours and identity.generation_id == before.generation_id:
        changed = (("IdentityKeysChanged", "The keys were changed in the hub; Secret and device follow."),)
        return origin or Origin.CREATED, changed if stored is not None and identity.keys is not None else ()
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


def _wanted(device: EdgeDevice, identity: Identity, thumbprints: Thumbprints | None) -> tuple[Credentials | None, str]:
    """What the identity shall authenticate with, and which key is renewed ('' for none). None: keys, but it has none."""
    if thumbprints is not None:
        return thumbprints, ""
    keys = identity.keys
    if keys is not None and device.renew_key in {"Primary", "Secondary"} and device.renew_key != device.key_in_use:
        return keyring.renewed(keys, device.renew_key), device.renew_key
    return keys, ""


def _still_ours(device: EdgeDevice, secret: Secret | None, identity: Identity) -> bool:
    known, keys = device.status.identity, keyring.keys_of(secret)
    if keys is not None and keys == identity.keys:
        return True
    if known.generation_id:
        return known.generation_id == identity.generation_id
    # A crash came between the creation with thumbprints, which the log announces, and the status.
    return known.origin is Origin.CREATED and known.device_id == identity.device_id and identity.thumbprints is not None


def _second(secret: Secret) -> str | None:
    return secret.data.get("secondaryThumbprint", b"").decode("ascii", "replace") or None


def _origin(secret: Secret | None) -> Origin | None:
    value = secret.annotations.get(ORIGIN, "") if secret else ""
    return Origin(value) if value in set(Origin) else None
