"""The keywords of a CRD's schema as kube-apiserver checks them, on top of the `jsonschema` library.

The library walks schema and object; here stands what differs from JSON Schema: `nullable`, boolean `exclusiveMinimum`,
RE2 patterns, formats that judge, numbers that must fit, the order of the checks, and the server's words. A failed
check is a `BrokenError`, which carries the cause in the making: what depends on the field's path is filled in afterwards.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import re2
from jsonschema import Draft4Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from edgeherd_sim.kube import causes
from edgeherd_sim.kube.causes import Cause
from edgeherd_sim.kube.formats import FORMATS

Schema = Mapping[str, Any]
Errors = Iterator["BrokenError"]

_ORDER: Final = (
    "type",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "maxLength",
    "minLength",
    "pattern",
    "format",
    "x-range",
    "multipleOf",
    "minimum",
    "maximum",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "enum",
    "minProperties",
    "maxProperties",
    "additionalProperties",
    "properties",
    "required",
)
_LISTS: Final = ("anyOf", "oneOf", "allOf")
_BESIDE: Final = ("nullable", "exclusiveMinimum", "exclusiveMaximum", "format")
_INT32: Final = 2**31
_INT64: Final = 2**63
_NOWHERE: Final = "<nil>"


class BrokenError(ValidationError):
    """A failed check: `judge` makes its cause from the field and from the words that name the field."""

    def __init__(self, judge: Callable[[str, str], Cause], *, child: str = "", nowhere: bool = False) -> None:
        super().__init__("")
        self.judge = judge
        self.child = child
        self.nowhere = nowhere

    def told(self, root: str) -> Cause:
        """The cause; `root` is the field at which the check began, which the words leave out."""
        name = path_of([*self.absolute_path, *([self.child] if self.child else [])])
        if self.nowhere:
            return self.judge(root or _NOWHERE, name)
        return self.judge(".".join(filter(None, (root, name))), name)


def path_of(parts: list[str | int]) -> str:
    """A path as messages write it: `spec.ssh.hostKeys[0]`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, types included: `1`, `1.0` and `true` are three."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def validator(schema: Schema) -> Draft4Validator:
    """A validator whose errors are all `BrokenError`, in the server's order."""
    made: Draft4Validator = _Validator(normalized(schema))
    return made


def normalized(schema: Schema) -> dict[str, Any]:
    """The schema with its keywords in the order in which the server checks them, and without the rest."""
    found: dict[str, Any] = {}
    if schema.get("x-kubernetes-int-or-string"):
        schema = {**schema, "type": ["integer", "string"]}
    if schema.get("type") in ("integer", "number"):
        schema = {**schema, "x-range": schema["type"]}
    for key in _ORDER:
        if key not in schema:
            continue
        value = schema[key]
        if key == "properties":
            found[key] = {name: normalized(item) for name, item in value.items()}
        elif key in _LISTS:
            found[key] = [normalized(item) for item in value]
        elif isinstance(value, Mapping):
            found[key] = normalized(value)
        else:
            found[key] = value
    found.update({key: schema[key] for key in _BESIDE if key in schema and key not in found})
    return found


