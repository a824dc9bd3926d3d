"""Twins: merge patches, metadata, limits. Pure."""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from edgeherd_sim.hub.errors import invalid
from edgeherd_sim.hub.model import Document, Twin

_BAD_KEY = re.compile(r"[\x00-\x1f\x7f-\x9f.$# ]")
_KEY_BYTES = 1024
_VALUE_BYTES = 4096
_DEPTH = 10
_INTEGER = 2**52 - 1
_TAGS_BYTES = 8 * 1024
_PROPERTIES_BYTES = 32 * 1024


def fresh(at: str) -> Twin:
    """The twin of a new identity. Nobody has written it, so its metadata tells a time and no version."""
    empty = _document({}, {}, at, version=1, versioned=False)
    return Twin(desired=empty, reported=empty)


def patched(twin: Twin, body: Mapping[str, Any], at: str, revision: int) -> Twin:
    """After a PATCH: null removes, objects merge, everything else replaces."""
    tags, desired = _parts(body)
    result = dataclasses.replace(twin, revision=revision, version=twin.version + 1)
    if "tags" in body:
        merged = merge(twin.tags or {}, tags) if tags is not None else {}
        # Azure shows null once the last tag has gone, and keeps nested objects that became empty.
        result = dataclasses.replace(result, tags=_checked(merged, "tags", _TAGS_BYTES) or None)
    if desired is not None:
        result = dataclasses.replace(result, desired=_patched(twin.desired, desired, at, versioned=True))
    return result


def replaced(twin: Twin, body: Mapping[str, Any], at: str, revision: int) -> Twin:
    """After a PUT: what the body does not say is gone. Null removes nothing here, and cannot be stored."""
    tags, desired = _parts(body)
    value = _checked(desired or {}, "desired properties", _PROPERTIES_BYTES)
    version = twin.desired.version + 1
    return dataclasses.replace(
        twin,
        revision=revision,
        version=twin.version + 1,
        tags=_checked(tags or {}, "tags", _TAGS_BYTES) or None,
        desired=_document(value, _stamps(value, at, version), at, version=version),
    )


def deployed(twin: Twin, desired: Mapping[str, Any], at: str, revision: int) -> Twin:
    """After a deployment: desired properties are replaced, tags stay."""
    return dataclasses.replace(replaced(twin, {"properties": {"desired": desired}}, at, revision), tags=twin.tags)


def settled(twin: Twin, desired: Mapping[str, Any], at: str, revision: int) -> Twin:
    """After an automatic configuration of a device or module: what is the same keeps its time and version."""
    return patched(twin, {"properties": {"desired": _difference(twin.desired.value, desired)}}, at, revision)


def reported(twin: Twin, patch: Mapping[str, Any], at: str) -> Twin:
    """After the device reported: the version moves, the etag does not."""
    return dataclasses.replace(
        twin, version=twin.version + 1, reported=_patched(twin.reported, patch, at, versioned=False)
    )


def merge(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386 on objects, except that an object that loses its last member stays."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = merge(old if isinstance(old, dict) else {}, value)
        else:
            result[key] = value
    return result


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that leads from one to the other."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            if below := _difference(before, value):
                patch[name] = below
        elif name not in old or before != value:
            patch[name] = value
    return patch


def _parts(body: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    properties = _object(body.get("properties"), "properties") or {}
    return _object(body.get("tags"), "tags"), _object(properties.get("desired"), "properties.desired")


def _object(value: object, name: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid(f"{name} must be an object.")
    # A client that sends back what it read sends the hub's own members too.
    return {key: item for key, item in value.items() if key not in {"$metadata", "$version"}}


def _patched(document: Document, patch: Mapping[str, Any], at: str, *, versioned: bool) -> Document:
    value = _checked(merge(document.value, patch), "properties", _PROPERTIES_BYTES)
    version = document.version + 1
    old = {key: item for key, item in document.metadata.items() if not key.startswith("$")}
    metadata = _restamped(old, patch, at, version if versioned else None)
    return _document(value, metadata, at, version=version, versioned=versioned)


def _document(
    value: Mapping[str, Any], metadata: Mapping[str, Any], at: str, *, version: int, versioned: bool = True
) -> Document:
    stamp = _stamp(at, version if versioned else None)
    return Document(value=value, metadata={**stamp, **metadata}, version=version)


def _stamp(at: str, version: int | None) -> dict[str, Any]:
    stamp: dict[str, Any] = {"$lastUpdated": at}
    return stamp if version is None else {**stamp, "$lastUpdatedVersion": version}


def _stamps(value: Mapping[str, Any], at: str, version: int | None) -> dict[str, Any]:
    """Metadata of members that are all new."""
    return {
        key: {**_stamp(at, version), **(_stamps(item, at, version) if isinstance(item, dict) else {})}
        for key, item in value.items()
    }


def _restamped(old: Mapping[str, Any], patch: Mapping[str, Any], at: str, version: int | None) -> dict[str, Any]:
    """Metadata after a merge: what the patch names is stamped, with all that is above it."""
    result = dict(old)
    for key, item in patch.items():
        if item is None:
            result.pop(key, None)
        elif isinstance(item, dict):
            below = {name: member for name, member in result.get(key, {}).items() if not name.startswith("$")}
            result[key] = {**_stamp(at, version), **_restamped(below, item, at, version)}
        else:
            result[key] = _stamp(at, version)
    return result


def _checked(value: dict[str, Any], name: str, limit: int) -> dict[str, Any]:
    """The document, if Azure would store it."""
    _check(value, name, 1)
    if len(json.dumps(value, separators=(",", ":")).encode()) > limit:
        raise invalid(f"The {name} are larger than {limit} bytes.")
    return value


def _check(value: object, name: str, depth: int) -> None:
    match value:
        case dict():
            if depth > _DEPTH:
                raise invalid(f"The {name} are nested more than {_DEPTH} deep.")
            for key, item in value.items():
                if _BAD_KEY.search(key) or not key or len(key.encode()) > _KEY_BYTES:
                    raise invalid(f"The {name} have a key that is not allowed.")
                _check(item, name, depth + 1)
        case list():
            for item in value:
                _check(item, name, depth + 1)
        case None:
            raise invalid(f"The {name} have a null that would be stored.")
        case str() if len(value.encode()) > _VALUE_BYTES:
            raise invalid(f"The {name} have a value larger than {_VALUE_BYTES} bytes.")
        case int() if abs(value) > _INTEGER:
            raise invalid(f"The {name} have an integer out of range.")
