"""A version's schema of a CRD at work: unknown fields are dropped, defaults filled in, and the rest is judged.

The order of the checks, what keeps the CEL rules from running, and what an update forgives (what was invalid before and
did not change) are those of kube-apiserver 1.36. Where it walks a map in random order, this walks in the schema's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from edgeherd_sim.kube import causes
from edgeherd_sim.kube.causes import Cause
from edgeherd_sim.kube.cel_rules import Context, Rule
from edgeherd_sim.kube.keywords import BrokenError, path_of, same, validator
from edgeherd_sim.kube.objects import clone

__all__ = ["Cause", "StructuralSchema"]

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]

_META: Final = frozenset({"apiVersion", "kind", "metadata"})
_BLOCKING: Final = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
_UNCHECKED: Final = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)


class StructuralSchema:
    """One version's schema, with its CEL rules compiled once."""

    def __init__(self, schema: Schema, *, root: bool = True) -> None:
        self.schema = schema
        self._whole = validator(schema)
        status = schema.get("properties", {}).get("status")
        self._status = validator(status) if status else None
        self._rules = _compile(schema, root=root)

    def prune(self, body: dict[str, Any]) -> list[str]:
        """Drop the fields that the schema does not know, in place; the dotted paths of what was dropped.

        Nulls go silently where the schema has no use for them: this is what decoding a request does. What server-side
        apply merges is not decoded again, and keeps them.
        """
        dropped: list[str] = []
        _prune(body, {**self.schema, "x-kubernetes-embedded-resource": True}, (), dropped)
        _drop_nulls(body, self.schema)
        return sorted(dropped)

    def default(self, body: dict[str, Any]) -> None:
        """Fill in defaults, in place."""
        _default(body, self.schema)

    def validate(self, body: dict[str, Any], old: dict[str, Any] | None, subresource: str = "") -> list[Cause]:
        """Every broken rule, as the server lists them; `old` is what an update replaces.

        A write to the `status` subresource is judged from the status on: its messages name fields relative to it.
        """
        found = [*self._check_values(body, old, subresource)]
        if old is None or not _check_lists(old, self.schema, ""):
            found += _check_lists(body, self.schema, "")
        if self._rules is None:
            return found
        if any(cause.reason in _BLOCKING for cause in found):
            return [*found, causes.invalid("<nil>", None, _UNCHECKED)]
        return [*found, *self._rules.check(body, old, (), _Ratchet(self.schema, body, old))]

    def check_default(self, value: Any, field: str) -> list[Cause]:
        """Why a value cannot be the default of this schema; `field` is where the default stands."""
        found = []
        pruned = clone(value)
        dropped: list[str] = []
        _prune(pruned, self.schema, (), dropped)
        if dropped:
            found.append(causes.invalid(field, value, "must not have unknown fields"))
        broken = [error.told(field) for error in self._whole.iter_errors(value) if isinstance(error, BrokenError)]
        if broken or self._rules is None:
            return [*found, *broken]
        # It must stand both as what was there and as what comes new.
        for old in (value, None):
            rules = list(self._rules.check(value, old, (), _Ratchet(self.schema, value, None)))
            if rules:
                return [*found, *(replace(cause, field=f"{field}.{cause.field}".removesuffix(".")) for cause in rules)]
        return found

    def _check_values(self, body: dict[str, Any], old: dict[str, Any] | None, subresource: str) -> list[Cause]:
        if subresource == "status" and old is not None:
            if "status" not in body or self._status is None:
                return []
            errors: Iterator[Any] = self._status.iter_errors(body["status"])
            root, before = "status", old
        else:
            errors = self._whole.iter_errors(body)
            root, before = "", old or {}
        ratchet = _Ratchet(self.schema, body, before if old is not None else None)
        start: Path = (root,) if root else ()
        broken = [error for error in errors if not ratchet.forgives((*start, *error.absolute_path), start=len(start))]
        # The server names each sentence once.
        return list({(cause.field, cause.message): cause for cause in _causes(broken, root)}.values())


def _causes(broken: Sequence[BrokenError], root: str) -> list[Cause]:
    return [error.told(root) for error in broken]


