"""Why an object is refused: one cause for each broken rule, worded as kube-apiserver words it."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}
_OMITTED: Final = object()


class Raw(str):
    """A refused value that is rendered already."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One broken rule, as it stands in `details.causes` of the refusal."""

    reason: str
    field: str
    message: str


def quote(text: str) -> str:
    """A string in double quotes as Go's `%q` prints it."""
    return f'"{"".join(map(_escape, text))}"'


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def number(value: float) -> str:
    """A number as Go's `%v` prints it."""
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def compact(value: Any) -> str:
    """JSON as Go's encoder writes it: no blanks, keys in order, and HTML's three characters escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def shown(value: Any) -> str:
    """A refused value as a message shows it."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return compact(value)
    return number(value)


def invalid(field: str, value: Any, why: str, *, reason: str = "FieldValueInvalid") -> Cause:
    """The value breaks a rule."""
    return Cause(reason=reason, field=field, message=_words("Invalid value", value, why))


def invalid_object(field: str, why: str) -> Cause:
    """An object or a list breaks a rule; it is too big to be shown."""
    return Cause(reason="FieldValueInvalid", field=field, message=_words("Invalid value", _OMITTED, why))


def wrong_type(field: str, value: Any, why: str) -> Cause:
    """The value is of another type than the schema says."""
    return invalid(field, value, why, reason="FieldValueTypeInvalid")


def required(field: str, why: str = "") -> Cause:
    """The field is missing."""
    return Cause(reason="FieldValueRequired", field=field, message=_words("Required value", _OMITTED, why))


def forbidden(field: str, why: str) -> Cause:
    """The field may not be there, or may not be changed."""
    return Cause(reason="FieldValueForbidden", field=field, message=_words("Forbidden", _OMITTED, why))


def duplicate(field: str, value: Any) -> Cause:
    """The value, or the key of the item, is there already."""
    return Cause(reason="FieldValueDuplicate", field=field, message=_words("Duplicate value", value, ""))


def duplicate_object(field: str) -> Cause:
    """An object or a list is there already; it is too big to be shown."""
    return Cause(reason="FieldValueDuplicate", field=field, message="Duplicate value")


def unsupported(field: str, value: Any, supported: Iterable[Any]) -> Cause:
    """The value is none of those that the schema lists."""
    words = ", ".join(quote(item) if isinstance(item, str) else quote(compact(item)) for item in supported)
    message = _words("Unsupported value", value, f"supported values: {words}")
    return Cause(reason="FieldValueNotSupported", field=field, message=message)


def too_long(field: str, limit: int) -> Cause:
    """The string has too many characters; the server says bytes."""
    return Cause(reason="FieldValueTooLong", field=field, message=f"Too long: may not be more than {limit} bytes")


def too_many(field: str, size: int, limit: int) -> Cause:
    """The list or object has too many items."""
    return Cause(reason="FieldValueTooMany", field=field, message=f"Too many: {size}: must have at most {limit} items")


def _words(what: str, value: Any, why: str) -> str:
    head = what if value is _OMITTED else f"{what}: {shown(value)}"
    return f"{head}: {why}" if why else head
