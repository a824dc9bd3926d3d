"""What the parts of a query's condition are worth for one twin. Pure.

As in Azure's store there are three truths: what is said about a member that is not there is neither true nor false, and
what is not true does not match. Values of different types are unequal, and neither is the greater one.
"""

import enum
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final


class Undefined(enum.Enum):
    """The value of a member that is not there, and of what cannot be said."""

    UNDEFINED = enum.auto()


UNDEFINED: Final = Undefined.UNDEFINED

Path = tuple[str, ...]
"""The names that lead from a twin to one of its members."""

Term = Callable[[Mapping[str, Any]], Any]
"""From a twin to a value."""

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith,
    "starts_with": str.startswith,
    "endswith": str.endswith,
    "ends_with": str.endswith,
    "contains": str.__contains__,
}
COMPARISONS = frozenset({"=", "!=", "<>", *_ORDERS})
TEXT_FUNCTIONS = frozenset(_TESTS)
"""Functions of two texts."""


def constant(value: object) -> Term:
    """A literal."""
    return lambda _: value


def member(path: Path) -> Term:
    """What is at a path."""

    def term(twin: Mapping[str, Any]) -> Any:
        value: Any = twin
        for name in path:
            if not isinstance(value, dict) or name not in value:
                return UNDEFINED
            value = value[name]
        return value

    return term


def is_defined(path: Path) -> Term:
    """Whether there is anything at a path; null is something."""
    found = member(path)
    return lambda twin: found(twin) is not UNDEFINED


def compared(left: Term, sign: str, right: Term) -> Term:
    """One of COMPARISONS."""
    if sign == "=":
        return lambda twin: _equal(left(twin), right(twin))
    if sign in {"!=", "<>"}:
        return negated(lambda twin: _equal(left(twin), right(twin)))
    return lambda twin: _ordered(left(twin), right(twin), _ORDERS[sign])


def among(left: Term, items: Sequence[Term]) -> Term:
    """IN: equal to one of them."""
    return either([compared(left, "=", item) for item in items])


def text_test(name: str, left: Term, right: Term) -> Term:
    """One of TEXT_FUNCTIONS."""
    test = _TESTS[name]

    def term(twin: Mapping[str, Any]) -> Any:
        whole, part = left(twin), right(twin)
        return test(whole, part) if isinstance(whole, str) and isinstance(part, str) else UNDEFINED

    return term


def array_contains(array: Term, value: Term, *, partial: bool = False) -> Term:
    """Whether an array has this value in it; with `partial` an object need only have the members of the one looked for."""

    def term(twin: Mapping[str, Any]) -> Any:
        items, wanted = array(twin), value(twin)
        if not isinstance(items, list) or wanted is UNDEFINED:
            return UNDEFINED
        return any(_has(item, wanted) if partial else _equal(item, wanted) for item in items)

    return term


def both(terms: Sequence[Term]) -> Term:
    """AND: false wins over what cannot be said."""
    return lambda twin: _joined([term(twin) for term in terms], decisive=False)


def either(terms: Sequence[Term]) -> Term:
    """OR: true wins over what cannot be said."""
    return lambda twin: _joined([term(twin) for term in terms], decisive=True)


def negated(term: Term) -> Term:
    """NOT: what cannot be said stays so."""

    def opposite(twin: Mapping[str, Any]) -> Any:
        value = term(twin)
        return not value if isinstance(value, bool) else UNDEFINED

    return opposite


def _joined(values: Sequence[Any], *, decisive: bool) -> Any:
    if any(value is decisive for value in values):
        return decisive
    return not decisive if all(value is (not decisive) for value in values) else UNDEFINED


def _equal(left: Any, right: Any) -> Any:
    if left is UNDEFINED or right is UNDEFINED:
        return UNDEFINED
    return _kind(left) is _kind(right) and left == right


def _has(item: Any, wanted: Any) -> bool:
    if isinstance(item, dict) and isinstance(wanted, dict):
        return all(name in item and _has(item[name], value) for name, value in wanted.items())
    return bool(_equal(item, wanted))


def _ordered(left: Any, right: Any, order: Callable[[Any, Any], bool]) -> Any:
    kind = _kind(left)
    return order(left, right) if kind is _kind(right) and kind in {float, str} else UNDEFINED


def _kind(value: Any) -> type:
    """The type as JSON has it: whole numbers are numbers, and truths are not."""
    return float if is_number(value) else type(value)


def is_number(value: Any) -> bool:
    """Whether JSON calls it a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
