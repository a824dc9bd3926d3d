"""What the API server asks of a CRD's schema: that it is structural, and that its defaults and rules make sense."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import re2

from edgeherd_sim.kube import causes
from edgeherd_sim.kube.causes import Cause
from edgeherd_sim.kube.cel_checks import Surroundings
from edgeherd_sim.kube.formats import FORMATS
from edgeherd_sim.kube.keywords import compiled
from edgeherd_sim.kube.rule_checks import check_rule, check_wording
from edgeherd_sim.kube.structural import StructuralSchema

Schema = Mapping[str, Any]

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_FOREIGN: Final = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_JUNCTORS: Final = ("anyOf", "allOf", "oneOf")
_UNJUDGED: Final = frozenset(
    [
        "bsonobjectid",
        "uri",
        "email",
        "hostname",
        "mac",
        "uuid3",
        "uuid4",
        "uuid5",
        "isbn",
        "isbn10",
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "byte",
        "duration",
        "k8sshortname",
        "k8slongname",
    ]
)
_NOT_STRUCTURAL: Final[Mapping[str, str]] = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
_AT_ROOT: Final = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems "
    "MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations"
)
_NOT_AT_ROOT: Final = (
    *_JUNCTORS,
    "not",
    "enum",
    "minProperties",
    "maxProperties",
    "additionalProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
)
_INT_OR_STRING: Final = [{"type": "integer"}, {"type": "string"}]


def check_schema(schema: Schema, field: str, *, has_status: bool) -> Iterator[Cause]:
    """Why a version's schema is refused."""
    yield from _check_root(schema, field, has_status=has_status)
    foreign = [*_foreign(schema, field)]
    structural = [] if foreign else sorted(_check_structure(schema, field, "root"), key=_sentence)
    yield from structural
    defaults = [] if foreign or structural else [*_check_defaults(schema, field, root=True)]
    yield from defaults
    sound = not (foreign or structural or defaults)
    around = Surroundings.root(schema) if sound else None
    found, _ = _check_places(schema, field, around, ())
    yield from found
    if around:
        yield from (causes.forbidden(where, why) for where, why in around.total_problems(field))


def _sentence(cause: Cause) -> str:
    return f"{cause.field}: {cause.message}"


def _check_root(schema: Schema, field: str, *, has_status: bool) -> Iterator[Cause]:
    if has_status and any(schema.get(key) for key in _NOT_AT_ROOT):
        words = f"only [{_AT_ROOT}] fields are allowed at the root of the schema if the status subresource is enabled"
        yield causes.invalid(field, schema, words)
    if schema.get("nullable"):
        yield causes.forbidden(f"{field}.nullable", "nullable cannot be true at the root")
    if isinstance(schema.get("default"), Mapping):
        yield from (causes.required(f"{field}.default.{key}") for key in ("apiVersion", "kind"))


def _places(schema: Schema, field: str) -> Iterator[tuple[Schema, str, str]]:
    """The schemas right below a schema: themselves, where they stand, and of what kind they are."""
    items = schema.get("items")
    if isinstance(items, Mapping):
        yield items, f"{field}.items", "item"
    for name, inner in (schema.get("properties") or {}).items():
        yield inner, f"{field}.properties[{name}]", "field"
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield schema["additionalProperties"], f"{field}.additionalProperties", "field"


def _nested(schema: Schema, field: str) -> Iterator[tuple[Schema, str]]:
    for key in _JUNCTORS:
        yield from ((part, f"{field}.{key}[{index}]") for index, part in enumerate(schema.get(key) or ()))
    if isinstance(schema.get("not"), Mapping):
        yield schema["not"], f"{field}.not"


def _foreign(schema: Schema, field: str) -> Iterator[str]:
    """Keywords of JSON Schema that no structural schema has; they keep the other checks from running."""
    yield from (key for key in _FOREIGN if schema.get(key))
    if isinstance(schema.get("items"), list):
        yield "items"
    for inner, _, _ in _places(schema, field):
        yield from _foreign(inner, field)


