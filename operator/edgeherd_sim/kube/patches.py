"""JSON patches, merge patches and strategic merge patches.

JSON patches are the `jsonpatch` library's, bent where the API server's library is more tolerant: it replaces what is not
there, finds null where a test looks at nothing, and counts list indices from the end.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import jsonpatch

from edgeherd_sim.kube.keywords import same
from edgeherd_sim.kube.objects import Body, clone
from edgeherd_sim.kube.typed import element_of
from edgeherd_sim.kube.typeschema import Relation, Shape, TypeSchema

_REFUSED: Final = "the server rejected our request due to an error in our request"
_DIRECTIVE: Final = "$patch"
_ORDER: Final = "$setElementOrder/"
_DELETE: Final = "$deleteFromPrimitiveList/"
_RETAIN: Final = "$retainKeys"


class PatchError(Exception):
    """A patch that is none (400), or that does not fit the object (422)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class _Replace(jsonpatch.ReplaceOperation):
    """Replaces a field, or adds it."""

    def apply(self, obj: Any) -> Any:
        """Do it."""
        holder, part = self.pointer.to_last(obj)
        if isinstance(holder, dict):
            holder[part] = self.operation.get("value")
            return obj
        return super().apply(obj)


class _Add(jsonpatch.AddOperation):
    """Adds a field; without a value, null."""

    def apply(self, obj: Any) -> Any:
        """Do it."""
        self.operation.setdefault("value", None)
        return super().apply(obj)


class _Remove(jsonpatch.RemoveOperation):
    """Removes a field, or an item that is counted from either end."""

    def apply(self, obj: Any) -> Any:
        """Do it."""
        parts = self.pointer.parts
        if parts and parts[-1].startswith("-") and parts[-1][1:].isdigit():
            holder = obj
            for part in parts[:-1]:
                holder = holder[int(part) if isinstance(holder, list) else part]
            if isinstance(holder, list) and int(parts[-1]) >= -len(holder):
                del holder[int(parts[-1])]
                return obj
        return super().apply(obj)


class _Test(jsonpatch.TestOperation):
    """Compares types too: 1 is not true. What is missing is null."""

    def apply(self, obj: Any) -> Any:
        """Do it."""
        found = self.pointer.resolve(obj, None)
        if not same(found, self.operation.get("value")):
            raise jsonpatch.JsonPatchTestFailed
        return obj


class _Patch(jsonpatch.JsonPatch):
    """The library's patch with the operations above."""

    operations = MappingProxyType(
        {**jsonpatch.JsonPatch.operations, "add": _Add, "remove": _Remove, "replace": _Replace, "test": _Test}
    )


def json_patch(body: Body, operations: Any) -> Body:
    """The body after a JSON patch (RFC 6902).

    Raises:
        PatchError: It is no list of operations (400), or one of them fails (422).
    """
    wanted = "Go value of type []handlers.jsonPatchOp"
    if not isinstance(operations, list):
        raise PatchError(400, f"error decoding patch: json: cannot unmarshal {_kind(operations)} into {wanted}")
    for operation in operations:
        if not isinstance(operation, Mapping):
            what = f"json: cannot unmarshal {_kind(operation)} into Go value of type handlers.jsonPatchOp"
            raise PatchError(400, f"error decoding patch: {what}")
    try:
        result = _Patch(clone(operations)).apply(clone(body))
    except Exception as exc:  # the library raises a dozen kinds
        raise PatchError(422, _REFUSED) from exc
    if not isinstance(result, dict):
        raise PatchError(422, _REFUSED)
    return result


