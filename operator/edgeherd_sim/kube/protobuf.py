"""The protobuf bodies that kubectl sends for built-in kinds, read into the same objects that JSON would give.

kubectl's imperative commands (`create secret`, `create namespace`, `auth can-i`) send nothing else. The tables give
the field numbers of the messages that those commands write; anything else is refused rather than lost.
"""

import base64
import datetime as dt
from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]

MAGIC = b"k8s\x00"


class ProtobufError(Exception):
    """The bytes are no message that is known here."""


_Field = tuple[str, str]
"""Name, and type: a scalar, a message's name, either with `[]` for a list, or `{}` for a map of strings."""

_METADATA: dict[int, _Field] = {
    1: ("name", "string"),
    2: ("generateName", "string"),
    3: ("namespace", "string"),
    4: ("selfLink", "string"),
    5: ("uid", "string"),
    6: ("resourceVersion", "string"),
    7: ("generation", "int"),
    8: ("creationTimestamp", "Time"),
    9: ("deletionTimestamp", "Time"),
    10: ("deletionGracePeriodSeconds", "int"),
    11: ("labels", "string{}"),
    12: ("annotations", "string{}"),
    13: ("ownerReferences", "OwnerReference[]"),
    14: ("finalizers", "string[]"),
}
_BINDING: dict[int, _Field] = {
    1: ("metadata", "ObjectMeta"),
    2: ("subjects", "Subject[]"),
    3: ("roleRef", "RoleRef"),
}
_RULES: dict[int, _Field] = {1: ("metadata", "ObjectMeta"), 2: ("rules", "PolicyRule[]")}

_MESSAGES: dict[str, dict[int, _Field]] = {
    "ObjectMeta": _METADATA,
    "OwnerReference": {
        1: ("kind", "string"),
        3: ("name", "string"),
        4: ("uid", "string"),
        5: ("apiVersion", "string"),
        6: ("controller", "bool"),
        7: ("blockOwnerDeletion", "bool"),
    },
    "Secret": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "bytes{}"),
        3: ("type", "string"),
        4: ("stringData", "string{}"),
        5: ("immutable", "bool"),
    },
    "ConfigMap": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "string{}"),
        3: ("binaryData", "bytes{}"),
        4: ("immutable", "bool"),
    },
    "Namespace": {1: ("metadata", "ObjectMeta"), 2: ("spec", "NamespaceSpec"), 3: ("status", "NamespaceStatus")},
    "NamespaceSpec": {1: ("finalizers", "string[]")},
    "NamespaceStatus": {1: ("phase", "string")},
    "ServiceAccount": {
        1: ("metadata", "ObjectMeta"),
        2: ("secrets", "ObjectReference[]"),
        3: ("imagePullSecrets", "LocalObjectReference[]"),
        4: ("automountServiceAccountToken", "bool"),
    },
    "ObjectReference": {
        1: ("kind", "string"),
        2: ("namespace", "string"),
        3: ("name", "string"),
        4: ("uid", "string"),
        5: ("apiVersion", "string"),
        6: ("resourceVersion", "string"),
        7: ("fieldPath", "string"),
    },
    "LocalObjectReference": {1: ("name", "string")},
    "Role": _RULES,
    "ClusterRole": _RULES | {3: ("aggregationRule", "AggregationRule")},
    "AggregationRule": {1: ("clusterRoleSelectors", "LabelSelector[]")},
    "PolicyRule": {
        1: ("verbs", "string[]"),
        2: ("apiGroups", "string[]"),
        3: ("resources", "string[]"),
        4: ("resourceNames", "string[]"),
        5: ("nonResourceURLs", "string[]"),
    },
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "Subject": {
        1: ("kind", "string"),
        2: ("apiGroup", "string"),
        3: ("name", "string"),
        4: ("namespace", "string"),
    },
    "RoleRef": {1: ("apiGroup", "string"), 2: ("kind", "string"), 3: ("name", "string")},
    "LabelSelector": {1: ("matchLabels", "string{}"), 2: ("matchExpressions", "LabelSelectorRequirement[]")},
    "LabelSelectorRequirement": {1: ("key", "string"), 2: ("operator", "string"), 3: ("values", "string[]")},
    "SelfSubjectAccessReview": {
        1: ("metadata", "ObjectMeta"),
        2: ("spec", "SelfSubjectAccessReviewSpec"),
        3: ("status", "Empty"),
    },
    "SelfSubjectAccessReviewSpec": {
        1: ("resourceAttributes", "ResourceAttributes"),
        2: ("nonResourceAttributes", "NonResourceAttributes"),
    },
    "ResourceAttributes": {
        1: ("namespace", "string"),
        2: ("verb", "string"),
        3: ("group", "string"),
        4: ("version", "string"),
        5: ("resource", "string"),
        6: ("subresource", "string"),
        7: ("name", "string"),
    },
    "NonResourceAttributes": {1: ("path", "string"), 2: ("verb", "string")},
    "SelfSubjectRulesReview": {
        1: ("metadata", "ObjectMeta"),
        2: ("spec", "SelfSubjectRulesReviewSpec"),
        3: ("status", "Empty"),
    },
    "SelfSubjectRulesReviewSpec": {1: ("namespace", "string")},
    "SelfSubjectReview": {1: ("metadata", "ObjectMeta"), 2: ("status", "Empty")},
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "int"),
        2: ("preconditions", "Preconditions"),
        3: ("orphanDependents", "bool"),
        4: ("propagationPolicy", "string"),
        5: ("dryRun", "string[]"),
    },
    "Preconditions": {1: ("uid", "string"), 2: ("resourceVersion", "string")},
}


