"""What the azure-iot-hub SDK has, in our terms. Its objects are of no type that mypy knows; nothing of it is imported here."""

from typing import Any

from edgeherd.hub.port import Identity, Listed, Owner, Twin
from edgeherd.model import Credentials, Keys, Thumbprints

OWNER_TAG = "edgeherd"
"""The tag of a device twin that names the EdgeDevice which the identity belongs to."""

_SCOPE = "ms-azure-iot-edge://"


def _credentials(authentication: Any) -> Credentials | None:
    if authentication is None:
        return None
    key, thumbprint = authentication.symmetric_key, authentication.x509_thumbprint
    if authentication.type == "sas" and key is not None and key.primary_key and key.secondary_key:
        return Keys(primary=key.primary_key, secondary=key.secondary_key)
    if authentication.type == "selfSigned" and thumbprint is not None:
        second = thumbprint.secondary_thumbprint
        return Thumbprints(
            primary=(thumbprint.primary_thumbprint or "").upper(), secondary=second.upper() if second else None
        )
    return None


def identity(device: Any) -> Identity:
    """The SDK's device in our terms.

    Raises:
        ValueError: it is not one.
    """
    if not isinstance(device.device_id, str) or not device.etag:
        raise ValueError("the answer has no device in it")
    return Identity(
        device_id=device.device_id,
        generation_id=device.generation_id or "",
        etag=device.etag or "",
        enabled=device.status == "enabled",
        iot_edge=bool(device.capabilities and device.capabilities.iot_edge),
        authentication=device.authentication.type if device.authentication is not None else "none",
        credentials=_credentials(device.authentication),
        status_reason=device.status_reason,
        device_scope=device.device_scope,
        parent_scopes=tuple(device.parent_scopes or ()),
    )


def twin(twin: Any) -> Twin:
    """The SDK's twin in our terms.

    Raises:
        ValueError: it is not one.
    """
    if not isinstance(twin.device_etag, str) or not isinstance(twin.etag, str) or not twin.device_etag:
        raise ValueError("the answer has no twin in it")
    return Twin(etag=twin.etag, device_etag=twin.device_etag, owner=_owner(twin))


def _owner(twin: Any) -> Owner | None:
    said = (twin.tags or {}).get(OWNER_TAG)
    fields = [said.get(name) for name in ("uid", "namespace", "name")] if isinstance(said, dict) else []
    named = [field for field in fields if isinstance(field, str) and field]
    return Owner(uid=named[0], namespace=named[1], name=named[2]) if len(named) == len(Owner.__slots__) else None


def listed(twin: Any, modules: int) -> Listed:
    """A row of the list of devices."""
    active = twin.last_activity_time
    return Listed(
        device_id=twin.device_id,
        enabled=twin.status == "enabled",
        authentication=twin.authentication_type or "",
        connected=twin.connection_state == "Connected",
        # The hub's word for never is the first day of year 1.
        last_activity=active.strftime("%Y-%m-%dT%H:%M:%SZ") if active and active.year > 1 else "",
        modules=modules,
        thumbprints=_listed_thumbprints(twin),
        owner=_owner(twin),
        parent=_parent(twin.parent_scopes),
        tags=tuple(sorted(name for name in twin.tags or {} if name != OWNER_TAG)),
        deployments=tuple(sorted((twin.additional_properties or {}).get("configurations") or {})),
    )


def _listed_thumbprints(twin: Any) -> Thumbprints | None:
    found = twin.x509_thumbprint
    if twin.authentication_type != "selfSigned" or found is None or not found.primary_thumbprint:
        return None
    return Thumbprints(primary=found.primary_thumbprint, secondary=found.secondary_thumbprint)


def _parent(scopes: list[str] | None) -> str:
    """The device id in `ms-azure-iot-edge://ID-GENERATION`."""
    return scopes[0].removeprefix(_SCOPE).rpartition("-")[0] if scopes else ""
