"""Walk objects with their types in hand: which fields there are, what differs, how two objects merge.

A field is a path of elements, spelled as in `fieldsV1`: `f:name` for a field, `k:{...}` for an item of a list that is a
map, `v:...` for an item of a set. A set of fields is a frozenset of such paths, so that the algebra of field managers
is the algebra of Python's sets.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from edgeherd_sim.kube.causes import compact, quote
from edgeherd_sim.kube.keywords import same
from edgeherd_sim.kube.typeschema import Relation, Shape, TypeSchema

Path = tuple[str, ...]
Fields = frozenset[Path]

ABSENT: Final = object()
NOTHING: Final[Fields] = frozenset()
_SCALARS: Final = (str, int, float, bool)


@dataclass(slots=True)
class Difference:
    """What a change did: no field is in two of the sets."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)


def element_of(item: Any, schema: TypeSchema) -> str:
    """The path element of an item of a set or a map-like list.

    Raises:
        ValueError: The item has no key.
    """
    if not schema.keys:
        if isinstance(item, _SCALARS):
            return f"v:{compact(item)}"
        what = "an explicit null" if item is None else "a map type" if isinstance(item, dict) else "a list"
        raise ValueError(f"associative list without keys has an element that's {what}")
    if item is None:
        raise ValueError("associative list with keys may not have a null element")
    if not isinstance(item, dict):
        raise ValueError("associative list with keys may not have non-map elements")  # noqa: TRY004 - it is a value
    found = {}
    for key in schema.keys:
        inner = schema.inner.child(key) if schema.inner else None
        value = item.get(key, inner.default if inner else None)
        if value is not None:
            found[key] = value
    if not found:
        names = " ".join(map(quote, schema.keys))
        raise ValueError(
            f"associative list with keys has an element that omits all key fields [{names}] (and doesn't have default "
            "values for any key fields)"
        )
    return f"k:{compact(found)}"


def shown(path: Path) -> str:
    """A path as messages write it: `.status.conditions[type="Ready"].status`."""
    return "".join(map(shown_element, path))


def shown_element(element: str) -> str:
    """One element of a path as messages write it."""
    sort, text = element[:2], element[2:]
    if sort == "f:":
        return f".{text}"
    value = json.loads(text)
    if sort == "v:":
        return f"[={compact(value)}]"
    return "[" + ",".join(f"{key}={compact(item)}" for key, item in value.items()) + "]"


def problems(value: Any, schema: TypeSchema, path: str = "") -> Iterator[str]:
    """Why a value does not have its type, in the words of the library that the API server uses."""
    if value is None:
        return
    match schema.shape_of(value):
        case Shape.SCALAR:
            if why := _scalar_problem(value, schema):
                yield f"{path}: {why}"
        case Shape.LIST:
            yield from _list_problems(value, schema, path)
        case Shape.MAP:
            yield from _map_problems(value, schema, path)