def _check_structure(schema: Schema, field: str, level: str) -> Iterator[Cause]:
    if schema.get("type") == "array" and "items" not in schema:
        yield causes.required(f"{field}.items", "must be specified")
    for inner, where, kind in _places(schema, field):
        yield from _check_structure(inner, where, kind)
    if level == "root":
        yield from _check_root_structure(schema, field)
    yield from _check_type_given(schema, field, level)
    if schema.get("x-kubernetes-int-or-string"):
        for key in ("preserve-unknown-fields", "embedded-resource"):
            if schema.get(f"x-kubernetes-{key}"):
                why = "must be false if x-kubernetes-int-or-string is true"
                yield causes.invalid(f"{field}.x-kubernetes-{key}", value=True, why=why)
    yield from _check_values(schema, field, top=True)


def _check_type_given(schema: Schema, field: str, level: str) -> Iterator[Cause]:
    if schema.get("type") or schema.get("x-kubernetes-int-or-string"):
        return
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    where = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}
    yield causes.required(f"{field}.type", f"must not be empty {where[level]}")


def _check_root_structure(schema: Schema, field: str) -> Iterator[Cause]:
    if "additionalProperties" in schema:
        yield causes.forbidden(f"{field}.additionalProperties", "must not be used at the root")
    if schema.get("type", "object") != "object":
        yield causes.invalid(f"{field}.type", schema["type"], "must be object at the root")
    properties = schema.get("properties") or {}
    for key in ("kind", "apiVersion"):
        if key in properties and properties[key].get("type") != "string":
            yield causes.invalid(f"{field}.properties[{key}].type", properties[key].get("type", ""), "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    if metadata.get("type") != "object":
        yield causes.invalid(f"{field}.properties[metadata].type", metadata.get("type", ""), "must be object")
    named = set(metadata.get("properties") or {}) <= {"name", "generateName"}
    if not named or set(metadata) - {"type", "properties", "default"}:
        why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield causes.forbidden(f"{field}.properties[metadata]", why)


def _check_values(schema: Schema, field: str, *, top: bool) -> Iterator[Cause]:
    """Patterns, and what stands under `anyOf` and its like."""
    is_both = bool(schema.get("x-kubernetes-int-or-string"))
    for part, where in _nested(schema, field):
        if is_both and top and (schema.get("anyOf") == _INT_OR_STRING) and ".anyOf[" in where[len(field) :]:
            continue
        yield from _check_nested(part, where, is_both=is_both)
    pattern = schema.get("pattern", "")
    try:
        compiled(pattern)
    except re2.error as exc:
        why = f"must be a valid regular expression, but isn't: error parsing regexp: {_regexp_error(exc)}"
        yield causes.invalid(f"{field}.pattern", pattern, why)


def _check_nested(schema: Schema, field: str, *, is_both: bool) -> Iterator[Cause]:
    if is_both and schema.get("anyOf") == _INT_OR_STRING:
        schema = {key: value for key, value in schema.items() if key != "anyOf"}
    yield from (causes.forbidden(f"{field}.{key}", why) for key, why in _NOT_STRUCTURAL.items() if schema.get(key))
    if "metadata" in (schema.get("properties") or {}):
        yield causes.forbidden(f"{field}.properties[metadata]", "must not be specified in a nested context")
    yield from _check_values(schema, field, top=False)
    for inner, where, _ in _places({**schema, "additionalProperties": None}, field):
        yield from _check_nested(inner, where, is_both=False)


def _regexp_error(exc: Exception) -> str:
    """The library's words, with the place quoted as Go does it."""
    text = exc.args[0].decode() if exc.args and isinstance(exc.args[0], bytes) else str(exc)
    text = text.replace("invalid perl operator", "invalid or unsupported Perl syntax").replace(
        "missing ]", "missing closing ]"
    )
    what, _, where = text.partition(": ")
    return f"{what}: `{where}`" if where else what


def _check_defaults(schema: Schema, field: str, *, root: bool) -> Iterator[Cause]:
    if schema.get("default") is not None and not root:
        yield from _judge(schema, field)
    for inner, where, _ in _places({**schema, "additionalProperties": None}, field):
        if not (root and where == f"{field}.properties[metadata]"):
            yield from _check_defaults(inner, where, root=False)


def _judge(schema: Schema, field: str) -> list[Cause]:
    try:
        return StructuralSchema(schema, root=False).check_default(schema["default"], f"{field}.default")
    except ValueError:
        # A rule does not compile, which is said where the rule stands.
        return []


def _check_places(
    schema: Schema, field: str, around: Surroundings | None, uncorrelated: tuple[str, ...]
) -> tuple[list[Cause], bool]:
    """Every check of a schema by itself, and then of its rules; whether all but the rules is well."""
    found = [*_check_keywords(schema, field)]
    sound = not found
    for inner, where, kind in _places(schema, field):
        loose = kind == "item" and schema.get("x-kubernetes-list-type") != "map"
        deeper = around.below(inner, where[len(field) + 1 :]) if around else None
        below, well = _check_places(inner, where, deeper, (*uncorrelated, field) if loose else uncorrelated)
        found += below
        sound &= well
    for part, where in _nested(schema, field):
        below, well = _check_places(part, where, None, uncorrelated)
        found += below
        sound &= well
    wording = [cause for index, rule in _rules(schema) for cause in check_wording(rule, schema, _at(field, index))]
    found += wording
    sound &= not wording
    if sound and around:
        for index, rule in _rules(schema):
            found += check_rule(rule, _at(field, index), around, uncorrelated)
    return found, sound


def _rules(schema: Schema) -> Iterator[tuple[int, Schema]]:
    yield from enumerate(schema.get("x-kubernetes-validations") or ())


def _at(field: str, index: int) -> str:
    return f"{field}.x-kubernetes-validations[{index}]"


def _check_keywords(schema: Schema, field: str) -> Iterator[Cause]:
    kind = schema.get("type", "")
    if kind and kind not in _TYPES:
        yield causes.unsupported(f"{field}.type", kind, _TYPES)
    yield from (causes.forbidden(f"{field}.{key}", f"{key} is not supported") for key in _FOREIGN if schema.get(key))
    if kind == "null":
        yield causes.forbidden(f"{field}.type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(schema.get("items"), list):
        yield causes.forbidden(f"{field}.items", "items must be a schema object and not an array")
    if schema.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield causes.forbidden(f"{field}.uniqueItems", why)
    if schema.get("properties") and schema.get("additionalProperties", True) is not True:
        why = "additionalProperties and properties are mutual exclusive"
        yield causes.forbidden(f"{field}.additionalProperties", why)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        where = f"{field}.x-kubernetes-preserve-unknown-fields"
        yield causes.invalid(where, value=False, why="must be true or undefined")
    yield from _check_metadata_defaults(schema, field)
    yield from _check_map_type(schema, field)
    yield from _check_list_type(schema, field)
    yield from _check_judged(schema, field)


def _check_metadata_defaults(schema: Schema, field: str) -> Iterator[Cause]:
    if not field.endswith("openAPIV3Schema"):
        return
    for key in ("metadata", "apiVersion", "kind"):
        inner = (schema.get("properties") or {}).get(key) or {}
        named = (inner.get("properties") or {}).items()
        for found, where in [(inner, ""), *((item, f".properties[{name}]") for name, item in named)]:
            if found.get("default") is not None:
                why = f"must not be set in top-level {key}"
                yield causes.forbidden(f"{field}.properties[{key}]{where}.default", why)


def _check_judged(schema: Schema, field: str) -> Iterator[Cause]:
    """What the real server checks and this one cannot."""
    if schema.get("type", "string") == "string" and schema.get("format", "").replace("-", "") in _UNJUDGED - set(
        FORMATS
    ):
        yield causes.forbidden(f"{field}.format", f"this simulator cannot check the format {schema['format']}")
    if schema.get("x-kubernetes-embedded-resource"):
        why = "this simulator cannot check embedded resources"
        yield causes.forbidden(f"{field}.x-kubernetes-embedded-resource", why)


def _check_map_type(schema: Schema, field: str) -> Iterator[Cause]:
    found = schema.get("x-kubernetes-map-type")
    if found is None:
        return
    yield from _check_belongs(schema, field, "object", "map")
    if found not in {"atomic", "granular"}:
        yield causes.unsupported(f"{field}.x-kubernetes-map-type", found, ("atomic", "granular"))


def _check_belongs(schema: Schema, field: str, wanted: str, what: str) -> Iterator[Cause]:
    kind = schema.get("type", "")
    why = f"must be {wanted} if x-kubernetes-{what}-type is specified"
    if not kind:
        yield causes.required(f"{field}.type", why)
    elif kind != wanted:
        yield causes.invalid(f"{field}.type", kind, why)


def _check_list_type(schema: Schema, field: str) -> Iterator[Cause]:
    found = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys") or []
    items = schema.get("items") if isinstance(schema.get("items"), Mapping) else None
    where = f"{field}.x-kubernetes-list-type"
    if keys and found != "map":
        why = "must be map if x-kubernetes-list-map-keys is non-empty"
        yield causes.invalid(where, found, why) if found else causes.required(where, why)
    if found is None:
        return
    yield from _check_belongs(schema, field, "array", "list")
    if found not in {"atomic", "set", "map"}:
        yield causes.unsupported(where, found, ("atomic", "set", "map"))
    if found in {"set", "map"} and items and items.get("nullable"):
        yield causes.forbidden(f"{field}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {found}")
    if found == "set" and items:
        yield from _check_set(items, f"{field}.items")
    if found == "map":
        yield from _check_map(items, keys, field)


def _check_set(items: Schema, field: str) -> Iterator[Cause]:
    why = "must be atomic as item of a list with x-kubernetes-list-type=set"
    list_type = items.get("x-kubernetes-list-type")
    if items.get("type") == "array" and list_type not in {None, "atomic"}:
        yield causes.invalid(f"{field}.x-kubernetes-list-type", list_type, why)
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        # The server shows the list type here too.
        yield causes.invalid(f"{field}.x-kubernetes-map-type", list_type, why)


def _check_map(items: Schema | None, keys: list[str], field: str) -> Iterator[Cause]:
    where = f"{field}.x-kubernetes-list-map-keys"
    if not keys:
        yield causes.required(where, "must not be empty if x-kubernetes-list-type is map")
    if items is None:
        yield causes.required(f"{field}.items", "must have a schema if x-kubernetes-list-type is map")
        return
    if items.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        yield causes.invalid(f"{field}.items.type", items.get("type", ""), why)
        return
    for index, key in enumerate(keys):
        if key in keys[:index]:
            yield causes.invalid(where, keys, "must not contain duplicate entries")
        inner = (items.get("properties") or {}).get(key)
        here = f"{field}.items.properties[{key}]"
        if inner is None:
            yield causes.invalid(where, keys, "entries must all be names of item properties")
            continue
        if inner.get("type") in {"array", "object"}:
            why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield causes.invalid(f"{here}.type", items["type"], why)
        in_keys = "this property is in x-kubernetes-list-map-keys, so it"
        if key not in (items.get("required") or ()) and inner.get("default") is None:
            yield causes.required(f"{here}.default", f"{in_keys} must have a default or be a required property")
        if inner.get("nullable"):
            yield causes.forbidden(f"{here}.nullable", f"{in_keys} cannot be nullable")
