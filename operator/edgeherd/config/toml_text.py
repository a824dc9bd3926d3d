"""The one door to tomlkit, and a config.toml under edit: changes are made in its text, only where they have to be.

The statements of a text are found with their places, because an edit must leave every byte alone that it does not own,
and because the template's sections are comments, which no parser keeps apart. Whether the text is TOML at all says
`tomllib`, which knows TOML 1.0 as the daemon's parser does; tomlkit 0.15 takes some of TOML 1.1.
"""

import dataclasses
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edgeherd.config import limits, removal
from edgeherd.config.comments import commented
from edgeherd.config.values import UneditableError, refuse

Leaf = str | bool
Path = tuple[str, ...]

_KEY = re.compile(r"""[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))[ \t]*""")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")
_VALUE_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[{]|[\]}]|[\n,]|[^"\'#\[\]{}\n,]+',
    re.DOTALL,
)


class TomlSyntaxError(Exception):
    """The text is not TOML. The message names a line and no value."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A table's header, or a key with its value; `path` counts from the root. `end` is before the line break."""

    header: bool
    path: Path
    line: int
    start: int
    end: int
    value_start: int = 0
    value_end: int = 0


def parsed(text: str) -> dict[str, Any]:
    """What the text says.

    Raises:
        TomlSyntaxError: it is not TOML.
    """
    try:
        said = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as exc:  # a TOMLDecodeError, or a number of more digits than Python reads
        found = re.search(r"\(at line (\d+), column \d+\)", str(exc))
        line = int(found[1]) if found else text.rstrip().count("\n") + 1
        twice = re.match(r"Cannot (?:declare|overwrite)|Cannot mutate", str(exc))
        why = "something is there for the second time" if twice else "the line cannot be read"
        raise TomlSyntaxError(line, why) from None
    level: list[Any] = [said]
    for _ in range(limits.MAX_DEPTH):
        level = [inner for value in level for inner in _inner(value) if isinstance(inner, dict | list)]
    if level:
        raise _too_deep()
    return said


