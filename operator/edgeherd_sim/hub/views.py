"""Identities, twins and configurations as the wire shows them."""

from collections.abc import Callable, Mapping
from typing import Any

from edgeherd_sim.hub.model import NEVER, Authentication, Configuration, Document, Identity, Twin


def device(identity: Identity) -> dict[str, Any]:
    """A device identity, keys included: so does the hub, to whoever may read the registry."""
    return {
        "deviceId": identity.device_id,
        "generationId": identity.generation_id,
        "etag": identity.etag,
        "connectionState": _connection(identity),
        "status": identity.status,
        "statusReason": identity.status_reason,
        "connectionStateUpdatedTime": identity.connection_updated,
        "statusUpdatedTime": identity.status_updated,
        "lastActivityTime": identity.last_activity,
        "cloudToDeviceMessageCount": 0,
        "authentication": _authentication(identity.authentication),
        "capabilities": {"iotEdge": identity.edge},
        **({"deviceScope": identity.device_scope} if identity.device_scope else {}),
        **({"parentScopes": list(identity.parent_scopes)} if identity.device_scope else {}),
    }


def module(identity: Identity) -> dict[str, Any]:
    """A module identity."""
    return {
        "moduleId": identity.module_id,
        "managedBy": identity.managed_by,
        "deviceId": identity.device_id,
        "generationId": identity.generation_id,
        "etag": identity.etag,
        "connectionState": _connection(identity),
        "connectionStateUpdatedTime": identity.connection_updated,
        "lastActivityTime": identity.last_activity,
        "cloudToDeviceMessageCount": 0,
        "authentication": _authentication(identity.authentication),
    }


def twin(identity: Identity, document: Twin) -> dict[str, Any]:
    """A twin: what it holds, and what it mirrors of its identity. Never keys, never the generation."""
    authentication = identity.authentication
    result: dict[str, Any] = {
        "deviceId": identity.device_id,
        **({"moduleId": identity.module_id} if identity.module_id else {}),
        "etag": document.etag,
        "deviceEtag": identity.etag,
        "status": identity.status,
        **({"statusReason": identity.status_reason} if identity.status_reason else {}),
        "statusUpdateTime": _zulu(identity.status_updated),
        "connectionState": _connection(identity),
        "lastActivityTime": _zulu(identity.last_activity),
        "cloudToDeviceMessageCount": 0,
        "authenticationType": authentication.type,
        "x509Thumbprint": {
            "primaryThumbprint": authentication.primary_thumbprint,
            "secondaryThumbprint": authentication.secondary_thumbprint,
        },
        "modelId": "",
        "version": document.version,
        **({"tags": document.tags} if document.tags else {}),
        "properties": {"desired": _document(document.desired), "reported": _document(document.reported)},
    }
    if document.configurations:
        result["configurations"] = {name: {"status": status} for name, status in document.configurations.items()}
    if identity.module_id:
        return result
    result["capabilities"] = {"iotEdge": identity.edge}
    if identity.device_scope:
        result["deviceScope"] = identity.device_scope
    if identity.parent_scopes:
        result["parentScopes"] = list(identity.parent_scopes)
    return result


def configuration(
    item: Configuration, *, system: Mapping[str, str], count: Callable[[str], int | None]
) -> dict[str, Any]:
    """An automatic deployment. `count` tells how many rows a query has now; None for one that is none."""
    custom = (item.body.get("metrics") or {}).get("queries") or {}
    return {
        "id": item.id,
        "schemaVersion": "1.0",
        "labels": item.body.get("labels"),
        "content": item.body["content"],
        "targetCondition": item.body.get("targetCondition") or "",
        "createdTimeUtc": item.created,
        "lastUpdatedTimeUtc": item.updated,
        "priority": item.body.get("priority") or 0,
        "systemMetrics": {"results": _results(system, count), "queries": system},
        "metrics": {"results": _results(custom, count), "queries": custom},
        "etag": item.etag,
    }


def _results(queries: Mapping[str, str], count: Callable[[str], int | None]) -> dict[str, int]:
    counts = {name: count(text) if text else 0 for name, text in queries.items()}
    return {name: number for name, number in counts.items() if number is not None}


def _authentication(value: Authentication) -> dict[str, Any]:
    return {
        "symmetricKey": {"primaryKey": value.primary_key, "secondaryKey": value.secondary_key},
        "x509Thumbprint": {
            "primaryThumbprint": value.primary_thumbprint,
            "secondaryThumbprint": value.secondary_thumbprint,
        },
        "type": value.type,
    }


def _document(value: Document) -> dict[str, Any]:
    return {**value.value, "$metadata": value.metadata, "$version": value.version}


def _connection(identity: Identity) -> str:
    return "Connected" if identity.connected else "Disconnected"


def _zulu(time: str) -> str:
    return f"{time}Z" if time == NEVER else time
