"""What the daemon demands of a value's type, as serde demands it, in a small vocabulary.

A shape reads an item of the merged settings and returns what the daemon makes of it; what is wrong goes to `problems`,
each with its line. No text quotes a value, because a mangled file may have a secret anywhere.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from edgeherd.config import urls
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


def leave_unjudged(problems: Problems, line: int | None, message: str) -> None:
    """Add that something cannot be judged from the file alone."""
    problems.append(Problem(line=line, severity="unjudged", rule="unjudged", message=message))


def errors(problems: Iterable[Problem]) -> Problems:
    """What the daemon would stop at."""
    return [problem for problem in problems if problem.severity == "error"]


class Shape(Protocol):
    """A type of the daemon's settings."""

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """The value, or None after a complaint."""


def _name(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", dict: "a mapping", list: "a list"}
    return "null (nothing)" if value is None else names.get(type(value), "a date or time")


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
    """A whole number from `least` to `most`; with `infinite`, null stands for no limit."""

    most: int
    infinite: bool = False
    least: int = 0

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if item.value is None and self.infinite:
            return None
        if isinstance(item.value, bool) or not isinstance(item.value, int):
            return _wrong(item, path, "a whole number", problems)
        if not self.least <= item.value <= self.most:
            return complain(problems, item.line, "value", f"{path} must be from {self.least} to {self.most}.")
        return item.value


@dataclasses.dataclass(frozen=True, slots=True)
class Url:
    """A URI with a scheme; with `file`, one of a file on this machine. `before_2` is of the crate that reads it."""

    file: bool = False
    before_2: bool = False

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if not isinstance(item.value, str):
            return _wrong(item, path, "a string", problems)
        url = urls.parsed(item.value, before_2=self.before_2)
        if url is None:
            return complain(problems, item.line, "uri", f"{path} must be a URI with a scheme such as file:///path.")
        if self.file and (not urls.is_file(item.value) or "?" in item.value):
            return complain(problems, item.line, "uri", f"{path} must be a file on the device: file:///path.")
        return item.value.strip()


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
    """A mapping of known keys. `Opt` fields may be missing, others need a default.

    Other keys are ignored, or have to be of the shape `others`.
    """

    fields: Mapping[str, Shape]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    others: Shape | None = None
    hints: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What to do about a field that is missing."""

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        if not isinstance(item.value, dict):
            return _wrong(item, path, "a mapping", problems)
        said: dict[str, Value] = {}
        for name, shape in self.fields.items():
            where = f"{path}.{name}" if path else name
            inner = item.value.get(name)
            if inner is not None:
                said[name] = shape.read(inner, where, problems)
            elif name in self.defaults or isinstance(shape, Opt):
                said[name] = self.defaults.get(name)
            else:
                complain(problems, item.line, "missing", f"{where} is missing. {self.hints.get(name, 'Add it.')}")
        if self.others is not None:
            for name in item.value.keys() - self.fields.keys():
                said[name] = self.others.read(item.value[name], f"{path}.{shown_key(name)}", problems)
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
            message = f"{where} is missing. Add it: {' or '.join(self.variants)}."
            return complain(problems, item.line, "missing", message)
        name = Str(tuple(self.variants)).read(tag, where, problems)
        if name is None:
            return None
        return {self.tag: name, **(self.variants[name].read(item, path, problems) or {})}


@dataclasses.dataclass(frozen=True, slots=True)
class AnyOf:
    """One of several forms: the first that fits.

    Each has the key that shows that it is meant. The daemon names none of them; we say what is wrong with the one meant.
    """

    forms: tuple[tuple[str, Shape], ...]

    def read(self, item: Item, path: str, problems: Problems) -> Value:
        """See `Shape`."""
        meant: Problems = []
        for name, shape in self.forms:
            tried: Problems = []
            said = shape.read(item, path, tried)
            if not errors(tried):
                problems += tried
                return said
            if not meant and isinstance(item.value, dict) and name in item.value:
                meant = tried
        if meant:
            problems += meant
        else:
            names = " or ".join(name for name, _ in self.forms)
            complain(problems, item.line, "variant", f"{path} must be a table with {names}.")
        return None
