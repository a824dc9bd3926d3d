"""What the daemon demands of a value's type, as serde demands it, in a small vocabulary.

A shape reads an item of the merged settings and returns what the daemon makes of it; what is wrong goes to `problems`,
each with its line. No text quotes a value, because a mangled file may have a secret anywhere.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from edgeherd.config.masking import shown_key
from edgeherd.config.values import Problem

Value = Any
"""What came out of a shape: JSON-like, comparable, and the same for all files that mean the same."""


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """A value with the line that it stands on; None for a default of the daemon."""

    value: Any = dataclasses.field(repr=False)
    """A scalar, a list of items, or a dict of items."""
    line: int | None = None


Problems = list[Problem]


def complain(problems: Problems, line: int | None, rule: str, message: str) -> None:
    """Add an error."""
    problems.append(Problem(line=line, severity="error", rule=rule, message=message))


class Shape(Protocol):
    """A type of the daemon's settings."""

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """The value, or None after a complaint."""


def _name(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", dict: "a mapping", list: "a list"}
    return names.get(type(value), "null (nothing)")


def _wrong(item: Item, path: str, wanted: str, problems: Problems) -> None:
    message = f"{path} must be {wanted}, and is {_name(item.value)}."
    if wanted == "a string" and not isinstance(item.value, dict | list | None):
        message += " Put it in quotation marks."
    complain(problems, item.line, "type", message)


@dataclasses.dataclass(frozen=True, slots=True)
class Str:
    """A string; `choices`, if there are any, are all that is allowed."""

    choices: tuple[str, ...] = ()

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if not isinstance(item.value, str):
            return _wrong(item, path, "a string", problems)
        if self.choices and item.value not in self.choices:
            return complain(problems, item.line, "value", f"{path} must be one of {', '.join(self.choices)}.")
        return item.value


@dataclasses.dataclass(frozen=True, slots=True)
class Bool:
    """A bare lower-case `true` or `false`."""

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if isinstance(item.value, bool):
            return item.value
        message = f"{path} must be a bare lower-case true or false, without quotation marks."
        return complain(problems, item.line, "type", message)


@dataclasses.dataclass(frozen=True, slots=True)
class Int:
    """A whole number up to `most`; with `infinite`, null stands for no limit."""

    most: int
    infinite: bool = False

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if item.value is None and self.infinite:
            return None
        if isinstance(item.value, bool) or not isinstance(item.value, int):
            return _wrong(item, path, "a whole number", problems)
        if not 0 <= item.value <= self.most:
            return complain(problems, item.line, "value", f"{path} must be from 0 to {self.most}.")
        return item.value


@dataclasses.dataclass(frozen=True, slots=True)
class Url:
    """A URI with a scheme; with `file`, one of a file on this machine."""

    file: bool = False

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if not isinstance(item.value, str):
            return _wrong(item, path, "a string", problems)
        text = item.value.strip("".join(map(chr, range(0x21))))
        if not re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:", text) or not _has_host(text):
            return complain(problems, item.line, "uri", f"{path} must be a URI with a scheme such as file:///path.")
        if self.file and not _is_local_file(text):
            return complain(problems, item.line, "uri", f"{path} must be a file on the device: file:///path.")
        return text


def _has_host(text: str) -> bool:
    """Web addresses need a host and a port that is a number (url crate: EmptyHost, InvalidPort)."""
    scheme, _, rest = text.partition(":")
    if scheme.lower() not in {"http", "https", "ws", "wss", "ftp"}:
        return True
    host = re.split(r"[/\\?#]", rest.lstrip("/\\"), maxsplit=1)[0].rpartition("@")[2]
    name, _, port = host.partition(":") if not host.startswith("[") else (host, "", "")
    if not name or re.search(r"[\0\t\n\r #%/:?@\\\]]", name):
        return False
    return not port or (port.isascii() and port.isdigit() and int(port) < 2**16)


def _is_local_file(text: str) -> bool:
    """edgelet-core/src/settings.rs, `is_supported_uri`."""
    parts = urlsplit(text)
    return parts.scheme == "file" and parts.netloc.lower() in {"", "localhost"} and "?" not in text


@dataclasses.dataclass(frozen=True, slots=True)
class Opt:
    """Null, or the shape."""

    shape: Shape

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        return None if item.value is None else self.shape.read(item, path, problems)


@dataclasses.dataclass(frozen=True, slots=True)
class Anything:
    """Whatever it is; only its meaning counts."""

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        match item.value:
            case dict():
                return {key: self.read(inner, path, problems) for key, inner in item.value.items()}
            case list():
                return [self.read(inner, path, problems) for inner in item.value]
            case _:
                return item.value


@dataclasses.dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping of any keys to one shape."""

    shape: Shape

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if not isinstance(item.value, dict):
            return _wrong(item, path, "a mapping", problems)
        return {key: self.shape.read(inner, f"{path}.{shown_key(key)}", problems) for key, inner in item.value.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class ListOf:
    """A sequence of one shape."""

    shape: Shape

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if not isinstance(item.value, list):
            return _wrong(item, path, "a list", problems)
        return [self.shape.read(inner, f"{path}[{n}]", problems) for n, inner in enumerate(item.value)]


@dataclasses.dataclass(frozen=True, slots=True)
class Struct:
    """A mapping of known keys; others are ignored. `Opt` fields may be missing, others need a default."""

    fields: Mapping[str, Shape]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if not isinstance(item.value, dict):
            return _wrong(item, path, "a mapping", problems)
        said: dict[str, Value] = {}
        for name, shape in self.fields.items():
            where = f"{path}.{name}".lstrip(".")
            inner = item.value.get(name)
            if inner is not None:
                said[name] = shape.read(inner, where, problems)
            elif name in self.defaults or isinstance(shape, Opt):
                said[name] = self.defaults.get(name)
            else:
                complain(problems, item.line, "missing", f"{where} is missing.")
        return said


@dataclasses.dataclass(frozen=True, slots=True)
class Tagged:
    """A mapping whose key `tag` says which of the variants it is."""

    tag: str
    variants: Mapping[str, Shape]

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if not isinstance(item.value, dict):
            return _wrong(item, path, "a mapping", problems)
        tag = item.value.get(self.tag)
        where = f"{path}.{self.tag}"
        if tag is None:
            return complain(problems, item.line, "missing", f"{where} is missing.")
        name = Str(tuple(self.variants)).read(tag, where, problems)
        if name is None:
            return None
        return {self.tag: name, **(self.variants[name].read(item, path, problems) or {})}
