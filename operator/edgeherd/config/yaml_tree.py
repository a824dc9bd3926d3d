"""The one door to ruamel.yaml: a text becomes a tree of nodes that know where they stand.

A tree of our own instead of ruamel's round-trip dicts, because the daemon does not read YAML as any Python library
does (yaml-rust 0.4.0 resolves plain scalars in its own way, takes the last of duplicate keys, knows no merge keys),
and because an edit must leave every byte alone that it does not own: it needs places, not a dumper.
"""

import dataclasses
import functools
import io
import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLStreamError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from edgeherd.config import limits, yaml_text
from edgeherd.config.yaml_scalars import Scalar, is_bad, is_unreadable, resolve


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One value of the file, from character `start` up to, not including, `end`."""

    start: int
    end: int
    line: int
    """The line that it begins on, counted from 1."""
    column: int
    anchored: bool = False
    """Whether it has an anchor or a tag of its own."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScalarNode(Node):
    """A scalar; `style` is '' (plain), a quotation mark, '|' or '>'. `value` is what the daemon reads.

    `bad` says that its tag does not fit, which as a key makes the daemon lose count of keys and values; `unreadable` that it is a
    number to the parser and none to the daemon, which then refuses the file.
    """

    text: str = dataclasses.field(repr=False)
    style: str
    tag: str
    value: Scalar = dataclasses.field(repr=False)
    bad: bool
    unreadable: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MapNode(Node):
    """A mapping, its entries in the file's order, duplicates and all."""

    entries: tuple[tuple[Node, Node], ...]
    flow: bool

    def named(self, name: str) -> list[tuple[Node, Node]]:
        """All entries with that key."""
        return [(key, value) for key, value in self.entries if isinstance(key, ScalarNode) and key.value == name]

    def get(self, name: str) -> Node | None:
        """The value that counts: the daemon takes the last one."""
        found = self.named(name)
        return found[-1][1] if found else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ListNode(Node):
    """A sequence."""

    items: tuple[Node, ...]
    flow: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AliasNode(Node):
    """A reference to an anchor, with what it stands for."""

    target: Node


class SyntaxProblemError(Exception):
    """The text is not YAML. `line` counts from 1."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@functools.lru_cache(maxsize=8)
def documents(text: str) -> tuple[Node, ...]:
    """The documents of a text. An edit looks at the same few texts again and again, so they are remembered.

    Raises:
        SyntaxProblemError: the text is not YAML.
    """
    refused = yaml_text.refused(text)
    if refused is not None:
        raise SyntaxProblemError(*refused)
    palatable = yaml_text.palatable(text)
    live, lines = yaml_text.live(palatable)
    try:
        return _Builder(palatable, lines, YAML(typ="safe", pure=True).parse(live)).documents()
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        problem = exc.problem or exc.context or "not YAML"
        last = text.rstrip("\r\n").count("\n")
        line = min(lines[min(mark.line, len(lines) - 1)][0], last) + 1 if mark else None
        raise SyntaxProblemError(line, _without_values(problem)) from None
    except (YAMLStreamError, ValueError, RecursionError, AssertionError) as exc:
        raise SyntaxProblemError(None, _without_values(str(exc)) or "not YAML") from None


def _without_values(problem: str) -> str:
    """The parser's message, without anything of the file that it may quote."""
    return re.sub(r"\s+", " ", re.sub(r"['\"].*['\"]", "'...'", problem, flags=re.DOTALL)).strip()[:200]


_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)