_KINDS: Final[Mapping[type, tuple[str, str]]] = {
    type(None): ("null", ""),
    bool: ("boolean", ""),
    int: ("integer", "int64"),
    float: ("number", "float64"),
    str: ("string", ""),
    list: ("array", ""),
    dict: ("object", ""),
}
"""JSON's type of a value, and the format that the server gives to numbers."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _type(_: Any, wanted: str | list[str], value: Any, schema: Schema) -> Errors:
    wanted = [wanted] if isinstance(wanted, str) else wanted
    kind, its_format = _KINDS[type(value)]
    if value is None:
        if not schema.get("nullable"):
            yield _wrong_type(",".join(wanted), "null")
        return
    fits = kind in wanted or (kind == "integer" and "number" in wanted)
    fits = fits or (kind == "number" and "integer" in wanted and value == int(value))
    numeric = "integer" in wanted or "number" in wanted
    text = schema.get("format", "")
    if not isinstance(value, str | list) and text and not fits and text != its_format:
        yield _wrong_type(text, its_format)
    elif isinstance(value, str | list) and text and not numeric:
        # The real server forgets the type of a list where a string with a format is wanted.
        return
    elif not fits:
        yield _wrong_type(",".join(wanted), kind)


def _wrong_type(wanted: str, found: str) -> BrokenError:
    def judge(field: str, name: str) -> Cause:
        return causes.wrong_type(field, found, f"{name} in body must be of type {wanted}: {causes.quote(found)}")

    return BrokenError(judge)


def _wrong(value: Any, words: str) -> BrokenError:
    return BrokenError(lambda field, name: causes.invalid(field, value, f"{name} in body {words}"))


def _max_length(_: Any, limit: int, value: Any, __: Schema) -> Errors:
    if isinstance(value, str) and len(value) > limit:
        yield BrokenError(lambda field, _: causes.too_long(field, limit))


def _min_length(_: Any, limit: int, value: Any, __: Schema) -> Errors:
    if isinstance(value, str) and len(value) < limit:
        yield _wrong(value, f"should be at least {limit} chars long")


def _pattern(_: Any, pattern: str, value: Any, schema: Schema) -> Errors:
    # The server stops at the first of the three checks of a string that fails.
    if not isinstance(value, str) or not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", _INT64):
        return
    if compiled(pattern).search(value) is None:
        yield _wrong(value, f"should match '{pattern}'")


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """A regular expression of Go's kind; `re2.error` when it is none."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _format(_: Any, name: str, value: Any, schema: Schema) -> Errors:
    check = FORMATS.get(name.replace("-", ""))
    if isinstance(value, str) and check is not None and schema.get("type", "string") == "string" and not check(value):
        yield _wrong_type_text(name, value)


def _wrong_type_text(wanted: str, value: str) -> BrokenError:
    def judge(field: str, name: str) -> Cause:
        return causes.wrong_type(field, value, f"{name} in body must be of type {wanted}: {causes.quote(value)}")

    return BrokenError(judge)


def _range(_: Any, kind: str, value: Any, schema: Schema) -> Errors:
    if not _is_number(value) or kind != "integer":
        return
    size = {"int32": _INT32}.get(schema.get("format", ""), _INT64)
    if value == int(value) and -size <= value < size:
        return
    text = schema.get("format", "")
    words = f"of type integer with format {text}" if text in {"int32", "int64"} else "of type integer (default format)"

    def judge(field: str, name: str) -> Cause:
        return causes.invalid(field, "", f"Checked value must be {words} in {name}")

    yield BrokenError(judge, nowhere=True)


def _multiple_of(_: Any, factor: float, value: Any, __: Schema) -> Errors:
    if _is_number(value) and value / factor != int(value / factor):
        yield _wrong(value, f"should be a multiple of {causes.number(factor)}")


def _boundary(what: str, limit: float, schema: Schema) -> Errors:
    """A limit is a float in the server; one that is beyond its own type by that refuses every value."""
    if schema.get("x-range") != "integer":
        return
    text = schema.get("format", "")
    size = _INT32 if text == "int32" else _INT64
    if -size <= float(limit) < size:
        return
    words = f"of type integer with format {text}" if text in {"int32", "int64"} else "of type integer (default format)"

    def judge(field: str, name: str) -> Cause:
        return causes.invalid(field, "", f"{what} boundary value must be {words} in {name}")

    yield BrokenError(judge, nowhere=True)


def _minimum(_: Any, limit: float, value: Any, schema: Schema) -> Errors:
    if not _is_number(value):
        return
    yield from _boundary("Minimum", limit, schema)
    if schema.get("exclusiveMinimum"):
        if value <= limit:
            yield _wrong(value, f"should be greater than {causes.number(limit)}")
    elif value < limit:
        yield _wrong(value, f"should be greater than or equal to {causes.number(limit)}")


def _maximum(_: Any, limit: float, value: Any, schema: Schema) -> Errors:
    if not _is_number(value):
        return
    yield from _boundary("Maximum", limit, schema)
    if schema.get("exclusiveMaximum"):
        if value >= limit:
            yield _wrong(value, f"should be less than {causes.number(limit)}")
    elif value > limit:
        yield _wrong(value, f"should be less than or equal to {causes.number(limit)}")


def _items(walker: Any, schema: Schema, value: Any, _: Schema) -> Errors:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from walker.descend(item, schema, path=index)


def _min_items(_: Any, limit: int, value: Any, __: Schema) -> Errors:
    if isinstance(value, list) and len(value) < limit:
        yield _wrong(len(value), f"should have at least {limit} items")