def _map_problems(value: Any, schema: TypeSchema, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: expected map, got &{{{_go(value)}}}"
        return
    for key, item in value.items():
        inner = schema.child(key)
        if inner is None:
            yield f"{path}.{key}: field not declared in schema"
            return
        yield from problems(item, inner, f"{path}.{key}")


def _scalar_problem(value: Any, schema: TypeSchema) -> str:
    kind = schema.scalar
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "string" and not isinstance(value, str):
        return f"expected string, got &value.valueUnstructured{{Value:{_go(value)}}}"
    if kind == "boolean" and not isinstance(value, bool):
        return f"expected boolean, got &{{{_go(value)}}}"
    if kind == "numeric" and not number:
        return f"expected numeric (int or float), got {_go_type(value)}"
    if not isinstance(value, _SCALARS):
        return f"expected any scalar, got &{{{_go(value)}}}"
    return ""


def _list_problems(value: Any, schema: TypeSchema, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: expected list, got &{{{_go(value)}}}"
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        name = f"[{index}]"
        if schema.relation is not Relation.ATOMIC and not schema.is_any:
            try:
                element = element_of(item, schema)
            except ValueError as exc:
                yield f"{path}: element {index}: {exc}"
                return
            name = shown_element(element)
            if element in seen:
                yield f"{path}: duplicate entries for key {name}"
            seen.add(element)
        if schema.inner:
            yield from problems(item, schema.inner, f"{path}{name}")


def _go(value: Any) -> str:
    """A value as Go's `%v` prints it."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(_go, value)) + "]"
    return value if isinstance(value, str) else compact(value)


def _go_type(value: Any) -> str:
    return {bool: "bool", str: "string", dict: "map[string]interface {}"}.get(type(value), "[]interface {}")


def fields_of(value: Any, schema: TypeSchema) -> Fields:
    """Every field that an applied object speaks about."""
    found: set[Path] = set()
    _collect(value, schema, (), found)
    return frozenset(found - {()})


def _collect(value: Any, schema: TypeSchema, path: Path, found: set[Path]) -> None:
    shape = schema.shape_of(value)
    if shape is Shape.SCALAR or schema.relation is Relation.ATOMIC or (shape is Shape.LIST and schema.is_any):
        found.add(path)
    elif shape is Shape.LIST and isinstance(value, list):
        for element, item in _elements(value, schema):
            here = (*path, element)
            if schema.inner:
                _collect(item, schema.inner, here, found)
            found.add(here)
    elif isinstance(value, dict):
        for key, item in value.items():
            here = (*path, f"f:{key}")
            _collect(item, schema.child(key) or schema, here, found)
            if item is None or item == {} or not schema.names(key):
                found.add(here)


def _elements(items: Iterable[Any], schema: TypeSchema) -> Iterator[tuple[str, Any]]:
    """Items with their path elements; stored items that have none, and repeated ones, are left out."""
    seen: set[str] = set()
    for item in items:
        try:
            element = element_of(item, schema)
        except ValueError:
            continue
        if element not in seen:
            seen.add(element)
            yield element, item


def compare(old: Any, new: Any, schema: TypeSchema) -> Difference:
    """What makes the new object different from the old one."""
    found = Difference()
    _compare(old, new, schema, (), found)
    for paths in (found.added, found.modified, found.removed):
        paths.discard(())
    return found


def _compare(old: Any, new: Any, schema: TypeSchema, path: Path, found: Difference) -> None:
    leaf = _is_leaf(old, new, schema)
    if not leaf:
        for element, inner, before, after in _pairs(old, new, schema):
            _compare(before, after, inner, (*path, element), found)
    if old is ABSENT:
        found.added.add(path)
    elif new is ABSENT:
        found.removed.add(path)
    elif leaf and not same(old, new):
        found.modified.add(path)


def _pairs(old: Any, new: Any, schema: TypeSchema) -> Iterator[tuple[str, TypeSchema, Any, Any]]:
    """The parts of two lists or maps, side by side."""
    if isinstance(old, list) or isinstance(new, list):
        before, after = dict(_elements(_listed(old), schema)), dict(_elements(_listed(new), schema))
        for element in dict.fromkeys([*before, *after]):
            yield element, schema.inner or schema, before.get(element, ABSENT), after.get(element, ABSENT)
        return
    before, after = _mapped(old), _mapped(new)
    for key in dict.fromkeys([*before, *after]):
        yield f"f:{key}", schema.child(key) or schema, before.get(key, ABSENT), after.get(key, ABSENT)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapped(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_leaf(old: Any, new: Any, schema: TypeSchema) -> bool:
    """Whether the place is compared and merged as a whole."""
    shapes = {schema.shape_of(value) for value in (old, new) if value is not ABSENT and value is not None}
    if len(shapes) != 1 or Shape.SCALAR in shapes or schema.relation is Relation.ATOMIC:
        return True
    if Shape.LIST in shapes:
        return schema.is_any or not (_listed(old) or _listed(new))
    return not (_mapped(old) or _mapped(new))


def merge(live: Any, applied: Any, schema: TypeSchema) -> Any:
    """The live object with what was applied to it; lists keep their order as far as the applied one allows."""
    if _is_leaf(live, applied, schema):
        return live if applied is ABSENT else applied
    if isinstance(live, list) or isinstance(applied, list):
        return _merge_lists(_listed(live), _listed(applied), schema)
    return {element[2:]: merge(before, after, inner) for element, inner, before, after in _pairs(live, applied, schema)}


def _merge_lists(live: list[Any], applied: list[Any], schema: TypeSchema) -> list[Any]:
    before, after = dict(_elements(live, schema)), dict(_elements(applied, schema))
    inner = schema.inner or schema
    return [
        merge(before.get(element, ABSENT), after.get(element, ABSENT), inner)
        for element in _merged_order(list(before), list(after))
    ]


def _merged_order(left: list[str], right: list[str]) -> list[str]:
    """The order of both: what is only on the left stays before what follows it there, all else is as on the right."""
    shared = [element for element in right if element in left]
    done: set[str] = set()
    order: list[str] = []
    one = two = 0
    while one < len(left) or two < len(right):
        if one < len(left):
            here = left[one]
            if here not in right:
                order.append(here)
                one += 1
                continue
            if here in done or (shared and here != shared[0]):
                # It is placed where the right side has it.
                one += 1
                continue
        wanted = right[two]
        order.append(wanted)
        done.add(wanted)
        two += 1
        if shared and shared[0] == wanted:
            shared.pop(0)
        if one < len(left) and left[one] == wanted:
            one += 1
    return order


def without(value: Any, fields: Iterable[Path], schema: TypeSchema) -> Any:
    """The value without those fields."""
    tree: dict[str, Any] = {}
    for path in fields:
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        node[""] = {}
    return _without(value, tree, schema)


def _without(value: Any, tree: dict[str, Any], schema: TypeSchema) -> Any:
    if schema.shape_of(value) is Shape.SCALAR or not value:
        return value
    if schema.relation is Relation.ATOMIC:
        return ABSENT
    if isinstance(value, list):
        kept = [
            _without(item, tree[element], schema.inner) if element in tree and schema.inner else item
            for element, item in _elements(value, schema)
            if "" not in tree.get(element, {})
        ]
        # An emptied map stays where somebody owns it, an emptied list does not.
        return kept or ABSENT
    left = {}
    for key, item in value.items():
        node = tree.get(f"f:{key}", {})
        if "" not in node:
            left[key] = _without(item, node, schema.child(key) or schema) if node else item
    return {key: item for key, item in left.items() if item is not ABSENT}


def with_named(fields: Fields, schema: TypeSchema) -> Fields:
    """The fields and, above them, those that the type names: who owns `spec.a` has a say about `spec`."""
    found = set(fields)
    for path in fields:
        here: TypeSchema | None = schema
        for depth, element in enumerate(path[:-1], start=1):
            if here is None:
                break
            if element.startswith("f:"):
                if here.names(element[2:]):
                    found.add(path[:depth])
                here = here.child(element[2:])
            else:
                here = here.inner
    return frozenset(found)
