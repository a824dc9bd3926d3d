"""CRDs that kube-apiserver 1.36.2 refused, and in which words; beside them some that it accepted."""

import copy
from typing import Any

import cases
import pytest

from edgeherd_sim.kube.crd_checks import check_crd, default_crd

Body = dict[str, Any]
Change = dict[str, Any]
HEAD = "spec.validation.openAPIV3Schema"
SPEC = f"{HEAD}.properties[spec]"
STRING: Body = {"type": "string"}


def widget(version: Change, schema: Change, spec: Change) -> Body:
    """A small CRD with changes in its version, in the schema of the object, and in that of `spec`."""
    inner: Body = {
        "type": "object",
        "properties": {
            "s": {"type": "string", "maxLength": 10},
            "n": {"type": "integer"},
            "b": {"type": "boolean"},
            "l": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 5}},
            "m": {"type": "object", "maxProperties": 5, "additionalProperties": STRING},
            "o": {"type": "object", "properties": {"x": STRING}},
        },
    }
    changed = {**inner, **spec, "properties": {**inner["properties"], **spec.get("properties", {})}}
    root = {"type": "object", **schema, "properties": {"spec": changed, **schema.get("properties", {})}}
    found = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": root}, **version}
    return {
        "metadata": {"name": "widgets.example.io"},
        "spec": {
            "group": "example.io",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [found],
        },
    }


def judged(crd: Body) -> list[str]:
    """The sentences of the refusal, sorted: the real server's order is by chance."""
    body = copy.deepcopy(crd)
    default_crd(body)
    return sorted(f"{cause.field}: {cause.message}" for cause in check_crd(body))


def listed(**schema: Any) -> Change:
    """A change of the list `l`."""
    return {"properties": {"l": {"type": "array", **schema}}}


def keyed(*, required: bool = True, key: Change | None = None, **schema: Any) -> Change:
    """A change of `l` to a list that is a map by `k`."""
    items: Body = {"type": "object", "properties": {"k": {"type": "string", **(key or {})}}}
    return listed(
        **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
        | {"items": items | ({"required": ["k"]} if required else {}) | schema}
    )


def ruled(text: str, **rule: Any) -> Change:
    """A rule on `spec`."""
    return {"x-kubernetes-validations": [{"rule": text, **rule}]}


@pytest.mark.parametrize("kind", ["EdgeDevice", "HubConnection"])
def test_our_own_crds_are_accepted(kind: str) -> None:
    """What the real server takes from us, this one takes."""
    assert judged(cases.crd(kind)) == []


ACCEPTED: list[tuple[str, Change]] = [
    ("as it is", {}),
    ("a list-map key with a default", keyed(required=False, key={"default": "a"})),
    (
        "a set of atomic objects",
        listed(**{"x-kubernetes-list-type": "set", "items": {"type": "object", "x-kubernetes-map-type": "atomic"}}),
    ),
    ("an int or a string", {"properties": {"s": {"x-kubernetes-int-or-string": True}}}),
    ("required alternatives", {"anyOf": [{"required": ["s"]}, {"required": ["n"]}]}),
    ("a default that its rule likes", ruled("self.s == 'a'") | {"default": {"s": "a"}}),
    ("has() of nested fields", ruled("has(self.o) && has(self.o.x)")),
    ("macros over lists and maps", ruled("self.l.all(i, i.size() < 3) && self.m.all(k, k != '')")),
    ("numbers of two types compared", ruled("self.n > 1.5")),
    ("membership", ruled("self.s in self.l && 'a' in self.m")),
    ("keys without a limit cost nothing", ruled("self.m.all(k, k.matches('^a+$'))")),
    ("a message that is computed", ruled("true", messageExpression="'a' + self.s")),
    ("a field path", ruled("true", fieldPath=".s")),
]


