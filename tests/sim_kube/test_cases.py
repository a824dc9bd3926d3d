"""Every case of `crd_cases.yaml` on the schemas alone: no server, no HTTP."""

import copy
from collections.abc import Mapping
from typing import Any

import cases
import pytest
from cases import Body, Case, Step

from edgeherd_sim.kube.structural import Cause, StructuralSchema

CASES = cases.read()
SCHEMAS = {kind: StructuralSchema(cases.schema(kind)) for kind in ("EdgeDevice", "HubConnection")}
REASONS = {
    "Duplicate value": {"FieldValueDuplicate"},
    "Forbidden": {"FieldValueForbidden"},
    "Invalid value": {"FieldValueInvalid", "FieldValueTypeInvalid"},
    "Required value": {"FieldValueRequired"},
    "Too long": {"FieldValueTooLong"},
    "Too many": {"FieldValueTooMany"},
    "Unsupported value": {"FieldValueNotSupported"},
}


class RefusedError(Exception):
    """The schema refuses a request."""

    def __init__(self, sentences: set[str], causes: list[Cause]) -> None:
        super().__init__(sentences)
        self.sentences = sentences
        self.causes = causes


def request(schema: StructuralSchema, live: Body | None, step: Step) -> Body:
    """What is stored after a request, as a server with status subresource does it."""
    new: Body = copy.deepcopy(step.body) if live is None else cases.merged(live, step.body)
    unknown = schema.prune(new)
    if unknown:
        raise RefusedError({f'unknown field "{path}"' for path in unknown}, [])
    if step.subresource and live is not None:
        new = {**copy.deepcopy(live), **{key: value for key, value in new.items() if key == step.subresource}}
    else:
        new.pop("status", None)
        new |= {key: value for key, value in (live or {}).items() if key == "status"}
    schema.default(new)
    causes = schema.validate(new, live, step.subresource)
    if causes:
        raise RefusedError({f"{cause.field}: {cause.message}" for cause in causes}, causes)
    return new


def stored(case: Case) -> Body:
    """What is stored after all requests of a case."""
    live: Body | None = None
    for step in case.steps:
        live = request(SCHEMAS[case.manifest["kind"]], live, step)
    assert live is not None
    return live


def named(case: Case) -> str:
    """The case's name as an id."""
    return case.name


@pytest.mark.parametrize("case", [case for case in CASES if case.accepted], ids=named)
def test_what_the_real_server_accepts_is_accepted_and_stored_alike(case: Case) -> None:
    """Accepted manifests get the same defaults, and nothing else."""
    assert cases.holds(stored(case), case.stored)


@pytest.mark.parametrize("case", [case for case in CASES if not case.accepted], ids=named)
def test_what_the_real_server_refuses_is_refused_in_the_same_words(case: Case) -> None:
    """Refused manifests are refused for the same reasons, all of them and no others."""
    schema = SCHEMAS[case.manifest["kind"]]
    live: Body | None = None
    for step in case.steps[:-1]:
        live = request(schema, live, step)
    with pytest.raises(RefusedError) as caught:
        request(schema, live, case.steps[-1])
    assert caught.value.sentences == {case.message, *case.also}


@pytest.mark.parametrize("case", [case for case in CASES if not case.accepted], ids=named)
def test_reasons_fit_the_words(case: Case) -> None:
    """The machine-readable reason of each cause says the same as its sentence."""
    found: list[Cause] = []
    try:
        stored(case)
    except RefusedError as exc:
        found = exc.causes
    for cause in found:
        assert cause.reason in REASONS[cause.message.partition(":")[0]]


def of_type(schema: Mapping[str, Any]) -> StructuralSchema:
    """A schema with one field `f`."""
    return StructuralSchema({"type": "object", "properties": {"f": schema}})


