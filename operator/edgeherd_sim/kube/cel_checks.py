"""CEL rules judged without running them: does each name and field exist, do the types fit, is the result a bool.

The CEL library has no types, so this walks the expression a second time with the schema's types. Where it cannot tell,
a type is `dyn` and fits everywhere. Costs are an estimate in the manner of the API server's: sizes that the schema does
not limit count as what one request can carry.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import cel
import re2

from edgeherd_sim.kube import cel_syntax
from edgeherd_sim.kube.cel_rules import escaped, known_functions
from edgeherd_sim.kube.cel_syntax import Node
from edgeherd_sim.kube.keywords import compiled

Schema = Mapping[str, Any]

_REQUEST: Final = 3 * 1024 * 1024
_BUDGET: Final = 10_000_000
_TOTAL_BUDGET: Final = 100_000_000
_NAMED: Final = 4
_ADVICE: Final = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A type of CEL, as far as the checks care."""

    name: str
    size: int = 1
    """How many characters, items or entries there can be."""
    inner: "Type | None" = None
    fields: Mapping[str, "Type"] = field(default_factory=dict)


DYN: Final = Type(name="dyn")
BOOL: Final = Type(name="bool")
INT: Final = Type(name="int")
DOUBLE: Final = Type(name="double")
STRING: Final = Type(name="string", size=_REQUEST)
_KEY: Final = Type(name="string", size=0)
"""The key of a map, whose length the server does not count."""
_NUMBERS: Final = frozenset({"int", "uint", "double"})
_SIMPLE: Final = _NUMBERS | {"bool", "string", "bytes", "timestamp", "duration"}
_RESULTS: Final[Mapping[str, Type]] = (
    dict.fromkeys(
        [
            "contains",
            "startsWith",
            "endsWith",
            "matches",
            "isIP",
            "isCIDR",
            "isURL",
            "isSorted",
            "has",
            "hasValue",
            "all",
            "exists",
            "exists_one",
            "bool",
        ],
        BOOL,
    )
    | dict.fromkeys(["size", "int", "indexOf", "lastIndexOf"], INT)
    | dict.fromkeys(
        ["string", "lowerAscii", "upperAscii", "trim", "replace", "substring", "charAt", "join", "find"], STRING
    )
    | {"double": DOUBLE}
)
_BUILT_IN: Final = _SIMPLE | {"list", "map", "type", "null_type", "optional", "ip", "math", "sets", "base64"}
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})


class _ExpressionError(Exception):
    """The expression is wrong at a place."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleProblem:
    """What was found out about an expression."""

    problem: str = ""
    """Why it does not compile; empty when it does."""
    wrong_result: bool = False
    """It compiles, and yields something else than was wanted."""
    uses_old: bool = False
    cost: int = 0

    @property
    def too_costly(self) -> str:
        """Why it is beyond the budget of one rule; empty when it is not."""
        return over_budget("estimated rule cost", self.cost, _BUDGET) if self.cost > _BUDGET else ""


def over_budget(what: str, cost: int, budget: int = _TOTAL_BUDGET) -> str:
    """By how much a cost is too high; empty when it is not."""
    if cost <= budget:
        return ""
    factor = cost / budget
    by = "more than 100x" if factor > 100 else f"{factor:.1f}x"
    return f"{what} exceeds budget by factor of {by} {_ADVICE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where a rule stands: what `self` is there, and how often the rule may run for one object."""

    type: Type | None
    times: int
    costs: list[tuple[int, str]] = field(default_factory=list)
    """What the rules of the whole schema cost, and where they stand; one list for all places."""

    @staticmethod
    def root(schema: Schema) -> "Surroundings":
        """Where the rules of the whole object stand."""
        return Surroundings(type=type_of(schema, root=True), times=1)

    def below(self, inner: Schema, place: str) -> "Surroundings":
        """Where the rules of a schema right below stand."""
        many = place in {"items", "additionalProperties"} and self.type is not None
        times = self.times * self.type.size if many and self.type else self.times
        return Surroundings(type=type_of(inner), times=times, costs=self.costs)

    def total_problems(self, field: str) -> Iterator[tuple[str, str]]:
        """Fields and sentences when all rules together are beyond the budget."""
        why = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        if too_much := over_budget(why, sum(cost for cost, _ in self.costs)):
            for _, where in sorted(self.costs, reverse=True)[:_NAMED]:
                yield where, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            yield field, too_much


