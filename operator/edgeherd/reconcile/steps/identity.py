"""The identity in the hub: it exists, is ours, and is as the spec wants it.

The Secret is the write-ahead log: keys are made here and stored in the cluster before the identity is created with
exactly those keys. After any crash or lost reply the truth can be told: if the hub's keys are the Secret's, the
identity is ours. Thumbprints are no secret and prove nothing, so with X.509 the log is the status, which only the
operator may write.
"""

import dataclasses

from edgeherd.errors import Stalled, Waiting
from edgeherd.hub.port import Identity
from edgeherd.model import (
    Credentials,
    EdgeDevice,
    HubConnection,
    IdentityStatus,
    Keys,
    Origin,
    Secret,
    Thumbprints,
)
from edgeherd.reconcile import connection_secret, credentials
from edgeherd.reconcile.credentials import Certificate
from edgeherd.reconcile.step import Claim, Context, Done, Event, Step


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Observation:
    """What one look at a device's identity is about. `thumbprints` are None with symmetric keys."""

    device: EdgeDevice
    connection: HubConnection
    secret: Secret | None
    thumbprints: Thumbprints | None


class IdentityStep(Step):
    """Makes the identity exist and be ours."""

    condition = "IdentityReady"

    async def reconcile(self, context: Context) -> Done:
        """The identity: observed, created, adopted or put right."""
        device = context.device
        await self._require_first(device)
        context.hub = await self.dependencies.hubs.for_device(device)
        context.secret = await connection_secret.read(self.dependencies.cluster, device)
        thumbprints, certificate = await self._certificate(device)
        observation = _Observation(
            device=device,
            connection=context.hub.connection,
            secret=context.secret,
            thumbprints=thumbprints,
        )
        claim = self._at_rest(observation)
        if claim is None or await context.hub.hub.twin_etag(device.device_id) != claim.identity.etag:
            identity = await context.hub.hub.get(device.device_id)
            if identity is None:
                claim = await self._create(context, observation)
            else:
                claim = await self._keep(context, observation, identity)
        context.claim = dataclasses.replace(claim, certificate=certificate)
        context.update(
            identity=IdentityStatus(
                hub_host_name=observation.connection.host_name,
                device_id=device.device_id,
                generation_id=claim.identity.generation_id,
                etag=claim.identity.etag,
                origin=claim.origin,
                status="Enabled" if claim.identity.enabled else "Disabled",
            )
        )
        return Done("Registered", f"The hub has the identity '{device.device_id}' as the spec wants it.")

    async def delete(self, context: Context) -> None:
        """Delete the identity if it still is ours."""
        device, hub = context.device, context.hub.hub
        identity = await hub.get(device.device_id)
        if identity is None:
            done = f"The identity '{device.device_id}' was gone from the hub already."
        elif not _still_ours(device, context.secret, identity):
            done = f"The hub's device '{device.device_id}' is not this EdgeDevice's; it was left alone."
        else:
            await hub.delete(identity)
            done = f"The identity '{device.device_id}' was deleted from the hub."
        context.event("IdentityReleased", done)

    async def _require_first(self, device: EdgeDevice) -> None:
        """Two EdgeDevices may name one identity: the older one has it."""
        claimants = self.dependencies.claimants
        first = claimants.older_claimant(device)
        if first is not None and await self.dependencies.cluster.edge_device(first.namespace, first.name) is None:
            claimants.delete(first)  # its deletion fell into a gap of the watch
            first = claimants.older_claimant(device)
        if first is not None:
            message = (
                f"EdgeDevice '{first.namespace}/{first.name}' is older and names the same device id '{device.device_id}'. "
                "Give this one another spec.deviceId, or delete one of them."
            )
            raise Stalled("IdentityConflict", message)

    async def _certificate(self, device: EdgeDevice) -> tuple[Thumbprints | None, Certificate | None]:
        """What an X.509 device authenticates with: thumbprints as given, or those of the certificate in a Secret."""
        x509 = device.x509
        if x509 is None:
            return None, None
        if x509.secret_name is None:
            return Thumbprints(primary=x509.primary_thumbprint or "", secondary=x509.secondary_thumbprint), None
        where = f"Secret '{x509.secret_name}' (spec.identity.x509.certificateSecretRef)"
        secret = await self.dependencies.cluster.secret(device.namespace, x509.secret_name)
        if secret is None:
            raise Waiting("CertificateSecretNotFound", f"There is no {where}. Create it.", retry_after=30)
        certificate, key = secret.data.get("tls.crt", b""), secret.data.get("tls.key", b"")
        try:
            first = credentials.thumbprint(certificate)
        except ValueError:
            message = f"'tls.crt' of {where} is no PEM certificate. Fix it."
            raise Stalled("CertificateSecretInvalid", message) from None
        if not key.strip():
            raise Stalled("CertificateSecretInvalid", f"{where} has no key 'tls.key'. Add the private key.")
        found = Thumbprints(primary=first, secondary=x509.secondary_thumbprint)
        return found, Certificate(certificate=certificate, private_key=key)

    def _at_rest(self, observation: _Observation) -> Claim | None:
        """The identity as it was, if nothing can have changed: the Secret was written for the etag that is known."""
        device, secret, thumbprints = observation.device, observation.secret, observation.thumbprints
        known = device.status.identity
        held = thumbprints or credentials.keys_of(secret)
        if (
            secret is None
            or held is None
            or known.origin is None
            or not known.etag
            or device.renew_key
            or (known.hub_host_name, known.device_id) != (observation.connection.host_name, device.device_id)
            or (known.status == "Enabled") != device.enabled
            or not connection_secret.is_written_for(secret, known.etag)
            or (thumbprints is not None and secret.data.get("primaryThumbprint") != thumbprints.primary.encode())
            or (thumbprints is not None and _second(secret) != thumbprints.secondary)
        ):
            return None
        identity = Identity(
            device_id=device.device_id,
            generation_id=known.generation_id,
            etag=known.etag,
            enabled=device.enabled,
            iot_edge=True,
            authentication="sas" if isinstance(held, Keys) else "selfSigned",
            credentials=held,
        )
        return Claim(identity=identity, origin=known.origin, credentials=held)

    async def _create(self, context: Context, observation: _Observation) -> Claim:
        """The keys (or the thumbprints) are on record before the identity is created with them."""
        device, host_name = observation.device, observation.connection.host_name
        recreated = bool(device.status.identity.generation_id)
        held: Credentials
        if observation.thumbprints is not None:
            held = observation.thumbprints
            log = IdentityStatus(hub_host_name=host_name, device_id=device.device_id, origin=Origin.CREATED)
            context.update(identity=log)
            await self.dependencies.cluster.put_status(device, dataclasses.replace(device.status, identity=log))
        else:
            held = await self._stored_keys(context, host_name, Origin.CREATED)
        identity = await context.hub.hub.create(device.device_id, held, enabled=device.enabled)
        if recreated:
            text = "was gone from the hub and was created again with the same credentials"
            context.event("IdentityRecreated", f"The identity '{device.device_id}' {text}.")
        else:
            context.event("IdentityCreated", f"The identity '{device.device_id}' was created in the hub.")
        return Claim(identity=identity, origin=Origin.CREATED, credentials=identity.credentials or held)

    async def _keep(self, context: Context, observation: _Observation, identity: Identity) -> Claim:
        """The identity that is there: ours, and put right where it differs."""
        device = observation.device
        origin, changed = _ownership(observation, identity)
        context.events.extend(changed)
        held, renewed = _wanted(device, identity, observation.thumbprints)
        if held is None:
            if origin is Origin.ADOPTED:
                message = (
                    f"The identity '{device.device_id}' authenticates with '{identity.authentication}', not with symmetric "
                    "keys. Set spec.identity.authentication, or change it in the hub."
                )
                raise Stalled("IdentityAuthenticationDiffers", message)
            held = await self._stored_keys(context, observation.connection.host_name, origin)
        if not (identity.iot_edge and identity.enabled == device.enabled and identity.credentials == held):
            if not device.correct_drift and not renewed:
                raise Stalled("DriftDetected", "The identity differs from the spec, and spec.driftPolicy is 'Report'.")
            identity = await context.hub.hub.update(identity, enabled=device.enabled, credentials=held)
            reason = "IdentityKeyRenewed" if renewed else "IdentityCorrected"
            text = f"got a new {renewed.lower()} key" if renewed else "was put right in the hub"
            context.event(reason, f"The identity '{device.device_id}' {text}.")
        if device.renew_key:
            if not renewed:
                context.events.append(_not_renewed(device))
            await self.dependencies.cluster.forget_renewal(device)
        return Claim(identity=identity, origin=origin, credentials=held)

    async def _stored_keys(self, context: Context, host_name: str, origin: Origin) -> Keys:
        """The keys that the Secret holds; new ones, written down before anybody uses them, where it holds none."""
        keys = credentials.keys_of(context.secret)
        if keys is None:
            keys = credentials.new_keys()
            context.secret = await connection_secret.write(
                self.dependencies.cluster,
                context.device,
                host_name,
                keys,
                origin,
                secret=context.secret,
                etag="",
            )
        return keys