VALUES: list[tuple[str, dict[str, Any], Any, list[str]]] = [
    ("a whole float is an integer", {"type": "integer"}, 60.0, []),
    (
        "a broken float is none",
        {"type": "integer", "format": "int32"},
        60.5,
        [
            'f: Invalid value: "float64": f in body must be of type int32: "float64"',
            '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in f',
        ],
    ),
    (
        "null is no string, and no member of an enum",
        {"type": "string", "enum": ["a", "b"]},
        None,
        [
            'f: Invalid value: "null": f in body must be of type string: "null"',
            'f: Unsupported value: null: supported values: "a", "b"',
        ],
    ),
    ("null is welcome where it is nullable", {"type": "string", "nullable": True}, None, []),
    ("an int or a string may be an int", {"x-kubernetes-int-or-string": True}, 5, []),
    ("an int or a string may be a string", {"x-kubernetes-int-or-string": True}, "50%", []),
    (
        "an int or a string is no bool",
        {"x-kubernetes-int-or-string": True},
        True,
        ['f: Invalid value: "boolean": f in body must be of type integer,string: "boolean"'],
    ),
    (
        "a pattern ends at the very end of the text",
        {"type": "string", "pattern": "^a$"},
        "a\n",
        ["f: Invalid value: \"a\\n\": f in body should match '^a$'"],
    ),
    ("characters are counted, not bytes", {"type": "string", "maxLength": 2}, "äö", []),
    (
        "an exclusive limit is no value",
        {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
        1,
        ["f: Invalid value: 1: f in body should be greater than 1"],
    ),
]


@pytest.mark.parametrize(("schema", "value", "sentences"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES])
def test_values_are_judged_as_in_openapi(schema: dict[str, Any], value: Any, sentences: list[str]) -> None:
    """Where OpenAPI differs from JSON Schema, the schema goes with OpenAPI."""
    found = of_type(schema).validate({"f": value}, None)
    assert [f"{cause.field}: {cause.message}" for cause in found] == sentences


def test_what_was_invalid_before_and_did_not_change_is_forgiven() -> None:
    """An update may leave a wrong value as it is; next to it, rules hold."""
    schema = StructuralSchema(
        {
            "type": "object",
            "properties": {"a": {"type": "string", "maxLength": 1}, "b": {"type": "string", "maxLength": 1}},
        }
    )
    old = {"a": "too long", "b": "x"}
    assert [
        [cause.field for cause in schema.validate(new, old)]
        for new in ({"a": "too long", "b": "y"}, {"a": "also too long", "b": "x"}, {"a": "too long", "b": "yy"})
    ] == [[], ["a"], ["b"]]


def test_a_rule_that_fails_to_run_refuses_the_object() -> None:
    """A rule on an optional field without `has()` refuses objects that lack the field."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": "self.a == 'x'"}],
    }
    assert StructuralSchema({"type": "object", "properties": {"f": schema}}).validate({"f": {}}, None) == [
        Cause(
            reason="FieldValueInvalid",
            field="f",
            message="Invalid value: \"object\": no such key: a evaluating rule: self.a == 'x'",
        )
    ]


def test_nulls_that_mean_nothing_are_dropped_before_they_are_judged() -> None:
    """A null stays where it is allowed, and where a default takes its place."""
    schema = StructuralSchema(
        {
            "type": "object",
            "properties": {
                "plain": {"type": "string"},
                "nullable": {"type": "string", "nullable": True},
                "defaulted": {"type": "string", "default": "x"},
            },
        }
    )
    body: dict[str, Any] = {"plain": None, "nullable": None, "defaulted": None}
    dropped = schema.prune(body)
    schema.default(body)
    assert (dropped, body) == ([], {"nullable": None, "defaulted": "x"})


def test_unknown_fields_are_dropped_and_named() -> None:
    """Pruning leaves what the schema keeps, and tells the paths of the rest."""
    schema = StructuralSchema(
        {
            "type": "object",
            "properties": {
                "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
                "kept": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        }
    )
    body = {"kind": "X", "metadata": {"a": 1}, "x": 1, "list": [{"a": "1", "b": 2}], "kept": {"z": {"y": 1}}}
    assert (schema.prune(body), body) == (
        ["list[0].b", "x"],
        {"kind": "X", "metadata": {"a": 1}, "list": [{"a": "1"}], "kept": {"z": {"y": 1}}},
    )