class _Ratchet:
    """Which parts of an object are as they were: what is wrong there is forgiven."""

    def __init__(self, schema: Schema, new: Any, old: Any) -> None:
        self._schema = schema
        self._new = new
        self._old = old
        self._equal: dict[Path, bool] = {}

    def forgives(self, path: Path, *, start: int = 0) -> bool:
        """Whether the place, or one around it that is not above `start`, is unchanged."""
        if self._old is None:
            return False
        schema, new, old = self._schema, self._new, self._old
        for depth in range(len(path) + 1):
            if depth >= start and self._unchanged(path[:depth], new, old):
                return True
            if depth == len(path):
                break
            step = _step(schema, new, old, path[depth])
            if step is None or (depth == 0 and path[0] in {"apiVersion", "kind"}):
                return False
            schema, new, old = step
        return False

    def _unchanged(self, path: Path, new: Any, old: Any) -> bool:
        if path not in self._equal:
            self._equal[path] = same(new, old)
        return self._equal[path]


def _step(schema: Schema, new: Any, old: Any, part: str | int) -> tuple[Schema, Any, Any] | None:
    """One step down in schema, new and old object; None where old and new cannot be told to be the same thing."""
    if isinstance(part, int):
        found = _counterpart(schema, new[part], old)
        return None if found is None else (schema.get("items", {}), new[part], found)
    if not isinstance(old, dict) or part not in old or part not in new:
        return None
    inner = schema.get("properties", {}).get(part) or schema.get("additionalProperties")
    return (inner, new[part], old[part]) if isinstance(inner, Mapping) else None


def _counterpart(schema: Schema, item: Any, old: Any) -> Any:
    """The item of the old list with the same keys; lists that are no maps have no counterparts."""
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list) or not isinstance(item, dict):
        return None
    keys = schema.get("x-kubernetes-list-map-keys", [])
    wanted = [item.get(key) for key in keys]
    return next(
        (other for other in old if isinstance(other, dict) and same([other.get(key) for key in keys], wanted)), None
    )


def _compile(schema: Schema, *, root: bool = True) -> "_Node | None":
    """The rules of a schema and of what lies below it; None when there are none."""
    own = [Rule(rule, schema) for rule in schema.get("x-kubernetes-validations") or ()]
    below = {name: node for name, item in schema.get("properties", {}).items() if (node := _compile(item, root=False))}
    additional = schema.get("additionalProperties")
    rest = _compile(additional, root=False) if isinstance(additional, Mapping) else None
    items = _compile(schema["items"], root=False) if "items" in schema else None
    nested = [
        Rule(rule, schema) for part in schema.get("allOf") or () for rule in part.get("x-kubernetes-validations") or ()
    ]
    if not (own or nested or below or rest or items):
        return None
    return _Node(schema, [*own, *nested], below, rest, items, root=root)


class _Node:
    """The rules at one place of the schema."""

    def __init__(
        self,
        schema: Schema,
        rules: list[Rule],
        below: dict[str, "_Node"],
        rest: "_Node | None",
        items: "_Node | None",
        *,
        root: bool,
    ) -> None:
        self._schema = schema
        self._rules = rules
        self._below = below
        self._rest = rest
        self._items = items
        self._root = root

    def check(self, value: Any, old: Any, path: Path, ratchet: _Ratchet) -> Iterator[Cause]:
        """Every broken rule here and below."""
        if value is None:
            return
        yield from self._check_here(value, old, path, ratchet)
        if isinstance(value, list) and self._items:
            for index, item in enumerate(value):
                yield from self._items.check(item, _counterpart(self._schema, item, old), (*path, index), ratchet)
        elif isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for key, node in self._nodes(value):
                yield from node.check(value[key], before.get(key), (*path, key), ratchet)

    def _nodes(self, value: dict[str, Any]) -> Iterator[tuple[str, "_Node"]]:
        if self._rest:
            known = self._schema.get("properties", {})
            yield from ((key, self._rest) for key in value if key not in known)
        yield from ((key, node) for key, node in self._below.items() if key in value)

    def _check_here(self, value: Any, old: Any, path: Path, ratchet: _Ratchet) -> Iterator[Cause]:
        if not self._rules:
            return
        context = Context(self._schema, value, old, root=self._root)
        field = self._field(path)
        for rule in self._rules:
            verdict = rule.check(field, value, context)
            if verdict and (verdict.raised or rule.uses_old or not ratchet.forgives(path)):
                yield verdict.cause

    def _field(self, path: Path) -> str:
        return path_of(list(path)) if path else ""