def _inner(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _too_deep() -> TomlSyntaxError:
    return TomlSyntaxError(None, f"tables and keys with dots are nested more than {limits.MAX_DEPTH} deep")


def values(text: str) -> list[tuple[str, str]]:
    """Every text of a file with its path.

    Raises:
        TomlSyntaxError: it is not TOML.
    """
    found: list[tuple[str, str]] = []

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{path}.{key}")
        elif isinstance(value, list):
            for inner in value:
                walk(inner, path)
        elif isinstance(value, str):
            found.append((path, value))

    walk(parsed(text), "")
    return found


def statements(text: str) -> list[Statement]:
    """The statements of a text that is TOML; of another text, those before the first that cannot be read."""
    found: list[Statement] = []
    table: Path = ()
    place = counted = 0
    line = 1
    while place < len(text):
        if blank := _BLANK.match(text, place):
            place = max(blank.end(), place + 1)
            continue
        # Counted on from the last one: from the beginning each time, a long file takes for ever.
        line += text.count("\n", counted, place)
        counted = place
        statement = _header(text, place, line) or _pair(text, place, table, line)
        if statement is None:
            break
        if statement.header:
            table = statement.path
        found.append(statement)
        line_break = text.find("\n", statement.end)
        place = len(text) if line_break < 0 else line_break + 1
    return found


def _header(text: str, place: int, line: int) -> Statement | None:
    opening = re.compile(r"[ \t]*(\[\[?)").match(text, place)
    if opening is None:
        return None
    path, end = _path(text, opening.end())
    if not path or not text.startswith("]" * len(opening[1]), end):
        return None
    line_end = _BLANK.match(text, end + len(opening[1]))
    if line_end is None:
        return None
    return Statement(header=True, path=path, line=line, start=place, end=_line_end(text, end))


def _pair(text: str, place: int, table: Path, line: int, stops: str = "\n") -> Statement | None:
    path, end = _path(text, place)
    if not path or not text.startswith("=", end):
        return None
    start = end + 1
    while text.startswith((" ", "\t"), start):
        start += 1
    value_end = _value_end(text, start, stops)
    if value_end is None:
        return None
    return Statement(
        header=False,
        path=table + path,
        line=line,
        start=place,
        end=_line_end(text, value_end),
        value_start=start,
        value_end=value_end,
    )


def _path(text: str, place: int) -> tuple[Path, int]:
    """A dotted key, and where it ends."""
    parts: list[str] = []
    while match := _KEY.match(text, place):
        double, single, bare = match.groups()
        parts.append(_unescaped(double) if double is not None else single or bare or "")
        place = match.end()
        if not text.startswith(".", place):
            return tuple(parts), place
        place += 1
    return (), place


def _unescaped(inner: str) -> str:
    try:
        return str(tomllib.loads(f'x = "{inner}"')["x"])
    except tomllib.TOMLDecodeError:
        return inner


def _inline_pairs(text: str, holder: Statement) -> Iterator[Statement]:
    """The pairs of a value that is an inline table, and of those in it. They begin at their keys, on the holder's line."""
    place = holder.value_start + 1 if text.startswith("{", holder.value_start) else None
    while place is not None:
        while text.startswith((" ", "\t"), place):
            place += 1
        pair = _pair(text, place, holder.path, holder.line, ",}")
        if pair is None:
            return
        yield pair
        yield from _inline_pairs(text, pair)
        comma = re.compile(r"[ \t]*,").match(text, pair.value_end)
        place = comma.end() if comma else None


def _value_end(text: str, place: int, stops: str) -> int | None:
    """Where a value ends, comment and white space behind it not counted; None for one that does not end."""
    depth, last = 0, None
    while token := _VALUE_TOKEN.match(text, place):
        said = token[0]
        if depth == 0 and said in stops:
            break
        if said in "[{":
            depth += 1
        elif said in "]}":
            depth -= 1
        if not said.startswith("#") and said.strip():
            last = token.start() + len(said.rstrip())
        place = token.end()
    return last if depth == 0 else None


def _line_end(text: str, place: int) -> int:
    found = re.compile(r"\r?\n|\Z").search(text, place)
    return found.start() if found else len(text)


def rendered(value: Leaf) -> str:
    """A value as TOML writes it."""
    return tomlkit.item(value).as_string()


def key_text(name: str) -> str:
    """A key as TOML writes it, in quotation marks where it needs them."""
    return tomlkit.key([name]).as_string() if not re.fullmatch(r"[A-Za-z0-9_-]+", name) else name


class TomlDraft:
    """A text, taken apart anew after each change."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.eol = "\r\n" if "\r\n" in text else "\n"
        self._statements: list[Statement] | None = None
        self._data: dict[str, Any] | None = None

    @property
    def statements(self) -> list[Statement]:
        """Headers and pairs, in their order."""
        if self._statements is None:
            self._statements = statements(self.text)
        return self._statements

    @property
    def data(self) -> dict[str, Any]:
        """What the text says. Not to be changed: it is read again only when the text was."""
        if self._data is None:
            self._data = parsed(self.text)
        return self._data

    def splice(self, start: int, end: int, new: str) -> None:
        """Replace the characters from `start` up to `end`."""
        if self.text[start:end] != new:
            self.text = self.text[:start] + new + self.text[end:]
            self._statements = self._data = None

    def below(self, path: Path) -> list[Statement]:
        """The statements of a table and of all tables in it."""
        return [s for s in self.statements if s.path[: len(path)] == path]

    def said(self, path: Path) -> Any:
        """The value at a path; None where there is none."""
        node: Any = self.data
        for name in path:
            node = node.get(name) if isinstance(node, dict) else None
        return node

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
                self._replace(pair, path[depth:], value)
                return
        self._add(path, value)

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
            inner = next((s for s in _inline_pairs(self.text, pair) if s.path == path), None)
            if inner is not None:
                self.splice(*removal.of_inline(self.text, inner.start, inner.value_end))
                return
        raise refuse(self._line_of(path), "type", f"{'.'.join(path)} must be a single value. Fix it by hand.")

    def _line_of(self, path: Path) -> int | None:
        return next((s.line for s in self.below(path)), None)

    def _replace(self, pair: Statement, rest: Path, value: Leaf) -> None:
        if not rest:
            self.splice(pair.value_start, pair.value_end, rendered(value))
            return
        span = self.text[pair.value_start : pair.value_end]
        try:
            document = tomlkit.parse(f"x = {span}")
            node: Any = document["x"]
            for name in rest[:-1]:
                if name not in node:
                    node[name] = tomlkit.inline_table()
                node = node[name]
            node[rest[-1]] = value
        except (TOMLKitError, TypeError, AttributeError):
            message = f"{'.'.join(pair.path)} must be a table. Fix it by hand."
            raise refuse(pair.line, "type", message) from None
        self.splice(pair.value_start, pair.value_end, tomlkit.dumps(document).removeprefix("x = "))

    def _add(self, path: Path, value: Leaf) -> None:
        parent, name = path[:-1], path[-1]
        line = f"{key_text(name)} = {rendered(value)}"
        if not parent:
            first = next((s for s in self.statements if s.header), None)
            pairs = [s for s in self.statements if first is None or s.start < first.start]
            if pairs:
                self.insert_below(pairs[-1].end, [line])
            elif first is None:
                self.append([line])
            else:
                self.splice(0, 0, line + self.eol + self.eol)
            return
        headers = [s for s in self.statements if s.header and s.path == parent]
        if headers:
            own = [s for s in self.statements if s.path[:-1] == parent and not s.header and s.start > headers[-1].start]
            self.insert_below(max([headers[-1].end, *(s.end for s in own)]), [line])
            return
        header = f"[{'.'.join(map(key_text, parent))}]"
        nearest = max((s.end for s in self.below(parent[:1])), default=None)
        if nearest is None:
            self.append([header, line])
        else:
            self.insert_below(nearest, ["", header, line])

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

    def comment_out(self, path: Path) -> int | None:
        """Make comments of a table and all tables in it, as the template has them. Returns where the last one ends."""
        end: int | None = None
        for statement in reversed(self.below(path)):
            out = commented(self.text[statement.start : statement.end])
            self.splice(statement.start, statement.end, out)
            grown = len(out) - (statement.end - statement.start)
            end = statement.end + grown if end is None else end + grown
        return end

    def uncomment(self, header: str, wanted: Sequence["Commented"]) -> bool:
        """Uncomment, of the first section in a comment that has all of the wanted lines, just these lines."""
        lines = self.text.split("\n")
        for first, line in enumerate(lines):
            if not _commented_header(header)(line):
                continue
            region = range(first, _region_end(lines, first, header))
            chosen = _chosen(lines, region, wanted)
            if chosen is not None:
                for number in chosen:
                    lines[number] = re.sub(r"^# ?", "", lines[number])
                self.splice(0, len(self.text), "\n".join(lines))
                return True
        return False


Commented = Callable[[str], object]
"""Whether a line, still a comment, is the one that is meant."""


def _commented_header(name: str) -> Commented:
    return re.compile(rf"#[ \t]*\[{re.escape(name)}\][ \t]*(#.*)?\r?$").match


def commented_table(name: str) -> Commented:
    """A table's header in a comment."""
    return _commented_header(name)


def commented_pair(name: str, value: str = "") -> Commented:
    """A key with a value in a comment; the value is one that holds `value`."""
    return re.compile(rf"#[ \t]*\"?{re.escape(name)}\"?[ \t]*=.*{re.escape(value)}").match


def _region_end(lines: Sequence[str], first: int, header: str) -> int:
    """A section in a comment goes on up to the next of its kind, a banner, or something that is no comment."""
    for number in range(first + 1, len(lines)):
        line = lines[number].strip()
        if _commented_header(header)(line) or line.startswith("# ====") or (line and not line.startswith("#")):
            return number
    return len(lines)


def _chosen(lines: Sequence[str], region: range, wanted: Sequence[Commented]) -> list[int] | None:
    chosen: list[int] = []
    for is_it in wanted:
        number = next((n for n in region if n not in chosen and is_it(lines[n])), None)
        if number is None:
            return None
        chosen.append(number)
    return chosen


def unreadable(error: TomlSyntaxError) -> UneditableError:
    """The refusal of a text that is not TOML."""
    return refuse(
        error.line, "syntax", f"The file is not TOML: {error.message}. Fix {'the line' if error.line else 'it'}."
    )
