"""The CEL rules of a schema (`x-kubernetes-validations`), compiled once.

Both CEL libraries for Python were tried on the rules of our CRDs. `cel` (common-expression-language, the Rust
implementation) runs each of them, compiles once, takes functions from Python, treats a missing key, `||` past an error
and `has()` as the API server does, and needs microseconds for a rule. `celpy` (cel-python) runs them as well, but walks
its syntax tree in Python, about a hundred times slower; every status write runs all rules. Hence `cel`. It has no types:
that a rule reads a field which is not in the schema shows only when the rule runs, so `crd_checks` looks for that.

What Kubernetes adds to CEL and `cel` lacks is given to it here, as far as `FUNCTIONS` goes. A rule that calls anything
else is refused together with its CRD.
"""

import ipaddress
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import cel
from cel.stdlib import add_stdlib_to_context

from edgeherd_sim.kube import causes
from edgeherd_sim.kube.causes import Cause
from edgeherd_sim.kube.formats import FORMATS
from edgeherd_sim.kube.keywords import compiled

Schema = Mapping[str, Any]
_MESSAGE_LIMIT: Final = 5 * 1024
_RESERVED: Final = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


def _is_ip(text: str) -> bool:
    """Kubernetes' `isIP`: no zone, no IPv4 address in IPv6 clothes."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return isinstance(found, ipaddress.IPv4Address) or (found.scope_id is None and found.ipv4_mapped is None)


def _is_cidr(text: str) -> bool:
    """Kubernetes' `isCIDR`: an address and the number of its leading bits."""
    address, slash, bits = text.partition("/")
    if not slash or not _is_ip(address) or not (bits.isascii() and bits.isdigit()) or bits != str(int(bits)):
        return False
    return int(bits) <= ipaddress.ip_address(address).max_prefixlen


def _is_url(text: str) -> bool:
    """Kubernetes' `isURL`: absolute, or a path from the root."""
    try:
        found = urlsplit(text)
    except ValueError:
        return False
    return text.startswith("/") or bool(found.scheme and (found.netloc or found.path.startswith("/")))


def _find(text: str, pattern: str) -> str:
    found = compiled(pattern).search(text)
    return found.group(0) if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match.group(0) for match in compiled(pattern).finditer(text)]
    return found if limit < 0 else found[:limit]


def _is_sorted(items: list[Any]) -> bool:
    return all(one <= other for one, other in itertools.pairwise(items))


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "isIP": _is_ip,
    "isCIDR": _is_cidr,
    "isURL": _is_url,
    "ip.isCanonical": lambda text: _is_ip(text) and str(ipaddress.ip_address(text)) == text,
    "find": _find,
    "findAll": _find_all,
    "isSorted": _is_sorted,
}
"""Kubernetes' own functions. The strings, lists, math and sets extensions come from `cel` itself."""


def known_functions() -> frozenset[str]:
    """Every function that a rule may call by name, operators aside."""
    return frozenset(_context({}).functions) | _NATIVE