def _prune(value: Any, schema: Schema | None, path: Path, dropped: list[str]) -> None:
    """Walk value and schema together; None is the schema of what no schema describes."""
    keeps = bool(schema and schema.get("x-kubernetes-preserve-unknown-fields"))
    if isinstance(value, list):
        for index, item in enumerate(value):
            if not keeps or (schema and "items" in schema):
                _prune(item, (schema or {}).get("items"), (*path, index), dropped)
    if not isinstance(value, dict):
        return
    schema = schema or {}
    embedded = schema.get("x-kubernetes-embedded-resource")
    for key in list(value):
        if embedded and key in _META:
            continue
        if key in schema.get("properties", {}):
            _prune(value[key], schema["properties"][key], (*path, key), dropped)
        elif "additionalProperties" in schema:
            inner = schema["additionalProperties"]
            _prune(value[key], inner if isinstance(inner, Mapping) else None, (*path, key), dropped)
        elif not keeps:
            dropped.append(path_of([*path, key]))
            del value[key]


def _drop_nulls(value: Any, schema: Schema) -> None:
    """Drop the nulls that are neither allowed nor replaced by a default."""
    if isinstance(value, dict):
        for key in list(value):
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if not isinstance(inner, Mapping):
                continue
            if value[key] is None and not inner.get("nullable") and inner.get("default") is None:
                del value[key]
            else:
                _drop_nulls(value[key], inner)
    elif isinstance(value, list):
        for item in value:
            _drop_nulls(item, schema.get("items", {}))


def _default(value: Any, schema: Schema) -> None:
    if isinstance(value, dict):
        for key, inner in schema.get("properties", {}).items():
            if "default" in inner and value.get(key) is None and not (key in value and inner.get("nullable")):
                value[key] = clone(inner["default"])
        for key, item in value.items():
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if isinstance(inner, Mapping):
                value[key] = _filled(item, inner)
    elif isinstance(value, list) and "items" in schema:
        value[:] = [_filled(item, schema["items"]) for item in value]


def _filled(value: Any, schema: Schema) -> Any:
    if value is None and not schema.get("nullable"):
        value = clone(schema.get("default"))
    _default(value, schema)
    return value


def _check_lists(value: Any, schema: Schema, field: str) -> list[Cause]:
    """Duplicates in lists that are sets or maps."""
    found: list[Cause] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if key in schema.get("properties", {}):
                found += _check_lists(item, schema["properties"][key], f"{field}.{key}".removeprefix("."))
            elif isinstance(schema.get("additionalProperties"), Mapping):
                found += _check_lists(item, schema["additionalProperties"], f"{field}[{key}]")
    elif isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type")
        if kind == "set":
            found += [causes.duplicate(f"{field}[{index}]", value[index]) for index in _repeated(value)]
        elif kind == "map":
            found += _check_map(value, schema, field)
        for index, item in enumerate(value):
            found += _check_lists(item, schema.get("items", {}), f"{field}[{index}]")
    return found


def _check_map(items: list[Any], schema: Schema, field: str) -> list[Cause]:
    for index, item in enumerate(items):
        if item is not None and not isinstance(item, dict):
            return [causes.invalid(f"{field}[{index}]", item, "must be an object for an array of list-type map")]
    names = schema.get("x-kubernetes-list-map-keys", [])
    keys = [{name: item[name] for name in names if name in item} if item else {} for item in items]
    return [causes.duplicate(f"{field}[{index}]", keys[index]) for index in _repeated(keys)]


def _repeated(items: list[Any]) -> list[int]:
    """Where an item stands for the second time; the third time is not named."""
    times: dict[str, int] = {}
    found = []
    for index, item in enumerate(items):
        key = f"{type(item).__name__}:{causes.compact(item)}"
        times[key] = times.get(key, 0) + 1
        if times[key] == 2:
            found.append(index)
    return found
