"""The identity in the hub: it exists, is ours, and is as the spec wants it.

The Secret is the write-ahead log: keys are made here and stored in the cluster before the identity is created with
exactly those keys. After any crash or lost reply the truth can be told: if the hub's keys are the Secret's, the
identity is ours. Thumbprints are no secret and prove nothing, so with X.509 the log is the status, which only the
operator may write. In any case the status says first that an identity is created, so a deletion knows where to look.
"""

import dataclasses

from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.hub.port import (
    AlreadyExistsError,
    BusyError,
    HubError,
    Identity,
    InvalidError,
    Owner,
    QuotaExceededError,
    RefusedError,
    ThrottledError,
    Twin,
)
from edgeherd.model import (
    Credentials,
    EdgeDevice,
    IdentityStatus,
    Key,
    Keys,
    Origin,
    Secret,
    Thumbprints,
)
from edgeherd.reconcile import admission, connection_secret, credentials, ownership, secret_use
from edgeherd.reconcile.credentials import Certificate
from edgeherd.reconcile.ownership import Observation
from edgeherd.reconcile.step import Claim, Context, Dependencies, Done, Event, Step, Undone

RELEASED, NOT_RELEASED = "IdentityReleased", "IdentityNotReleased"


class IdentityStep(Step):
    """Makes the identity exist and be ours."""

    condition = "IdentityReady"
    undone = frozenset({RELEASED, NOT_RELEASED})

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies)
        self._digests: dict[Key, str] = {}
        self._heard: dict[Key, str] = {}
        """Whose wish for a new key was heard, by uid: while the annotation cannot be taken away it is not renewed again."""

    async def reconcile(self, context: Context) -> Done:
        """The identity: observed, created, adopted or put right."""
        await admission.enter(self.dependencies, context)
        device = context.device
        if not device.renew_key:
            self._heard.pop(
                device.key, None
            )  # it was taken away after all: the answer got lost, or somebody else did it
        context.secret = context.found_secret = await connection_secret.read(self.dependencies.cluster, device)
        thumbprints, certificate = await self._certificate(device)
        observation = self._observation(context, thumbprints)
        if observation.moved_from:
            raise _moved(observation)
        claim, twin = await self._unchanged(context, observation)
        if claim is None:
            identity = await context.hub.hub.get(device.device_id)
            if identity is None:
                claim = await self._create(context, observation)
            else:
                twin = twin or await self._twin(context, needed=not ownership.is_proved_by_keys(observation, identity))
                claim, twin = await self._keep(context, observation, identity, twin)
        await self._mark(context, observation, claim, twin)
        context.claim = dataclasses.replace(claim, certificate=certificate)
        self._digests[device.key] = ownership.remembered(device, claim.credentials)
        found = IdentityStatus(
            hub_host_name=observation.connection.host_name,
            device_id=device.device_id,
            generation_id=claim.identity.generation_id,
            etag=claim.identity.etag,
            origin=claim.origin,
            status="Enabled" if claim.identity.enabled else "Disabled",
        )
        context.update(identity=found)
        if device.status.identity.generation_id != claim.identity.generation_id:
            # Whatever happens to the rest of the pass, or to the Secret: a deletion must know that there is something.
            await self._record(context, found)
        return Done("Registered", f"The hub has the identity '{device.device_id}' as the spec wants it.")

    async def delete(self, context: Context) -> Undone:
        """Delete the identity if it still is ours."""
        device, hub = context.device, context.hub.hub
        observation = self._observation(context, await self._thumbprints(device))
        if observation.moved_from:
            raise _moved(observation)
        identity = await hub.get(device.device_id)
        if identity is None:
            return Undone(RELEASED, f"The identity '{device.device_id}' was gone from the hub already.")
        if not await self._may_delete(context, observation, identity):
            text = (
                f"The hub's device '{device.device_id}' was left alone: neither its keys nor its twin's tag show that it "
                "is this EdgeDevice's. Delete it in the hub if nobody needs it."
            )
            return Undone(NOT_RELEASED, text, leftover=True)
        await hub.delete(identity)
        return Undone(RELEASED, f"The identity '{device.device_id}' was deleted from the hub.")

    async def _may_delete(self, context: Context, observation: Observation, identity: Identity) -> bool:
        """Keys can be copied, with a manifest say: who is marked as the owner, or has the identity, is asked first."""
        device = observation.device
        twin = await self._twin(context, needed=not ownership.is_proved_by_keys(observation, identity))
        if ownership.is_marked_by_another(device, twin) or not ownership.is_ours(observation, identity, twin):
            return False
        on_record = bool(device.status.identity.generation_id)
        return on_record or not await self.dependencies.claims.is_held(device, observation.connection)

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._digests.pop(key, None)
        self._heard.pop(key, None)

    async def _record(self, context: Context, identity: IdentityStatus) -> None:
        """Write down what there is, or may be in a moment, before the pass ends; all else stays as it was."""
        status = dataclasses.replace(context.device.status, identity=identity)
        if status != context.device.status:
            context.device = await self.dependencies.cluster.put_status(context.device, status)

    def _observation(self, context: Context, thumbprints: Thumbprints | None) -> Observation:
        return Observation(
            device=context.device,
            connection=context.hub.connection,
            secret=context.secret,
            thumbprints=thumbprints,
            remembered=self._digests.get(context.device.key, ""),
        )

    async def _unchanged(self, context: Context, observation: Observation) -> tuple[Claim | None, Twin | None]:
        """The identity as it was, if nothing can have changed, and the twin that says so."""
        claim = self._at_rest(observation)
        if claim is None:
            return None, None
        twin = await self._twin(context, needed=False)
        right = twin is not None and twin.device_etag == claim.identity.etag
        return (claim if right else None), twin

    async def _twin(self, context: Context, *, needed: bool) -> Twin | None:
        """The twin; None where it cannot tell. A trouble is no answer where one is needed."""
        try:
            return await context.hub.hub.twin(context.device.device_id)
        except HubError:
            if needed:
                raise
            return None

    async def _mark(self, context: Context, observation: Observation, claim: Claim, twin: Twin | None) -> None:
        """The twin says whose the identity is, so that other clusters see it. Best effort: keys are the proof.

        Only keys beat the mark of another: thumbprints are known to anybody.
        """
        device = context.device
        if twin is not None and twin.owner == _owner(device):
            return
        if twin is None and device.status.identity.generation_id == claim.identity.generation_id:
            return  # it cannot be read now: it may well be marked, and at rest nothing is written
        if ownership.is_marked_by_another(device, twin) and not ownership.is_proved_by_keys(
            observation, claim.identity
        ):
            return
        try:
            await context.hub.hub.mark(device.device_id, _owner(device), etag="*")
        except HubError:
            return

    async def _thumbprints(self, device: EdgeDevice) -> Thumbprints | None:
        """Those that the identity should have; None where they cannot be told any more."""
        try:
            return (await self._certificate(device))[0]
        except ReconcileError:
            return None

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
        secret_use.require(secret, secret_use.CERTIFICATE)
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

    def _at_rest(self, observation: Observation) -> Claim | None:
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

    async def _create(self, context: Context, observation: Observation) -> Claim:
        """What it is created with is on record first, and that it is created: whatever fails then, a deletion finds it."""
        device, host_name = observation.device, observation.connection.host_name
        known = device.status.identity
        held: Credentials
        if observation.thumbprints is not None:
            held = observation.thumbprints
        else:
            held = await self._stored_keys(context, host_name, Origin.CREATED)
        if observation.thumbprints is not None or not known.is_known:
            record = IdentityStatus(hub_host_name=host_name, device_id=device.device_id, origin=Origin.CREATED)
            context.update(identity=record)
            await self._record(context, record)
        try:
            identity = await context.hub.hub.create(device.device_id, held, enabled=device.enabled)
        except (AlreadyExistsError, BusyError, ThrottledError, RefusedError, QuotaExceededError, InvalidError):
            context.update(identity=known)  # this pass created nothing: its record would claim what is not ours
            raise
        if known.generation_id:
            same = observation.thumbprints is not None or observation.secret is not None
            text = f"was gone from the hub and was created again with {'the same' if same else 'new'} credentials"
            context.event("IdentityRecreated", f"The identity '{device.device_id}' {text}.")
        else:
            context.event("IdentityCreated", f"The identity '{device.device_id}' was created in the hub.")
        return Claim(identity=identity, origin=Origin.CREATED, credentials=identity.credentials or held)

    async def _keep(
        self, context: Context, observation: Observation, identity: Identity, twin: Twin | None
    ) -> tuple[Claim, Twin | None]:
        """The identity that is there: ours, and put right where it differs; and the twin as it is now."""
        device = observation.device
        # A device that has not got this spec yet may still connect with the key that was in use before it: the wish waits.
        is_to_wait = device.status.device.applied_generation not in {None, device.generation}
        if is_to_wait or self._heard.get(device.key) == device.uid:
            device = dataclasses.replace(device, renew_key="")
        if ownership.is_ours(observation, identity, twin):
            origin, changed = ownership.what_changed(observation, identity)
            context.events.extend(changed)
        else:
            origin, twin = Origin.ADOPTED, await self._adopt(context, observation, twin)
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
            if renewed:
                # On record first: were both keys others than those of the Secret, nothing would prove whose they are.
                context.secret = await connection_secret.write(
                    self.dependencies.cluster,
                    device,
                    observation.connection.host_name,
                    held,
                    origin,
                    secret=context.secret,
                    etag="",
                )
            identity = await context.hub.hub.update(identity, enabled=device.enabled, credentials=held)
            context.event(*_updated(device, renewed))
        if observation.device.renew_key and not is_to_wait:
            if device.renew_key and not renewed:
                context.events.append(_not_renewed(device))
            self._heard[device.key] = device.uid
            await self.dependencies.cluster.forget_renewal(device)
            del self._heard[device.key]
        return Claim(identity=identity, origin=origin, credentials=held), twin

    async def _adopt(self, context: Context, observation: Observation, twin: Twin | None) -> Twin | None:
        """Take over an identity that is nobody's, if the device asks for it and the hub's administrator allows it.

        Returns:
            The twin, with our mark.

        Raises:
            Stalled: it is somebody else's, or adoption is not allowed.
        """
        device, connection = observation.device, observation.connection
        if not (device.may_adopt and connection.adoption_allowed):
            message = (
                f"The hub already has a device '{device.device_id}', and neither its keys nor its twin's tag show that it is this "
                "EdgeDevice's. It is left alone: choose another spec.deviceId, delete it in the hub (it comes back with the keys of "
                "the connection Secret), or allow adoption (spec.adoptionPolicy: IfExists, and the HubConnection's adoption)."
            )
            raise Stalled("IdentityConflict", message)
        if twin is not None and twin.owner is not None:
            message = (
                f"The hub's device '{device.device_id}' belongs to an EdgeDevice already, perhaps of another cluster: its twin's tag "
                "'edgeherd' says so. It is not adopted. If that EdgeDevice is gone for good, remove the tag."
            )
            raise Stalled("IdentityConflict", message)
        await self.dependencies.claims.require_sole(device, connection)
        if twin is not None:
            # Two clusters may be here at once: the one whose mark comes first has it.
            await context.hub.hub.mark(device.device_id, _owner(device), etag=twin.etag)
            twin = dataclasses.replace(twin, owner=_owner(device))
        context.event("IdentityAdopted", f"The identity '{device.device_id}' was adopted.")
        return twin

    async def _stored_keys(self, context: Context, host_name: str, origin: Origin) -> Keys:
        """The keys that the Secret holds; new ones, written down before anybody uses them, where it holds none.

        It is this EdgeDevice's own afterwards: if it cannot be, that is known before there is an identity.
        """
        keys, owners = credentials.keys_of(context.secret), context.secret.owner_uids if context.secret else ()
        if keys is None or context.device.uid not in owners:
            keys = keys or credentials.new_keys()
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