_NATIVE: Final = frozenset(
    [
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "bool",
        "timestamp",
        "duration",
        "dyn",
        "type",
        "has",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
        "all",
        "exists",
        "exists_one",
        "map",
        "filter",
        "optional.none",
        "optional.of",
        "hasValue",
        "value",
        "orValue",
        "or",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A broken rule. `raised`: the rule could not be evaluated, which no ratcheting forgives."""

    cause: Cause
    raised: bool


class Rule:
    """One compiled rule."""

    def __init__(self, rule: Mapping[str, Any], schema: Schema) -> None:
        self.source: str = rule["rule"].strip()
        self.program = cel.compile(self.source)
        self.message: str = rule.get("message", "").strip()
        expression = rule.get("messageExpression", "")
        self.message_program = cel.compile(expression) if expression else None
        self.field_path: str = rule.get("fieldPath", "")
        self.reason: str = rule.get("reason", "")
        self.optional_old: bool = bool(rule.get("optionalOldSelf"))
        self.uses_old: bool = "oldSelf" in self.program.variables()
        self.type: str = schema.get("type", "")

    def check(self, field: str, value: Any, context: "Context") -> Verdict | None:
        """Evaluate the rule on a value of the field."""
        if self.uses_old and not context.has_old and not self.optional_old:
            return None
        try:
            holds = self.program.execute(context.of(optional_old=self.optional_old))
        except Exception as exc:  # noqa: BLE001 - the library raises what it likes; any of it is a verdict
            return Verdict(cause=causes.invalid(field, self.type, self._why(exc)), raised=True)
        if holds is True:
            return None
        return Verdict(cause=self._cause(field, value, context), raised=False)

    def _why(self, exc: Exception) -> str:
        about = self.message or self.source
        match exc:
            case KeyError():
                return f"no such key: {exc.args[0]} evaluating rule: {about}"
            case ZeroDivisionError():
                return f"division by zero evaluating rule: {about}"
            case OverflowError():
                return f"integer overflow evaluating rule: {about}"
            case IndexError():
                return f"{exc} evaluating rule: {about}"
            case _:
                return (
                    "'no such overload': call arguments did not match a supported operator, function or macro signature "
                    f"for rule: {about}"
                )

    def _cause(self, field: str, value: Any, context: "Context") -> Cause:
        field = f"{field}{self.field_path}".removeprefix(".")
        why = self._expressed(context) or self.message or f"failed rule: {self.source}"
        if self.reason == "FieldValueForbidden":
            return causes.forbidden(field, why)
        if self.reason == "FieldValueRequired":
            return causes.required(field, why)
        whole = self.type in {"object", "array"}
        if self.reason == "FieldValueDuplicate":
            return causes.duplicate_object(field) if whole else causes.duplicate(field, value)
        return causes.invalid_object(field, why) if whole else causes.invalid(field, value, why)

    def _expressed(self, context: "Context") -> str:
        """What `messageExpression` says; nothing when it fails, as the server ignores it then."""
        if self.message_program is None:
            return ""
        try:
            text = self.message_program.execute(context.of(optional_old=self.optional_old))
        except Exception:  # noqa: BLE001 - see check()
            return ""
        text = text.strip() if isinstance(text, str) else ""
        return "" if "\n" in text or len(text.encode()) > _MESSAGE_LIMIT else text


class Context:
    """`self` and `oldSelf` of one place in one object, for all rules of that place."""

    def __init__(self, schema: Schema, value: Any, old: Any, *, root: bool) -> None:
        self.has_old = old is not None
        self._self = visible(value, schema, root=root)
        self._old = visible(old, schema, root=root) if self.has_old else None
        self._made: dict[bool, cel.Context] = {}

    def of(self, *, optional_old: bool) -> cel.Context:
        """The library's context; `oldSelf` is an optional for the rules that ask for one."""
        if optional_old not in self._made:
            names: dict[str, Any] = {"self": self._self}
            if optional_old:
                names["oldSelf"] = cel.OptionalValue.of(self._old) if self.has_old else cel.OptionalValue.none()
            elif self.has_old:
                names["oldSelf"] = self._old
            self._made[optional_old] = _context(names)
        return self._made[optional_old]


def _context(names: dict[str, Any]) -> cel.Context:
    context = cel.Context(variables=names)
    add_stdlib_to_context(context)
    for name, function in FUNCTIONS.items():
        context.add_function(name, function)
    return context


def escaped(name: str) -> str | None:
    """A field's name in CEL; None when CEL cannot write it."""
    if name in _RESERVED:
        return f"__{name}__"
    text = name.replace("__", "__underscores__")
    for char, word in ((".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")):
        text = text.replace(char, word)
    return text if text.isascii() and text.isidentifier() else None


def visible(value: Any, schema: Schema, *, root: bool = False) -> Any:
    """A value as CEL sees it: names escaped, times as times, and of the metadata only the names."""
    if isinstance(value, dict):
        properties = schema.get("properties")
        if properties is None:
            inner = schema.get("additionalProperties")
            inner = inner if isinstance(inner, Mapping) else {}
            return {key: visible(item, inner) for key, item in value.items()}
        seen = _fields(value, properties)
        if root:
            seen |= {key: value[key] for key in ("apiVersion", "kind") if key in value}
            found = value.get("metadata") or {}
            seen["metadata"] = {key: found[key] for key in ("name", "generateName") if key in found}
        return seen
    if isinstance(value, list):
        items = schema.get("items", {})
        return [visible(item, items) for item in value]
    if isinstance(value, str) and schema.get("format") in {"date-time", "date"} and FORMATS["datetime"](value):
        return cel.evaluate(f"timestamp({causes.quote(value)})")
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _fields(value: dict[str, Any], properties: Mapping[str, Schema]) -> dict[str, Any]:
    seen = {}
    for key, schema in properties.items():
        name = escaped(key)
        if name is not None and key in value:
            seen[name] = visible(value[key], schema)
    return seen