def _ownership(observation: _Observation, identity: Identity) -> tuple[Origin, tuple[Event, ...]]:
    """Whether an identity that is there is ours: by its keys, by our log, or because it was ours before."""
    device, connection, secret = observation.device, observation.connection, observation.secret
    before = device.status.identity
    stored = credentials.keys_of(secret)
    origin = before.origin or connection_secret.origin_of(secret)
    if stored is not None and stored == identity.keys:
        return origin or Origin.CREATED, ()
    ours = before.device_id == device.device_id and before.hub_host_name == connection.host_name
    logged = ours and not before.generation_id and before.origin is Origin.CREATED
    if logged and observation.thumbprints is not None and observation.thumbprints == identity.thumbprints:
        return Origin.CREATED, ()
    ours = ours and bool(before.generation_id)
    if ours and identity.generation_id == before.generation_id:
        changed = (Event("IdentityKeysChanged", "The keys were changed in the hub; Secret and device follow."),)
        return origin or Origin.CREATED, changed if stored is not None and identity.keys is not None else ()
    if ours and secret is not None:
        changed = (Event("IdentityReplaced", "The identity was replaced in the hub; Secret and device follow."),)
        return origin or Origin.CREATED, changed
    if device.may_adopt and connection.adoption_allowed:
        return Origin.ADOPTED, (Event("IdentityAdopted", f"The identity '{device.device_id}' was adopted."),)
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
        return credentials.renewed(keys, device.renew_key), device.renew_key
    return keys, ""


def _not_renewed(device: EdgeDevice) -> Event:
    """The annotation goes in any case: without a word it would look like heard."""
    allowed = (
        f"it may be '{'Secondary' if device.key_in_use == 'Primary' else 'Primary'}', the key that is not in use. To renew "
        f"the other one, set spec.identity.keyInUse first"
    )
    if device.x509 is not None:
        allowed = "the device authenticates with a certificate, so it has no key"
    text = f"No key was renewed: the annotation edgeherd.io/renew-key was {device.renew_key[:32]!r}; {allowed}."
    return Event("KeyNotRenewed", text, warning=True)


def _still_ours(device: EdgeDevice, secret: Secret | None, identity: Identity) -> bool:
    known, keys = device.status.identity, credentials.keys_of(secret)
    if keys is not None and keys == identity.keys:
        return True
    if known.generation_id:
        return known.generation_id == identity.generation_id
    # A crash came between the creation with thumbprints, which the log announces, and the status.
    return known.origin is Origin.CREATED and known.device_id == identity.device_id and identity.thumbprints is not None


def _second(secret: Secret) -> str | None:
    return secret.data.get("secondaryThumbprint", b"").decode("ascii", "replace") or None