def _max_items(_: Any, limit: int, value: Any, __: Schema) -> Errors:
    if isinstance(value, list) and len(value) > limit:
        size = len(value)
        yield BrokenError(lambda field, _: causes.too_many(field, size, limit))


def _unique_items(_: Any, wanted: bool, value: Any, __: Schema) -> Errors:
    if (
        wanted
        and isinstance(value, list)
        and any(same(item, other) for index, item in enumerate(value) for other in value[:index])
    ):
        yield _wrong("", "shouldn't contain duplicates")


def _enum(_: Any, allowed: list[Any], value: Any, __: Schema) -> Errors:
    if not any(same(value, item) for item in allowed):
        yield BrokenError(lambda field, _: causes.unsupported(field, value, allowed))


def _min_properties(_: Any, limit: int, value: Any, __: Schema) -> Errors:
    if isinstance(value, dict) and len(value) < limit:
        yield _wrong(len(value), f"should have at least {limit} properties")


def _max_properties(_: Any, limit: int, value: Any, __: Schema) -> Errors:
    if isinstance(value, dict) and len(value) > limit:
        size = len(value)
        yield BrokenError(lambda field, _: causes.too_many(field, size, limit))


def _additional(walker: Any, schema: Schema | bool, value: Any, parent: Schema) -> Errors:
    if isinstance(value, dict) and isinstance(schema, Mapping):
        for key, item in value.items():
            if key not in parent.get("properties", {}):
                yield from walker.descend(item, schema, path=key)


def _properties(walker: Any, properties: Mapping[str, Schema], value: Any, _: Schema) -> Errors:
    if isinstance(value, dict):
        for key, schema in properties.items():
            if key in value:
                yield from walker.descend(value[key], schema, path=key)


def _required(_: Any, names: list[str], value: Any, __: Schema) -> Errors:
    if isinstance(value, dict):
        for name in names:
            if name not in value:
                yield BrokenError(lambda field, _: causes.required(field), child=name)


def _combined(words: str) -> BrokenError:
    """A failed combination has no field of its own; the path stands in its words."""
    return BrokenError(lambda field, name: causes.invalid(field, "", f"{causes.quote(name)} {words}"), nowhere=True)


def _any_of(walker: Any, schemas: list[Schema], value: Any, _: Schema) -> Errors:
    tries = [list(walker.descend(value, schema)) for schema in schemas]
    if value is not None and all(tries):
        yield _combined("must validate at least one schema (anyOf)")
        yield from min(tries, key=len)


def _one_of(walker: Any, schemas: list[Schema], value: Any, _: Schema) -> Errors:
    tries = [list(walker.descend(value, schema)) for schema in schemas]
    valid = sum(not errors for errors in tries)
    if value is None or valid == 1:
        return
    how = f"Found {valid} valid alternatives" if valid else "Found none valid"
    yield _combined(f"must validate one and only one schema (oneOf). {how}")
    if not valid:
        yield from min(tries, key=len)


def _all_of(walker: Any, schemas: list[Schema], value: Any, _: Schema) -> Errors:
    if value is None:
        return
    tries = [list(walker.descend(value, schema)) for schema in schemas]
    for errors in tries:
        yield from errors
    if any(tries):
        yield _combined("must validate all the schemas (allOf)" + (". None validated" if all(tries) else ""))


def _not(walker: Any, schema: Schema, value: Any, _: Schema) -> Errors:
    if value is not None and not list(walker.descend(value, schema)):
        yield _combined("must not validate the schema (not)")


_Validator: Final = extend(  # type: ignore[no-untyped-call]
    Draft4Validator,
    {
        "type": _type,
        "anyOf": _any_of,
        "oneOf": _one_of,
        "allOf": _all_of,
        "not": _not,
        "maxLength": _max_length,
        "minLength": _min_length,
        "pattern": _pattern,
        "format": _format,
        "x-range": _range,
        "multipleOf": _multiple_of,
        "minimum": _minimum,
        "maximum": _maximum,
        "items": _items,
        "minItems": _min_items,
        "maxItems": _max_items,
        "uniqueItems": _unique_items,
        "enum": _enum,
        "minProperties": _min_properties,
        "maxProperties": _max_properties,
        "additionalProperties": _additional,
        "properties": _properties,
        "required": _required,
    },
)