def type_of(schema: Schema, *, root: bool = False) -> Type | None:
    """What a value of the schema is in CEL; None when rules cannot see it."""
    if schema.get("x-kubernetes-int-or-string"):
        return DYN
    kind = schema.get("type")
    if kind == "array":
        inner = type_of(schema.get("items") or {})
        return inner and Type(name="list", size=schema.get("maxItems", _most(inner)), inner=inner)
    if kind == "object":
        return _type_of_object(schema, root=root)
    if kind == "string":
        return _type_of_string(schema)
    return {"integer": INT, "number": DOUBLE, "boolean": BOOL}.get(kind or "")


def _type_of_string(schema: Schema) -> Type:
    known = {"date-time": "timestamp", "date": "timestamp", "duration": "duration", "byte": "bytes"}
    size = 4 * schema["maxLength"] if "maxLength" in schema else _REQUEST
    if "enum" in schema:
        size = max((len(str(item)) for item in schema["enum"]), default=1)
    return Type(name=known.get(schema.get("format", ""), "string"), size=size)


def _type_of_object(schema: Schema, *, root: bool) -> Type | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        inner = type_of(additional)
        return inner and Type(name="map", size=schema.get("maxProperties", _most(inner)), inner=inner)
    fields = {}
    for name, item in (schema.get("properties") or {}).items():
        known, seen = escaped(name), type_of(item)
        if known and seen:
            fields[known] = seen
    if root or schema.get("x-kubernetes-embedded-resource"):
        name = Type(name="string", size=253)
        metadata = Type(name="object", fields={"name": name, "generateName": name})
        fields |= {"apiVersion": STRING, "kind": STRING, "metadata": metadata}
    return Type(name="object", fields=fields)


def _most(inner: Type) -> int:
    """How many items one request can carry."""
    smallest = {"string": 2, "bool": 4, "list": 2, "map": 2, "object": 2, "timestamp": 22}.get(inner.name, 1)
    return _REQUEST // (smallest + 1)


def check_expression(text: str, around: Surroundings, *, wanted: str) -> RuleProblem:
    """Judge an expression whose result shall be of a type."""
    try:
        program = cel.compile(text)
    except ValueError as exc:
        message = str(exc)
        return RuleProblem(problem=message[message.find("ERROR:") :])
    uses_old = "oldSelf" in program.variables()
    try:
        checker = _Checker(around.type or DYN)
        found, cost = checker.check(cel_syntax.parse(text), {})
    except _ExpressionError as exc:
        return RuleProblem(problem=_pointed(text, exc), uses_old=uses_old)
    if found.name not in {wanted, "dyn"}:
        return RuleProblem(problem="result", wrong_result=True, uses_old=uses_old)
    return RuleProblem(uses_old=uses_old, cost=int(cost * around.times))


def _pointed(text: str, exc: _ExpressionError) -> str:
    """The error with the line that it stands in, as the server prints it."""
    before = text[: exc.at]
    line, column = before.count("\n") + 1, exc.at - (before.rfind("\n") + 1)
    shown = text.split("\n")[line - 1]
    return f"ERROR: <input>:{line}:{column + 1}: {exc.message}\n | {shown}\n | {'.' * column}^"


