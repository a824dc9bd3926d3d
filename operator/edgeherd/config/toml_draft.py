"""A config.toml under edit: changes are made in its text, only where they have to be.

What is added goes where its siblings are, in their form: below a header, as a key with dots, or between braces. Never does a
header come to stand above keys that are not its own.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from edgeherd.config import meaning, removal, scrubbing
from edgeherd.config.comments import commented
from edgeherd.config.scrubbing import Placeholders
from edgeherd.config.toml_grammar import leaves, parsed
from edgeherd.config.toml_statements import (
    Path,
    Statement,
    TomlSyntaxError,
    all_inline_pairs,
    inline_pairs,
    rescanned,
    scanned,
)
from edgeherd.config.toml_template import Commented, uncommented
from edgeherd.config.values import Version, refuse

Leaf = str | bool

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def rendered(value: Leaf) -> str:
    """A value as every TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def key_text(path: Sequence[str]) -> str:
    """A key as TOML writes it, its parts in quotation marks where they need them."""
    return ".".join(name if _BARE_KEY.fullmatch(name) else rendered(name) for name in path)


def pair_text(path: Sequence[str], value: Leaf) -> str:
    """A key with its value."""
    return f"{key_text(path)} = {rendered(value)}"


class TomlDraft:
    """A text, taken apart anew after each change."""

    def __init__(self, text: str, version: Version) -> None:
        self.text = text
        self.version = version
        self.eol = "\r\n" if "\r\n" in text else "\n"
        self._statements: list[Statement] | None = None
        self._is_whole = False
        self._data: dict[str, Any] | None = None

    @property
    def statements(self) -> list[Statement]:
        """Headers and pairs, in their order."""
        if self._statements is None:
            self._statements, self._is_whole = scanned(self.text)
        return self._statements

    @property
    def data(self) -> dict[str, Any]:
        """What the text says. Not to be changed: it is read again only when the text was.

        Raises:
            TomlSyntaxError: it is not TOML.
        """
        if self._data is None:
            # Most of a template is comments: what the file says, its statements say alone. Who reads the edit back reads all.
            alone = [self.text[s.start : s.end] for s in self.statements]
            self._data = parsed("\n".join(alone) if self._is_whole else self.text, self.version)
        return self._data

    def splice(self, start: int, end: int, new: str) -> None:
        """Replace the characters from `start` up to `end`."""
        if self.text[start:end] != new:
            self.become(self.text[:start] + new + self.text[end:])

    def become(self, text: str) -> None:
        """Replace the whole text."""
        if text != self.text:
            known = self._statements if self._is_whole else None
            self._statements = rescanned(known, self.text, text) if known is not None else None
            self.text, self._data = text, None

    def below(self, path: Path) -> list[Statement]:
        """The statements of a table and of all tables in it."""
        return [s for s in self.statements if s.path[: len(path)] == path]

    def taken(self) -> Collection[int]:
        """The lines, counted from 0, that statements are on: what looks like a comment there may be within a value."""
        return {
            line for s in self.statements for line in range(s.line - 1, s.line + self.text.count("\n", s.start, s.end))
        }

    def said(self, path: Path) -> Any:
        """The value at a path; None where there is none."""
        node: Any = self.data
        for name in path:
            node = node.get(name) if isinstance(node, dict) else None
        return node

    def others(self, *paths: Path) -> Any:
        """All that the file says, but for these paths."""
        return meaning.without(self.data, paths)

    def is_unharmed(self, others: Any, *paths: Path) -> bool:
        """Whether the text still is TOML and says the same, but for these paths."""
        try:
            return meaning.same(self.others(*paths), others)
        except TomlSyntaxError:
            return False

    def put(self, path: Path, value: Leaf) -> None:
        """Make the file say `value` at `path`: replaced where it is, added where it is not, untouched if right."""
        before = self.said(path)
        if before == value and type(before) is type(value):
            return
        if isinstance(before, dict | list):
            raise refuse(self._line_of(path), "type", f"{'.'.join(path)} must be a single value. Fix it by hand.")
        for depth in range(len(path), 0, -1):
            pair = next((s for s in self.statements if not s.header and s.path == path[:depth]), None)
            if pair is not None:
                self._replace(pair, path, value)
                return
        self._add(path, value)

    def put_all(self, values: Mapping[Path, Leaf]) -> None:
        """Make the file say all of this. What only has to be replaced is replaced in one go."""
        pairs = {s.path: s for s in self.statements if not s.header}
        replaced = []
        for path, value in values.items():
            pair, before = pairs.get(path), self.said(path)
            if (
                pair is not None
                and type(before) in {str, bool}
                and (before != value or type(before) is not type(value))
            ):
                replaced.append((pair.value_start, pair.value_end, rendered(value)))
        text = self.text
        for start, end, new in sorted(replaced, reverse=True):
            text = text[:start] + new + text[end:]
        self.become(text)
        for path, value in values.items():
            self.put(path, value)

    def remove(self, path: Path) -> None:
        """Make the file say nothing at `path`. The table that it is in stays, if it has a header; so do comments."""
        said = self.said(path)
        if said is None:
            return
        for pair in (s for s in self.statements if not s.header and s.path == path[: len(s.path)]):
            if isinstance(said, dict | list):
                break
            if pair.path == path:
                comment = self.text[pair.value_end : pair.end].strip()
                comments = [comment] if comment else []
                self.splice(*removal.of_lines(self.text, pair.start, pair.end, comments))
                return
            inner = next((s for s in all_inline_pairs(self.text, pair) if s.path == path), None)
            if inner is not None:
                self.splice(*removal.of_inline(self.text, inner.start, inner.value_end))
                return
        raise refuse(self._line_of(path), "type", f"{'.'.join(path)} must be a single value. Fix it by hand.")

    def _line_of(self, path: Path) -> int | None:
        return next((s.line for s in self.below(path)), None)

    def _replace(self, pair: Statement, path: Path, value: Leaf) -> None:
        """The value of a pair, or a value in the braces of it."""
        while pair.path != path:
            if not self.text.startswith("{", pair.value_start):
                raise refuse(pair.line, "type", f"{'.'.join(pair.path)} must be a table. Fix it by hand.")
            inside = list(inline_pairs(self.text, pair))
            deeper = next((s for s in inside if s.path == path[: len(s.path)]), None)
            if deeper is None:
                self._add_between_braces(pair, inside, path, value)
                return
            pair = deeper
        self.splice(pair.value_start, pair.value_end, rendered(value))

    def _add_between_braces(self, holder: Statement, inside: list[Statement], path: Path, value: Leaf) -> None:
        rest = path[len(holder.path) :]
        beside = any(len(s.path) > len(holder.path) + 1 and s.path[len(holder.path)] == rest[0] for s in inside)
        if beside or len(rest) == 1:
            entry = pair_text(rest, value)
        else:
            entry = rendered(value)
            for name in reversed(rest[1:]):
                entry = f"{{ {key_text([name])} = {entry} }}"
            entry = f"{key_text(rest[:1])} = {entry}"
        if not inside:
            self.splice(holder.value_start, holder.value_end, f"{{ {entry} }}")
            return
        last = inside[-1]
        line_start = self.text.rfind("\n", 0, last.start) + 1
        indent = self.text[line_start : last.start]
        own_line = not indent.strip() and line_start > holder.value_start
        lead = f"{self.eol}{indent}" if own_line else " "
        self.splice(last.value_end, last.value_end, f",{lead}{entry}")

    def _add(self, path: Path, value: Leaf) -> None:
        parent = path[:-1]
        if not parent:
            self._add_top(path, value)
            return
        header = next((s for s in reversed(self.statements) if s.header and s.path == parent), None)
        if header is not None:
            own = [s for s in self.statements if not s.header and s.table == parent and s.start > header.start]
            self.insert_below(max([header.end, *(s.end for s in own)]), [pair_text(path[-1:], value)])
            return
        for depth in range(len(parent), 0, -1):
            known = path[:depth]
            beside = [s for s in self.below(known) if not s.header and len(s.table) < depth < len(s.path)]
            if beside:
                last = beside[-1]
                indent = re.match(r"[ \t]*", self.text[last.start :])
                line = pair_text(path[len(last.table) :], value)
                self.insert_below(last.end, [f"{indent[0] if indent else ''}{line}"])
                return
            if self.below(known):
                break
        lines = [f"[{key_text(parent)}]", pair_text(path[-1:], value)]
        nearest = max((s.end for s in self.below(parent[:1])), default=None)
        if nearest is None:
            self.append(lines)
        else:
            self.insert_below(nearest, ["", *lines])

    def _add_top(self, path: Path, value: Leaf) -> None:
        line = pair_text(path, value)
        first = next((s for s in self.statements if s.header), None)
        pairs = [s for s in self.statements if first is None or s.start < first.start]
        if pairs:
            self.insert_below(pairs[-1].end, [line])
        elif first is None:
            self.append([line])
        else:
            self.splice(0, 0, line + self.eol + self.eol)

    def insert_above(self, header: Statement, lines: Sequence[str]) -> None:
        """Put lines above a table's header."""
        self.splice(header.start, header.start, "".join(line + self.eol for line in lines))

    def insert_below(self, place: int, lines: Sequence[str]) -> int:
        """Put lines below the line of a character. Returns where the first of them begins."""
        line_break = self.text.find("\n", place)
        if line_break < 0:
            start = len(self.text)
            lead = self.eol if self.text else ""
            self.splice(start, start, lead + self.eol.join(lines))
            return start + len(lead)
        self.splice(line_break + 1, line_break + 1, "".join(line + self.eol for line in lines))
        return line_break + 1

    def append(self, lines: Sequence[str]) -> None:
        """Put lines at the end, after a blank one."""
        last = len(self.text.rstrip("\r\n \t"))
        if not last:
            self.splice(0, len(self.text), self.eol.join(lines) + self.eol)
            return
        kept_break = self.text.endswith("\n")
        self.insert_below(len(self.text) - 1, ["", *lines])
        if not kept_break and self.text.endswith(self.eol):
            self.splice(len(self.text) - len(self.eol), len(self.text), "")

    def comment_out(self, path: Path, placeholders: Placeholders) -> int | None:
        """Make comments of a table and all tables in it, as the template has them; no secret stays in them.

        Returns where the last one ends.
        """
        end: int | None = None
        for statement in reversed(self.below(path)):
            out = commented(self._without_secrets(statement, placeholders))
            self.splice(statement.start, statement.end, out)
            grown = len(out) - (statement.end - statement.start)
            end = statement.end + grown if end is None else end + grown
        return end

    def _without_secrets(self, statement: Statement, placeholders: Placeholders) -> str:
        """A statement's text; each value in it that is a secret is replaced whole."""
        text, offset = self.text[statement.start : statement.end], statement.start
        if statement.header:
            return scrubbing.without_secrets(text, placeholders)
        for pair in reversed([statement, *all_inline_pairs(self.text, statement)]):
            new = self._harmless_value(pair, placeholders)
            if new is not None:
                text = text[: pair.value_start - offset] + new + text[pair.value_end - offset :]
        return scrubbing.without_secrets(text, placeholders)

    def _harmless_value(self, pair: Statement, placeholders: Placeholders) -> str | None:
        """What stands in place of a value that is a secret, or a list that holds one; None for any other."""
        span = self.text[pair.value_start : pair.value_end]
        if span.startswith("{"):
            return None
        for _, value in leaves(parsed(f"x = {span}", self.version)):
            shown = scrubbing.replacement(".".join(pair.path), str(value), placeholders)
            if shown is not None:
                return rendered(scrubbing.REMOVED if span.startswith("[") else shown)
        return None

    def sweep(self, keys: Collection[str]) -> None:
        """Take keys out of all comments."""
        spans = [(s.start, s.start if s.header else s.value_end) for s in self.statements]
        self.become(scrubbing.swept(self.text, keys, spans))

    def uncomment(self, header: str, wanted: Sequence[Commented]) -> bool:
        """Uncomment, of the first section in a comment that has all of the wanted lines, just these lines."""
        text = uncommented(self.text, header, wanted, self.taken())
        if text is None:
            return False
        self.become(text)
        return True
