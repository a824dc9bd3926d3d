"""The connection Secret: it holds what the hub has at present, for the device and for whoever else connects as it."""

from edgeherd.model import Key
from edgeherd.reconcile import connection_secret, credentials
from edgeherd.reconcile.step import Context, Done, Event, Step


class SecretStep(Step):
    """Keeps the Secret equal to the identity; nothing is written when it is already. It goes with its owner."""

    condition = connection_secret.CONDITION

    async def reconcile(self, context: Context) -> Done:
        """The Secret holds the hub's present credentials."""
        device, claim, secret = context.device, context.claim, context.secret
        host_name = context.hub.connection.host_name
        wanted = credentials.secret_data(host_name, device.device_id, claim.credentials, key_in_use=device.key_in_use)
        right = (
            secret is not None
            and all(secret.data.get(key) == value.encode() for key, value in wanted.items())
            and device.uid in secret.owner_uids
            and connection_secret.origin_of(secret) == claim.origin
            and not credentials.obsolete(secret, wanted)
            and connection_secret.is_written_for(secret, claim.identity.etag)
        )
        if not right:
            context.secret = await connection_secret.write(
                self.dependencies.cluster,
                device,
                host_name,
                claim.credentials,
                claim.origin,
                secret=secret,
                etag=claim.identity.etag,
            )
            context.events.extend(_restored(context))
        if context.secret is not None:
            self.dependencies.secret_versions.saw(device.key, context.secret.resource_version)
        context.connection_string = wanted["connectionString"]
        context.update(secret_name=device.secret_name)
        return Done("SecretStored", f"Secret '{device.secret_name}' holds the credentials that the hub has.")

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self.dependencies.secret_versions.forget(key)


def _restored(context: Context) -> list[Event]:
    """Somebody deleted it, or changed what is in it."""
    device, found = context.device, context.found_secret
    if not device.status.secret_name:
        return []
    if found is not None and not connection_secret.was_edited(found):
        return []
    what = "was gone" if found is None else "had been changed"
    text = f"Secret '{device.secret_name}' {what}; it was written again with the credentials that the hub has."
    return [Event("SecretRestored", text)]