def merge_patch(body: Body, patch: Any) -> Body:
    """The body after a merge patch (RFC 7396): null removes, lists are replaced.

    Raises:
        PatchError: The patch is no object.
    """
    if not isinstance(patch, Mapping):
        what = f"json: cannot unmarshal {_kind(patch)} into Go value of type map[string]interface {{}}"
        raise PatchError(400, f"error decoding patch: {what}")
    result = _merged(body, patch)
    return result if isinstance(result, dict) else {}


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return clone(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def strategic_merge(body: Body, patch: Any, schema: TypeSchema) -> Body:
    """The body after a strategic merge patch: lists with keys merge item by item, and directives are obeyed.

    Raises:
        PatchError: The patch is no object, or an item has no key.
    """
    if not isinstance(patch, Mapping):
        what = f"json: cannot unmarshal {_kind(patch)} into Go value of type map[string]interface {{}}"
        raise PatchError(400, what)
    return _merge_object(body, patch, schema)


def _merge_object(target: Any, patch: Mapping[str, Any], schema: TypeSchema) -> Body:
    directive = patch.get(_DIRECTIVE)
    plain = {key: value for key, value in patch.items() if not key.startswith("$")}
    if directive == "delete":
        return {}
    result = dict(target) if isinstance(target, dict) and directive != "replace" else {}
    if _RETAIN in patch:
        result = {key: value for key, value in result.items() if key in patch[_RETAIN]}
    for key in [name.removeprefix(_DELETE) for name in patch if name.startswith(_DELETE)]:
        gone = patch[_DELETE + key]
        result[key] = [item for item in result.get(key) or [] if not any(same(item, other) for other in gone)]
    for key in [name.removeprefix(_ORDER) for name in patch if name.startswith(_ORDER)]:
        plain.setdefault(key, [])
    for key, value in plain.items():
        if value is None:
            result.pop(key, None)
            continue
        inner = schema.child(key) or schema
        if isinstance(value, Mapping):
            result[key] = _merge_object(result.get(key), value, inner)
        elif isinstance(value, list):
            result[key] = _merge_list(result.get(key), value, inner, patch.get(_ORDER + key))
        else:
            result[key] = value
    return result


def _merge_list(target: Any, patch: list[Any], schema: TypeSchema, order: list[Any] | None) -> list[Any]:
    if schema.shape is not Shape.LIST or schema.relation is Relation.ATOMIC:
        return list(clone(patch))
    if any(isinstance(item, Mapping) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [clone(item) for item in patch if not (isinstance(item, Mapping) and _DIRECTIVE in item)]
    kept = {_key(item, schema): item for item in target or []}
    server = list(kept)
    touched = []
    for item in patch:
        key = _key(item, schema)
        if isinstance(item, Mapping) and item.get(_DIRECTIVE) == "delete":
            kept.pop(key, None)
            continue
        touched.append(key)
        kept[key] = _merge_object(kept.get(key), item, schema.inner or schema) if schema.keys else item
    wanted = touched if order is None else [_key(item, schema) for item in order]
    mine = [key for key in wanted if key in kept]
    others = [key for key in kept if key not in mine]
    return [kept[key] for key in _ordered(mine, others, server)]


def _ordered(mine: list[str], others: list[str], server: list[str]) -> list[str]:
    """What the patch names, in its order; before each of them what the server has before it, if it has both."""
    mine, others = list(mine), list(others)
    result: list[str] = []
    place = {key: index for index, key in enumerate(server)}
    while mine and others:
        first = mine[0] in place and place[others[0]] < place[mine[0]]
        result.append((others if first else mine).pop(0))
    return [*result, *mine, *others]


def _key(item: Any, schema: TypeSchema) -> str:
    """What tells an item apart in a patch: the first key only, unlike in server-side apply."""
    if schema.keys and isinstance(item, Mapping):
        name = schema.keys[0]
        if name not in item:
            raise PatchError(400, f"map: {_go_map(item)} does not contain declared merge key: {name}")
        return f"{name}={item[name]!r}"
    try:
        return element_of(item, schema)
    except ValueError as exc:
        raise PatchError(400, str(exc)) from exc


def _go_map(item: Mapping[str, Any]) -> str:
    return "map[" + " ".join(f"{key}:{item[key]}" for key in sorted(item)) + "]"


def _kind(value: Any) -> str:
    """JSON's type of a value in the words of Go's decoder."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case None:
            return "null"
        case _:
            return "object"