def decode(raw: bytes) -> Body:
    """The object in an envelope of `application/vnd.kubernetes.protobuf`.

    Raises:
        ProtobufError: it is none, or has parts that are not known here.
    """
    if not raw.startswith(MAGIC):
        raise ProtobufError("the protobuf envelope is missing")
    envelope = dict(_fields(raw[len(MAGIC) :]))
    names = dict(_fields(_bytes(envelope.get(1, b""))))
    kind = _bytes(names.get(2, b"")).decode()
    if kind not in _MESSAGES or kind in ("ObjectMeta", "Empty"):
        raise ProtobufError(f"protobuf is not read for {kind or 'nameless kinds'}; send JSON")
    body: Body = {"apiVersion": _bytes(names.get(1, b"")).decode(), "kind": kind}
    return body | _message(kind, _bytes(envelope.get(2, b"")))


def _message(name: str, raw: bytes) -> Body:
    if name == "Empty":
        return {}
    table = _MESSAGES[name]
    found: Body = {}
    for number, value in _fields(raw):
        if number not in table:
            raise ProtobufError(f"field {number} of {name} is not read here; send JSON")
        key, type_ = table[number]
        if type_.endswith("[]"):
            found.setdefault(key, []).append(_value(type_[:-2], value))
        elif type_.endswith("{}"):
            pair = dict(_fields(_bytes(value)))
            map_key = _bytes(pair.get(1, b"")).decode()
            found.setdefault(key, {})[map_key] = _value(type_[:-2], pair.get(2, b""))
        else:
            item = _value(type_, value)
            # Go writes its zero values out; in JSON they are left out.
            if item not in ("", None, 0, {}) or type_ == "bool":
                found[key] = item
    return found


def _value(type_: str, value: int | bytes) -> Any:  # noqa: PLR0911 - one for each type
    if type_ == "string":
        return _bytes(value).decode()
    if type_ == "bytes":
        return base64.b64encode(_bytes(value)).decode()
    if type_ == "int":
        return value
    if type_ == "bool":
        return bool(value)
    if type_ == "Time":
        seconds = dict(_fields(_bytes(value))).get(1)
        if not isinstance(seconds, int):
            return None
        return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _message(type_, _bytes(value))


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ProtobufError("a number stands where text should be")
    return value


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in their order: numbers, or bytes with a length before them."""
    position = 0
    while position < len(raw):
        tag, position = _varint(raw, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(raw, position)
            yield number, value
        elif wire == 2:
            length, position = _varint(raw, position)
            if position + length > len(raw):
                raise ProtobufError("the message is cut off")
            yield number, raw[position : position + length]
            position += length
        else:
            raise ProtobufError(f"wire type {wire} is not used by this API")


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(raw) or shift > 63:
            raise ProtobufError("the message is cut off")
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
