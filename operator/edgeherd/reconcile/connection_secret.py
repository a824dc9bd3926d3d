"""The connection Secret of an EdgeDevice: whose it is, and how it is written.

It is the write-ahead log: keys are stored in it before an identity is created with exactly those keys.
"""

from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.cluster.port import Cluster
from edgeherd.errors import Stalled, Waiting
from edgeherd.model import SECRET_TYPE, Credentials, EdgeDevice, Origin, Secret
from edgeherd.reconcile import credentials
from edgeherd.reconcile.errors import from_api_error

CONDITION = "SecretReady"
"""The condition that it is about, whoever asks for it."""

ORIGIN = "edgeherd.io/identity-origin"
WRITTEN_FOR = "edgeherd.io/written-for"


async def read(cluster: Cluster, device: EdgeDevice) -> Secret | None:
    """The Secret; None where there is none yet.

    Raises:
        Stalled: it is there and not this EdgeDevice's.
        Waiting: it may not be read.
    """
    try:
        secret = await cluster.secret(device.namespace, device.secret_name)
    except ApiError as exc:
        raise from_api_error(exc, condition=CONDITION) from exc
    if secret is not None and not is_ours(device, secret):
        message = (
            f"Secret '{device.secret_name}' exists and is not this EdgeDevice's. It is left alone: "
            "remove it, or choose another name in spec.connectionSecret."
        )
        raise Stalled("SecretConflict", message, condition=CONDITION)
    return secret


def is_ours(device: EdgeDevice, secret: Secret) -> bool:
    """Whether it is of our type, and nobody else's."""
    return secret.type == SECRET_TYPE and (not secret.owner_uids or device.uid in secret.owner_uids)


async def write(
    cluster: Cluster,
    device: EdgeDevice,
    host_name: str,
    held: Credentials,
    origin: Origin,
    *,
    secret: Secret | None,
    etag: str,
) -> Secret:
    """Write it. `secret` is what is there; `etag` that of the identity it is written for, empty before there is one.

    Raises:
        Waiting: somebody else was faster, or it may not be written.
    """
    data = credentials.secret_data(host_name, device.device_id, held, key_in_use=device.key_in_use)
    # Before the hub has followed, thumbprints that are still in it may be all that proves whose the identity is.
    obsolete = credentials.obsolete(secret, data) if etag else ()
    kept = {name: value for name, value in secret.data.items() if name not in obsolete} if secret is not None else {}
    written_for = credentials.mark(etag, {**kept, **{name: value.encode() for name, value in data.items()}})
    try:
        return await cluster.put_connection_secret(
            device,
            data,
            annotations={ORIGIN: origin.value, WRITTEN_FOR: written_for},
            create=secret is None,
            obsolete=obsolete,
        )
    except ConflictError as exc:
        message = "The Secret changed meanwhile. It is looked at again."
        raise Waiting("SecretChanging", message, retry_after=1, condition=CONDITION) from exc
    except ApiError as exc:
        raise from_api_error(exc, condition=CONDITION, observed=True) from exc


def origin_of(secret: Secret | None) -> Origin | None:
    """Where the identity came from, as the Secret has it."""
    value = secret.annotations.get(ORIGIN, "") if secret else ""
    return Origin(value) if value in set(Origin) else None


def was_edited(secret: Secret) -> bool:
    """Whether somebody changed what the operator wrote into it."""
    etag, _, _ = secret.annotations.get(WRITTEN_FOR, "").rpartition(" ")
    return not is_written_for(secret, etag)


def is_written_for(secret: Secret, etag: str) -> bool:
    """Whether it was written for this version of the identity, and nobody edited it since."""
    return secret.annotations.get(WRITTEN_FOR) == credentials.mark(etag, secret.data)