class _Builder:
    """Builds nodes from the parser's events."""

    def __init__(self, text: str, lines: list[tuple[int, int]], events: Iterator[Any]) -> None:
        """`lines` are the number and the beginning of each line that the events speak of."""
        self._text = text
        self._lines = lines
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._depth = 0

    def documents(self) -> tuple[Node, ...]:
        found = []
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._anchors = {}
                found.append(self._node(next(self._events)))
        return tuple(found)

    def _node(self, event: Any) -> Node:
        mark = event.start_mark
        where = {"start": self._place(mark), "line": self._lines[mark.line][0] + 1, "column": mark.column}
        if isinstance(event, AliasEvent):
            target = self._anchors.get(event.anchor)
            if target is None:
                raise SyntaxProblemError(where["line"], "an alias refers to an anchor that is not there")
            return AliasNode(**where, end=self._place(event.end_mark), target=target)
        tag = event.tag or ""
        node: Node
        if isinstance(event, ScalarEvent):
            node = self._scalar(event, where, tag)
        else:
            self._depth += 1
            if self._depth > limits.MAX_DEPTH:
                raise SyntaxProblemError(where["line"], f"it is nested more than {limits.MAX_DEPTH} deep")
            is_sequence = isinstance(event, SequenceStartEvent)
            node = self._sequence(event, where, tag) if is_sequence else self._mapping(event, where, tag)
            self._depth -= 1
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _place(self, mark: Any) -> int:
        """Where a mark of the parser's is in the whole text."""
        place: int = self._lines[mark.line][1] + mark.column
        return min(place, len(self._text))

    def _scalar(self, event: Any, where: dict[str, int], tag: str) -> ScalarNode:
        style, text = event.style or "", event.value
        if style == '"':
            self._refuse_escapes(where, self._place(event.end_mark))
        value = resolve(text, plain=not style, tag=tag)
        if not style and not text and event.anchor and not tag:
            value = ""  # an anchor alone stands for an empty text, nothing at all for null
        return ScalarNode(
            **where,
            end=self._place(event.end_mark),
            anchored=bool(event.anchor or tag),
            text=text,
            style=style,
            tag=tag,
            value=value,
            bad=not style and bool(tag) and is_bad(text, tag, value),
            unreadable=not style and is_unreadable(text, tag),
        )

    def _refuse_escapes(self, where: dict[str, int], end: int) -> None:
        """Ruamel knows an escape more than yaml-rust, and takes halves of surrogate pairs for characters."""
        for escape in _ESCAPE.finditer(self._text, where["start"], end):
            code = escape[1]
            number = int(code[1:], 16) if code[1:] else 0
            if code == "/" or 0xD800 <= number < 0xE000 or number > 0x10FFFF:
                line = where["line"] + self._text.count("\n", where["start"], escape.start())
                raise SyntaxProblemError(line, "an escape in quotation marks stands for no character")

    def _sequence(self, event: SequenceStartEvent, where: dict[str, int], tag: str) -> ListNode:
        items = []
        while not isinstance(inner := next(self._events), SequenceEndEvent):
            items.append(self._node(inner))
        end = self._place(inner.end_mark) if event.flow_style else max([where["start"], *(item.end for item in items)])
        return ListNode(
            **where, end=end, anchored=bool(event.anchor or tag), items=tuple(items), flow=bool(event.flow_style)
        )

    def _mapping(self, event: MappingStartEvent, where: dict[str, int], tag: str) -> MapNode:
        entries = []
        while not isinstance(inner := next(self._events), MappingEndEvent):
            key = self._node(inner)
            entries.append((key, self._beside(key, self._node(next(self._events)))))
        # The parser ends a block mapping where the next token begins; ours ends where its last value does.
        ends = [where["start"], *(value.end for _, value in entries), *(key.end for key, _ in entries)]
        end = self._place(inner.end_mark) if event.flow_style else max(ends)
        return MapNode(
            **where, end=end, anchored=bool(event.anchor or tag), entries=tuple(entries), flow=bool(event.flow_style)
        )

    def _beside(self, key: Node, value: Node) -> Node:
        """A value that is not there stands, to the parser, where the next token is; to us right behind its key."""
        if not isinstance(value, ScalarNode) or value.text or value.style or value.anchored:
            return value
        colon = re.compile(r"[ \t]*:").match(self._text, key.end)
        place = colon.end() if colon else key.end
        return dataclasses.replace(value, start=place, end=place, line=key.line, column=key.column)


def scalars(node: Node, path: str = "") -> Iterator[tuple[str, ScalarNode]]:
    """Every scalar below a node, each with its path; aliases are not followed, what they stand for is there once."""
    match node:
        case MapNode():
            for key, value in node.entries:
                yield from scalars(value, f"{path}.{key.text}" if isinstance(key, ScalarNode) else path)
        case ListNode():
            for item in node.items:
                yield from scalars(item, path)
        case ScalarNode():
            yield path, node


def all_scalars(node: Node) -> Iterator[ScalarNode]:
    """Every scalar below a node, keys included."""
    match node:
        case MapNode():
            for key, value in node.entries:
                yield from all_scalars(key)
                yield from all_scalars(value)
        case ListNode():
            for item in node.items:
                yield from all_scalars(item)
        case ScalarNode():
            yield node


def plain(text: str) -> Any:
    """What a YAML file that is not the daemon's says, in Python's types.

    Raises:
        ValueError: it is not YAML, or more than one document.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (MarkedYAMLError, YAMLStreamError) as exc:
        mark = exc.problem_mark if isinstance(exc, MarkedYAMLError) else None
        where = f" (line {mark.line + 1})" if mark else ""
        raise ValueError(f"it is not YAML{where}") from None


def dumped(body: Any) -> str:
    """A plain value as YAML, keys in their order."""
    yaml = YAML()
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(body, stream)
    return stream.getvalue()