class _Checker:
    """One walk through an expression: the type and the cost of each part."""

    def __init__(self, type_of_self: Type) -> None:
        self._self = type_of_self
        self._known = known_functions()

    def check(self, node: Node, names: Mapping[str, Type]) -> tuple[Type, float]:
        """The type of the node and what it costs; `names` are the variables of macros around it."""
        return {
            "const": self._constant,
            "ident": self._name,
            "select": self._select,
            "index": self._index,
            "list": self._list,
            "map": self._map,
            "conditional": self._conditional,
            "operator": self._operator,
            "call": self._call,
        }[node.kind](node, names)

    def _constant(self, node: Node, _: Mapping[str, Type]) -> tuple[Type, float]:
        if isinstance(node.value, str):
            return Type(name="string", size=len(node.value)), 0
        return {bool: BOOL, int: INT, float: DOUBLE, bytes: Type(name="bytes")}.get(type(node.value), DYN), 0

    def _name(self, node: Node, names: Mapping[str, Type]) -> tuple[Type, float]:
        if node.value in names:
            return names[node.value], 1
        if node.value in {"self", "oldSelf"}:
            return self._self, 1
        if node.value in _BUILT_IN:
            return DYN, 1
        raise _ExpressionError(node.at, f"undeclared reference to '{node.value}' (in container '')")

    def _select(self, node: Node, names: Mapping[str, Type]) -> tuple[Type, float]:
        found, cost = self.check(node.parts[0], names)
        return self._field(found, node.value, node.at), cost + 1

    def _list(self, node: Node, names: Mapping[str, Type]) -> tuple[Type, float]:
        parts = [self.check(part, names) for part in node.parts]
        inner = parts[0][0] if parts else DYN
        return Type(name="list", size=len(parts), inner=inner), 10 + sum(cost for _, cost in parts)

    def _map(self, node: Node, names: Mapping[str, Type]) -> tuple[Type, float]:
        cost = 30 + sum(self.check(part, names)[1] for part in node.parts)
        return Type(name="map", size=len(node.parts) // 2, inner=DYN), cost

    def _field(self, found: Type, name: str, at: int) -> Type:
        if found.name == "object":
            if name not in found.fields:
                raise _ExpressionError(at, f"undefined field '{name}'")
            return found.fields[name]
        if found.name == "map":
            return found.inner or DYN
        if found.name == "dyn":
            return DYN
        raise _ExpressionError(at, f"type '{_shown(found)}' does not support field selection")

    def _index(self, node: Node, names: Mapping[str, Type]) -> tuple[Type, float]:
        found, cost = self.check(node.parts[0], names)
        _, more = self.check(node.parts[1], names)
        return found.inner or DYN, cost + more + 1

    def _conditional(self, node: Node, names: Mapping[str, Type]) -> tuple[Type, float]:
        (test, cost), (one, first), (two, second) = (self.check(part, names) for part in node.parts)
        if test.name not in {"bool", "dyn"} or not _alike(one, two):
            shown = ", ".join(map(_shown, (test, one, two)))
            raise _ExpressionError(node.at, f"found no matching overload for '_?_:_' applied to '({shown})'")
        return (one if one.name != "dyn" else two), cost + max(first, second) + 1

    def _operator(self, node: Node, names: Mapping[str, Type]) -> tuple[Type, float]:
        parts = [self.check(part, names) for part in node.parts]
        types, cost = [found for found, _ in parts], sum(part for _, part in parts)
        result = _result(node.value, types)
        if result is None:
            symbol = f"{node.value}_" if len(types) == 1 else f"_{node.value}_"
            symbol = "@in" if node.value == "in" else symbol
            shown = ", ".join(map(_shown, types))
            raise _ExpressionError(node.at, f"found no matching overload for '{symbol}' applied to '({shown})'")
        return result, cost + _operator_cost(node.value, types)

    def _call(self, node: Node, names: Mapping[str, Type]) -> tuple[Type, float]:
        name, target, arguments = node.value, node.target, node.parts
        if name == "has":
            found, cost = self.check(arguments[0].parts[0], names)
            return self._field(found, arguments[0].value, node.at) and BOOL, cost + 1
        if target is not None and name in _MACROS and len(arguments) >= 2:
            return self._macro(node, names)
        dotted = f"{target.value}.{name}" if target is not None and target.kind == "ident" else ""
        if name not in self._known and dotted not in self._known:
            raise _ExpressionError(node.at, f"undeclared reference to '{name}' (in container '')")
        parts = [self.check(part, names) for part in ([target] if target and dotted not in self._known else [])]
        parts += [self.check(part, names) for part in arguments]
        types, cost = [found for found, _ in parts], sum(part for _, part in parts)
        if name == "matches":
            cost += self._matches(arguments[-1], types)
        elif name != "size":
            cost += 1 + sum(found.size for found in types if found.name in {"string", "list", "map"}) * 0.1
        else:
            cost += 1
        return _RESULTS.get(name, DYN), cost

    def _matches(self, pattern: Node, types: list[Type]) -> float:
        if types[0].name not in {"string", "dyn"}:
            shown = ", ".join(map(_shown, types))
            raise _ExpressionError(pattern.at, f"found no matching overload for 'matches' applied to '{shown}'")
        length = types[-1].size
        cost = math.ceil(1 + types[0].size * 0.1) * math.ceil(length * 0.25)
        if pattern.kind != "const":
            return cost
        try:
            compiled(pattern.value)
        except re2.error as exc:
            raise _ExpressionError(pattern.at, "invalid matches argument") from exc
        return cost

    def _macro(self, node: Node, names: Mapping[str, Type]) -> tuple[Type, float]:
        over, cost = self.check(node.target or node, names)
        if over.name not in {"list", "map", "dyn"}:
            raise _ExpressionError(
                (node.target or node).at,
                f"expression of type '{_shown(over)}' cannot be range of a comprehension (must be list, map, or dynamic)",
            )
        item = (over.inner or DYN) if over.name == "list" else DYN if over.name == "dyn" else _KEY
        body, each = self.check(node.parts[-1], {**names, node.parts[0].value: item})
        size = over.size if over.name != "dyn" else _REQUEST
        cost += size * (each + 3) + 1
        if node.value == "map":
            return Type(name="list", size=size, inner=body), cost
        return (over if node.value == "filter" else BOOL), cost


def _shown(found: Type) -> str:
    if found.name == "list":
        return f"list({_shown(found.inner or DYN)})"
    if found.name == "map":
        return f"map(string, {_shown(found.inner or DYN)})"
    return found.name


def _alike(one: Type, two: Type) -> bool:
    """Whether values of both types can be compared; what is not simple is left to the run."""
    if "dyn" in {one.name, two.name}:
        return True
    if one.name in {"list", "map"} and one.name == two.name:
        return _alike(one.inner or DYN, two.inner or DYN)
    return one.name == two.name


_ARITHMETIC: Final[Mapping[str, frozenset[str]]] = {
    "+": _NUMBERS | {"string", "bytes", "list", "duration", "timestamp"},
    "-": _NUMBERS | {"duration", "timestamp"},
    "*": _NUMBERS,
    "/": _NUMBERS,
    "%": frozenset({"int", "uint"}),
}


def _result(operator: str, types: list[Type]) -> Type | None:
    """What an operator yields; None when it does not take such operands."""
    if len(types) == 1:
        fitting = {"bool", "dyn"} if operator == "!" else {"int", "double", "dyn"}
        return types[0] if types[0].name in fitting else None
    if operator in _ARITHMETIC:
        return _calculated(operator, *types)
    return BOOL if _comparable(operator, *types) else None


def _comparable(operator: str, one: Type, two: Type) -> bool:
    """Whether an operator that yields a bool takes the operands."""
    known = {one.name, two.name} - {"dyn"}
    if operator in {"&&", "||"}:
        return known <= {"bool"}
    if operator in {"==", "!="}:
        return _alike(one, two)
    if operator == "in":
        key = _KEY if two.name == "map" else two.inner or DYN
        return two.name in {"list", "map", "dyn"} and _alike(one, key)
    return known <= _SIMPLE and (len(known) < 2 or known <= _NUMBERS)


def _calculated(operator: str, one: Type, two: Type) -> Type | None:
    """What arithmetic yields; numbers of two types do not mix."""
    known = {one.name, two.name} - {"dyn"}
    if not known <= _ARITHMETIC[operator]:
        return None
    if len(known) == 2:
        return Type(name="timestamp") if known == {"timestamp", "duration"} else None
    grown = one.size + two.size if operator == "+" else 1
    return Type(name=next(iter(known), "dyn"), size=grown, inner=one.inner or two.inner)


def _operator_cost(operator: str, types: list[Type]) -> float:
    if operator in {"&&", "||", "!"}:
        return 0 if operator != "!" else 1
    sizes = [found.size for found in types]
    if operator == "in":
        return sizes[-1] if types[-1].name == "list" else 1
    if operator == "+" and types[0].name in {"string", "bytes"}:
        return sum(sizes) * 0.1
    return max(1, min(sizes) * 0.1)