@pytest.mark.parametrize("change", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_what_the_real_server_accepts_is_accepted(change: Change) -> None:
    """No rule is stricter than the real server's, as far as it is judged at all."""
    assert judged(widget({}, {}, change)) == []


SCHEMAS: list[tuple[str, Change, list[str]]] = [
    (
        "a field without a type",
        {"properties": {"s": {"maxLength": 5}}},
        [f"{SPEC}.properties[s].type: Required value: must not be empty for specified object fields"],
    ),
    (
        "items without a type",
        listed(items={}),
        [f"{SPEC}.properties[l].items.type: Required value: must not be empty for specified array items"],
    ),
    ("a list without items", listed(), [f"{SPEC}.properties[l].items: Required value: must be specified"]),
    (
        "a type that is none",
        {"properties": {"s": {"type": "text"}}},
        [
            (
                f'{SPEC}.properties[s].type: Unsupported value: "text": supported values: "array", "boolean", "integer", '
                '"number", "object", "string"'
            )
        ],
    ),
    (
        "a type under anyOf",
        {"properties": {"s": {"type": "string", "anyOf": [{"type": "string"}]}}},
        [f"{SPEC}.properties[s].anyOf[0].type: Forbidden: must be empty to be structural"],
    ),
    (
        "fields and free fields at once",
        {"additionalProperties": STRING},
        [f"{SPEC}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    ),
    (
        "look-ahead in a pattern",
        {"properties": {"s": {"type": "string", "pattern": "(?=x)"}}},
        [
            (
                f'{SPEC}.properties[s].pattern: Invalid value: "(?=x)": must be a valid regular expression, but isn\'t: '
                "error parsing regexp: invalid or unsupported Perl syntax: `(?=`"
            )
        ],
    ),
    (
        "unique items",
        listed(items=STRING, uniqueItems=True),
        [
            (
                f"{SPEC}.properties[l].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime "
                "complexity becomes quadratic"
            )
        ],
    ),
    (
        "pattern properties",
        {"patternProperties": {"a": STRING}},
        [f"{SPEC}.patternProperties: Forbidden: patternProperties is not supported"],
    ),
    (
        "a reference",
        {"properties": {"s": {"$ref": "#/x"}}},
        [f"{SPEC}.properties[s].$ref: Forbidden: $ref is not supported"],
    ),
    (
        "a list-map key that may be missing",
        keyed(required=False),
        [
            (
                f"{SPEC}.properties[l].items.properties[k].default: Required value: this property is in "
                "x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
        ],
    ),
    (
        "a list-map key that may be null",
        keyed(key={"nullable": True}),
        [
            (
                f"{SPEC}.properties[l].items.properties[k].nullable: Forbidden: this property is in "
                "x-kubernetes-list-map-keys, so it cannot be nullable"
            )
        ],
    ),
    (
        "a set of objects",
        listed(**{"x-kubernetes-list-type": "set", "items": {"type": "object"}}),
        [
            (
                f"{SPEC}.properties[l].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list "
                "with x-kubernetes-list-type=set"
            )
        ],
    ),
    (
        "a default of another type",
        {"properties": {"s": {"type": "string", "default": 5}}},
        [f'{SPEC}.properties[s].default: Invalid value: "integer":  in body must be of type string: "integer"'],
    ),
    (
        "a default with an unknown field",
        {"default": {"zz": 1}},
        [f'{SPEC}.default: Invalid value: {{"zz":1}}: must not have unknown fields'],
    ),
    (
        "a default that breaks a rule",
        ruled("self.s == 'a'") | {"default": {"s": "b"}},
        [f"{SPEC}.default: Invalid value: failed rule: self.s == 'a'"],
    ),
    (
        "a default that a rule cannot read, because nested defaults come later",
        ruled("self.s == 'a'") | {"default": {}},
        [f"{SPEC}.default: Invalid value: \"object\": no such key: s evaluating rule: self.s == 'a'"],
    ),
    (
        "the largest int64 as a limit",
        {"properties": {"n": {"type": "integer", "format": "int64", "maximum": 2**63 - 1, "default": 1}}},
        [
            (
                f'{SPEC}.properties[n].default: Invalid value: "": Maximum boundary value must be of type integer with '
                "format int64 in "
            )
        ],
    ),
]


@pytest.mark.parametrize(("change", "sentences"), [row[1:] for row in SCHEMAS], ids=[row[0] for row in SCHEMAS])
def test_a_schema_that_is_not_structural_is_refused(change: Change, sentences: list[str]) -> None:
    """The same schemas are refused as by the real server, in its words."""
    assert judged(widget({}, {}, change)) == sentences


def compiled(rule: str, at: int, why: str) -> str:
    """The sentence about a rule that does not compile."""
    text = rule.replace(">", "\\u003e")
    return (
        f'{SPEC}.x-kubernetes-validations[0].rule: Invalid value: {{"Rule":"{text}","Message":"","MessageExpression":"",'
        f'"Reason":null,"FieldPath":"","OptionalOldSelf":null}}: compilation failed: ERROR: <input>:1:{at}: {why}\n'
        f" | {rule}\n | {'.' * (at - 1)}^"
    )


RULES: list[tuple[str, int, str]] = [
    ("foo == 1", 1, "undeclared reference to 'foo' (in container '')"),
    ("self.nope == 1", 5, "undefined field 'nope'"),
    ("self.o.nope == 1", 7, "undefined field 'nope'"),
    ("has(self.nope)", 4, "undefined field 'nope'"),
    ("self.l.all(i, i.nope == 1)", 16, "type 'string' does not support field selection"),
    ("self.s == 1", 8, "found no matching overload for '_==_' applied to '(string, int)'"),
    ("self.n + 1.5 > 2.0", 8, "found no matching overload for '_+_' applied to '(int, double)'"),
    ("self.s.foo()", 11, "undeclared reference to 'foo' (in container '')"),
    ("foo(self.s)", 4, "undeclared reference to 'foo' (in container '')"),
    ("self.s.matches('(?=x)')", 16, "invalid matches argument"),
]


@pytest.mark.parametrize(("rule", "at", "why"), RULES, ids=[row[0] for row in RULES])
def test_a_rule_that_does_not_compile_is_refused_with_its_place(rule: str, at: int, why: str) -> None:
    """Names, fields and types of rules are checked when the CRD is written, not when they run."""
    assert judged(widget({}, {}, ruled(rule))) == [compiled(rule, at, why)]


def test_metadata_has_a_name_only() -> None:
    """Rules on the whole object see nothing else of the metadata."""
    rule = "self.metadata.labels.size() > 0"
    assert judged(widget({}, ruled(rule), {})) == [compiled(rule, 14, "undefined field 'labels'").replace(SPEC, HEAD)]


RULE_WORDS: list[tuple[str, Change, str]] = [
    ("an empty rule", ruled(" "), ".rule: Required value: rule is not specified"),
    ("a path to nowhere", ruled("true", fieldPath=".zz"), '.fieldPath: Invalid value: ".zz": must be a valid path'),
    ("a path to an item", ruled("true", fieldPath=".l[0]"), '.fieldPath: Invalid value: ".l[0]": must be a valid path'),
    ("a blank message", ruled("true", message=" "), '.message: Invalid value: " ": must be non-empty if specified'),
    (
        "two lines without a message",
        ruled("true ||\n false"),
        ".message: Required value: message must be specified if rule contains line breaks",
    ),
    (
        "an unknown reason",
        ruled("true", reason="Bad"),
        (
            '.reason: Unsupported value: "Bad": supported values: "FieldValueDuplicate", "FieldValueForbidden", '
            '"FieldValueInvalid", "FieldValueRequired"'
        ),
    ),
]


@pytest.mark.parametrize(("change", "sentence"), [row[1:] for row in RULE_WORDS], ids=[row[0] for row in RULE_WORDS])
def test_what_stands_beside_a_rule_is_checked(change: Change, sentence: str) -> None:
    """Messages, reasons and paths of rules."""
    assert judged(widget({}, {}, change)) == [f"{SPEC}.x-kubernetes-validations[0]{sentence}"]


def test_a_rule_yields_a_bool() -> None:
    """An expression of another type is no rule."""
    (sentence,) = judged(widget({}, {}, ruled("self.b ? 1 : 2")))
    assert sentence.endswith(": cel expression must evaluate to a bool")


def test_old_items_of_an_atomic_list_are_not_known() -> None:
    """`oldSelf` needs something to compare with."""
    item = {"type": "string", "maxLength": 5, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    change = listed(items=item, maxItems=5)
    assert judged(widget({}, {}, change)) == [
        (
            f'{SPEC}.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot '
            f"be used on the uncorrelatable portion of the schema within {SPEC}.properties[l]"
        )
    ]


COSTS: list[tuple[int | None, int | None, str, str]] = [
    (1000, 100, "self.l.all(i, i.matches('^a+$'))", ""),
    (1000, 10_000, "self.l.all(i, i.matches('^aaaaaaaaaaa+$'))", "1.6x"),
    (1000, 100_000, "self.l.all(i, i.matches('^a+$'))", "4.0x"),
    (None, None, "self.l.all(i, i.matches('^a+$'))", "more than 100x"),
    (1000, 10, "self.l.all(i, self.l.all(j, i == j))", ""),
    (3000, 10, "self.l.all(i, self.l.all(j, i == j))", "x"),
]


@pytest.mark.parametrize(("items", "length", "rule", "factor"), COSTS)
def test_a_rule_that_may_cost_too_much_is_refused(
    items: int | None, length: int | None, rule: str, factor: str
) -> None:
    """Costs are estimated from the limits in the schema, as the real server does it."""
    item = STRING | ({"maxLength": length} if length else {})
    change = listed(items=item, **({"maxItems": items} if items else {})) | ruled(rule)
    found = [sentence for sentence in judged(widget({}, {}, change)) if "estimated rule cost exceeds" in sentence]
    assert [f"{factor} (try" in sentence for sentence in found] == ([True] if factor else [])


def named(**names: Any) -> Body:
    """A CRD with other names."""
    crd = widget({}, {}, {})
    crd["spec"]["names"] |= names
    return crd


def spoken(**spec: Any) -> Body:
    """A CRD with another spec."""
    crd = widget({}, {}, {})
    crd["spec"] |= spec
    return crd


WHOLE: list[tuple[str, Body, list[str]]] = [
    (
        "a name that is not plural and group",
        named(plural="gadgets"),
        ['metadata.name: Invalid value: "widgets.example.io": must be spec.names.plural+"."+spec.group'],
    ),
    ("no scope", spoken(scope=""), ["spec.scope: Required value"]),
    (
        "an unknown scope",
        spoken(scope="Both"),
        ['spec.scope: Unsupported value: "Both": supported values: "Cluster", "Namespaced"'],
    ),
    (
        "a kind like its list",
        named(listKind="Widget"),
        ['spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same'],
    ),
    (
        "no schema",
        widget({"schema": None}, {}, {}),
        ["spec.versions[0].schema.openAPIV3Schema: Required value"],
    ),
    (
        "an unknown conversion",
        spoken(conversion={"strategy": "Magic"}),
        ['spec.conversion.strategy: Unsupported value: "Magic": supported values: "None", "Webhook"'],
    ),
    (
        "a column of no type",
        widget({"additionalPrinterColumns": [{"name": "A", "type": "text", "jsonPath": ".spec.s"}]}, {}, {}),
        [
            (
                'spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of '
                "boolean,date,integer,number,string"
            )
        ],
    ),
    (
        "a column whose path has no dot in front",
        widget({"additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": "spec.s"}]}, {}, {}),
        [
            (
                'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec.s": must be a simple json path starting '
                "with ."
            )
        ],
    ),
    (
        "a field to select by that is not there",
        widget({"selectableFields": [{"jsonPath": ".spec.zz"}]}, {}, {}),
        [
            (
                'spec.selectableFields[0].jsonPath: Invalid value: ".spec.zz": is an invalid path: does not refer to a '
                "valid field"
            )
        ],
    ),
    (
        "a list to select by",
        widget({"selectableFields": [{"jsonPath": ".spec.l"}]}, {}, {}),
        [
            (
                'spec.selectableFields[0].jsonPath: Invalid value: ".spec.l": must point to a field of type string, boolean '
                "or integer. Enum string fields and strings with formats are allowed."
            )
        ],
    ),
    (
        "labels restricted",
        widget({}, {"properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}, {}),
        [
            (
                f"{HEAD}.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but "
                "metadata is implicitly specified"
            )
        ],
    ),
    (
        "no storage version",
        widget({"storage": False}, {}, {}),
        [
            (
                'spec.versions: Invalid value: [{"Name":"v1","Served":true,"Storage":false,"Deprecated":false,'
                '"DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,'
                '"SelectableFields":null}]: must have exactly one version marked as storage version'
            ),
            "status.storedVersions: Invalid value: null: must have at least one stored version",
        ],
    ),
]


@pytest.mark.parametrize(("crd", "sentences"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
def test_a_crd_with_something_wrong_around_its_schema_is_refused(crd: Body, sentences: list[str]) -> None:
    """Names, versions, columns and selectable fields."""
    assert judged(crd) == sentences


UNJUDGED: list[tuple[str, Change, str]] = [
    (
        "a format",
        {"properties": {"s": {"type": "string", "format": "email"}}},
        f"{SPEC}.properties[s].format: Forbidden: this simulator cannot check the format email",
    ),
    (
        "an embedded resource",
        {"properties": {"o": {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"x": STRING}}}},
        f"{SPEC}.properties[o].x-kubernetes-embedded-resource: Forbidden: this simulator cannot check embedded resources",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), [row[1:] for row in UNJUDGED], ids=[row[0] for row in UNJUDGED])
def test_what_cannot_be_judged_here_is_refused(change: Change, sentence: str) -> None:
    """The simulator never lets pass what it does not check."""
    assert judged(widget({}, {}, change)) == [sentence]


def test_a_crd_needs_no_status() -> None:
    """The status is written later; which version is stored first, the spec says."""
    crd = widget({}, {}, {})
    default_crd(crd)
    del crd["status"]
    assert check_crd(crd) == []


def test_what_a_crd_leaves_out_is_filled_in() -> None:
    """Names follow from the kind, and the storage version is the first stored one."""
    crd = widget({}, {}, {})
    default_crd(crd)
    assert (crd["spec"]["names"], crd["spec"]["conversion"], crd["status"]) == (
        {"plural": "widgets", "kind": "Widget", "singular": "widget", "listKind": "WidgetList"},
        {"strategy": "None"},
        {"storedVersions": ["v1"]},
    )
