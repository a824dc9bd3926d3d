"""From the body of a request to an object of a kind: its type, and the fields that the kind does not have."""

import json
from collections.abc import Sequence
from typing import Any

from edgeherd_sim.kube import unknown as unknown_fields
from edgeherd_sim.kube.failures import Body, Failure, bad_request, invalid
from edgeherd_sim.kube.kinds import Kind
from edgeherd_sim.kube.objects import clone, metadata
from edgeherd_sim.kube.rules import Problem, wrong


def decode(kind: Kind, body: Body, *, duplicates: Sequence[str], validation: str) -> list[str]:
    """Judge a body that came as it is, in place; the warnings.

    Raises:
        Failure: 400, it is of another type, or has unknown fields where that is not allowed.
    """
    _check_type(kind, body)
    unknown = _prune(kind, body, duplicates)
    if unknown and validation == "Strict":
        raise bad_request(f"{_handled(kind)}: strict decoding error: {', '.join(unknown)}")
    return unknown if validation == "Warn" else []


def decode_patched(kind: Kind, name: str, body: Body, patch: Any, *, validation: str) -> list[str]:
    """Judge the object that a patch leaves, in place; the warnings.

    `patch` is what messages show for a strategic merge patch, which is not applied to the object's text.

    Raises:
        Failure: 400 or 422.
    """
    if body.get("kind") != kind.kind:
        found = str(body.get("kind", ""))
        problem = wrong("kind", json.dumps(found), f"must be {kind.kind}")
        raise invalid(kind.group, found, name, [problem])
    if body.get("apiVersion") != kind.api_version:
        found = str(body.get("apiVersion", ""))
        problem = wrong("apiVersion", json.dumps(found), f"must be {kind.api_version}")
        group = found.rpartition("/")[0]
        raise invalid(group, kind.kind, name, [problem])
    if not isinstance(body.get("metadata"), dict) or not body["metadata"].get("name"):
        raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    shown = json.dumps(_ordered(kind, body), ensure_ascii=False, separators=(",", ":"))
    if patch is not None:
        shown = _go(patch)
    try:
        unknown = _prune(kind, body, ())
    except Failure as failure:
        why = failure.message.removeprefix(f"{_handled(kind)}: ")
        raise _unfit_patch(shown, why) from failure
    if unknown and validation == "Strict":
        raise _unfit_patch(shown, f"strict decoding error: {', '.join(unknown)}")
    return unknown if validation == "Warn" else []


def check_applied(kind: Kind, body: Body) -> None:
    """Judge the body of a server-side apply, which has only what its manager wants.

    Raises:
        Failure: 400, it is of another type.
    """
    if (body.get("apiVersion"), body.get("kind")) != (kind.api_version, kind.kind):
        group, _, version = str(body.get("apiVersion", "")).rpartition("/")
        raise bad_request(f"invalid object type: {group}/{version}, Kind={body.get('kind', '')}")
    metadata(body)


def _unfit_patch(shown: str, why: str) -> Failure:
    message = f"Invalid value: {json.dumps(shown, ensure_ascii=False)}: {why}"
    return invalid("", "", "", [Problem(reason="FieldValueInvalid", field="patch", message=message)])


def _go(value: Any) -> str:
    """A value as Go prints it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go(item)}' for key, item in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(_go(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "<nil>" if value is None else str(value)


def _handled(kind: Kind) -> str:
    return f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'


_META_ORDER = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)


def _ordered(kind: Kind, value: Any) -> Any:
    """An object with its fields in the order in which the server writes them."""
    if isinstance(value, list):
        return [_ordered(kind, item) for item in value]
    if not isinstance(value, dict):
        return value
    ordered = {key: _ordered(kind, value[key]) for key in sorted(value)}
    if kind.custom is None and "metadata" in value and "kind" in value and isinstance(value["metadata"], dict):
        info = value["metadata"]
        known = [key for key in _META_ORDER if key in info]
        ordered["metadata"] = {key: info[key] for key in [*known, *sorted(set(info) - set(known))]}
    return ordered


def _check_type(kind: Kind, body: Body) -> None:
    found = (body.get("apiVersion") or "", body.get("kind") or "")
    if not kind.custom:
        found = (found[0] or kind.api_version, found[1] or kind.kind)
    elif not found[1]:
        text = json.dumps(body, separators=(",", ":"))
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): Object 'Kind' is missing in '{text}' "
            f"({text})"
        )
    if found[0] != kind.api_version:
        raise bad_request(
            f"the API version in the data ({found[0]}) does not match the expected API version ({kind.api_version})"
        )
    if found[1] != kind.kind:
        raise bad_request(
            f'{found[1]} in version "{kind.version}" cannot be handled as a {kind.kind}: no kind "{found[1]}" is '
            f'registered for version "{kind.api_version}"'
        )
    body["apiVersion"], body["kind"] = found


def _prune(kind: Kind, body: Body, duplicates: Sequence[str]) -> list[str]:
    unknown = list(unknown_fields.prune(kind, body))
    if body.get("metadata") is None:
        metadata(body)
    if kind.custom:
        unknown += kind.custom.structural.prune(body)
    return [f'unknown field "{path}"' for path in unknown] + list(duplicates)


def copied(body: Any) -> Body:
    """A body of a request that may be changed.

    Raises:
        Failure: 400, it is no object.
    """
    if not isinstance(body, dict):
        raise bad_request("the object provided is unrecognized: it is no object")
    found: Body = clone(body)
    return found