def _owner(device: EdgeDevice) -> Owner:
    return Owner(uid=device.uid, namespace=device.namespace, name=device.name)


def _moved(observation: Observation) -> Stalled:
    """The HubConnection was made anew for another hub: the identity stays where it is until somebody decides."""
    device, old, new = observation.device, observation.moved_from, observation.connection.host_name
    message = (
        f"The identity '{device.device_id}' is in hub '{old}', but HubConnection '{device.hub_name}' is for '{new}' now. Nothing "
        "is done in either: make the HubConnection for the old hub again, or delete this EdgeDevice with deletionPolicy "
        "'Retain' and create it anew."
    )
    return Stalled("HubChanged", message)


def _wanted(device: EdgeDevice, identity: Identity, thumbprints: Thumbprints | None) -> tuple[Credentials | None, str]:
    """What the identity shall authenticate with, and which key is renewed ('' for none). None: keys, but it has none."""
    if thumbprints is not None:
        return thumbprints, ""
    keys = identity.keys
    if keys is not None and device.renew_key in {"Primary", "Secondary"} and device.renew_key != device.key_in_use:
        return credentials.renewed(keys, device.renew_key), device.renew_key
    return keys, ""


def _updated(device: EdgeDevice, renewed: str) -> tuple[str, str]:
    """Reason and message: what somebody asked for is no correction."""
    if renewed:
        return "IdentityKeyRenewed", f"The identity '{device.device_id}' got a new {renewed.lower()} key."
    if device.status.observed_generation != device.generation:
        return "IdentityUpdated", f"The identity '{device.device_id}' was made in the hub as the spec says."
    return "IdentityCorrected", f"The identity '{device.device_id}' was put right in the hub."


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


def _second(secret: Secret) -> str | None:
    return secret.data.get("secondaryThumbprint", b"").decode("ascii", "replace") or None
