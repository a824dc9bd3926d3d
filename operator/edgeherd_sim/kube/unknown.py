"""Fields that a built-in type does not have, and values of another type than the field's."""

import base64
import binascii
import re
from typing import Any

from edgeherd_sim.kube import models
from edgeherd_sim.kube.failures import bad_request
from edgeherd_sim.kube.kinds import Kind
from edgeherd_sim.kube.objects import Body

_WORDS: dict[type, str] = {str: "string", int: "number", float: "number", bool: "bool", dict: "object", list: "array"}
_SCALARS: dict[str, tuple[type, str]] = {"str": (str, "string"), "int": (int, "int32"), "bool": (bool, "bool")}
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_MICRO_FIELDS = {"eventTime", "renewTime", "acquireTime", "lastObservedTime"}


def prune(kind: Kind, body: Body) -> list[str]:
    """Drop the fields that a built-in type (or the metadata of any) does not have; their paths.

    Raises:
        Failure: 400, a field has a value of another type.
    """
    walk = _Walk(kind)
    if kind.custom:
        model, value = models.load("V1ObjectMeta"), body.get("metadata")
        if value is not None and not isinstance(value, dict):
            raise walk.refusal(value, "value", "v1.ObjectMeta")
        return walk.prune(model, value, "metadata", "") if model and isinstance(value, dict) else []
    found = models.for_kind(kind.group, kind.kind)
    return walk.prune(found, body, "", "") if found else []


class _Walk:
    """One walk through an object and the models of its parts."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def refusal(self, value: Any, place: str, wanted: str) -> Exception:
        """The value has another type than its field."""
        where = "value" if place == "value" else f"struct field {place}"
        return self._broken(f"json: cannot unmarshal {_WORDS[type(value)]} into Go {where} of type {wanted}")

    def _broken(self, why: str) -> Exception:
        kind = self._kind
        return bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')

    def prune(self, model: models.Model, body: Body, path: str, place: str) -> list[str]:
        """The unknown fields of a part; `place` is its path as Go names it, without indices."""
        unknown = []
        for key in list(body):
            where = f"{path}.{key}" if path else key
            field = model.fields.get(key)
            if field is None:
                unknown.append(where)
                del body[key]
            elif body[key] is None:
                del body[key]
            else:
                below = f"{place}.{key}" if place else key
                owner = re.sub(r"^(Core|Events|Rbac)?V\d", "", model.name)
                unknown += self._value(field.type, body[key], where, (owner, below))
        return unknown

    def _value(self, type_name: str, value: Any, path: str, place: tuple[str, str]) -> list[str]:
        container, inner = models.element(type_name)
        if container == "list":
            self._expect(value, list, place, f"[]{_go(inner)}")
            items = [(f"{path}[{number}]", item) for number, item in enumerate(value)]
            return [text for where, item in items for text in self._value(inner, item, where, place)]
        if container == "dict":
            self._expect(value, dict, place, f"map[string]{_go(inner)}")
            return [text for key, item in value.items() for text in self._value(inner, item, f"{path}.{key}", place)]
        if inner == "bytes":
            self._expect(value, str, place, "[]uint8")
            self._check_base64(value)
        elif inner == "datetime":
            self._expect(value, str, place, "string")
            if place[1].rpartition(".")[2] in _MICRO_FIELDS:
                self._check_micro(value)
        elif inner in _SCALARS:
            self._expect(value, *_SCALARS[inner][:1], place, _SCALARS[inner][1])
        else:
            model = models.load(inner) if inner[:1].isupper() else None
            if model is not None and model.fields:
                self._expect(value, dict, place, _go(inner))
                return self.prune(model, value, path, place[1])
        return []

    def _expect(self, value: Any, expected: type, place: tuple[str, str], wanted: str) -> None:
        if isinstance(value, expected) and not (expected is int and isinstance(value, bool)):
            return
        # Go forgets the way to the metadata of custom resources, which it decodes by themselves.
        path = place[1]
        raise self.refusal(value, f"{place[0]}.{path}", wanted)

    def _check_base64(self, value: str) -> None:
        try:
            base64.b64decode("".join(value.split()), validate=True)
        except binascii.Error:
            good = len(value) - len(value.lstrip(_BASE64))
            raise self._broken(f"illegal base64 data at input byte {good}") from None

    def _check_micro(self, value: str) -> None:
        match = _MICRO.fullmatch(value)
        if match is None:
            raise self._broken(f'parsing time "{value}" as "{_LAYOUT}": cannot parse "{value}" as "2006"')
        if match[1] is None or len(match[1]) != len(".000000"):
            rest = (match[1] or "") + match[2]
            raise self._broken(f'parsing time "{value}" as "{_LAYOUT}": cannot parse "{rest}" as ".000000"')


def _go(type_name: str) -> str:
    """A type as Go names it."""
    if type_name in _SCALARS:
        return _SCALARS[type_name][1]
    if type_name == "bytes":
        return "uint8"
    return re.sub(r"^(Core|Events|Rbac)?V1", "v1.", type_name)
