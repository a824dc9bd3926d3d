"""The statements of a TOML text, with their places.

An edit must leave every byte alone that it does not own, and no parser says where a value stands. The grammar is that of
TOML 1.1, which includes that of 1.0: whether a text is TOML at all says `toml_grammar`.
"""

import dataclasses
import re
import tomllib
from collections.abc import Iterator

Path = tuple[str, ...]

_KEY = re.compile(r"""[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))[ \t]*""")
_BLANKS = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)+")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")
_HEADER = re.compile(r"[ \t]*(\[\[?)")
_LINE_END = re.compile(r"\r?\n|\Z")
_COMMA = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*,")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
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
    """A table's header, or a key with its value; `path` counts from the root. `end` is before the line break.

    `table` is the path of the header that a key stands below; empty at the root.
    """

    header: bool
    path: Path
    line: int
    start: int
    end: int
    table: Path = ()
    value_start: int = 0
    value_end: int = 0


def statements(text: str) -> list[Statement]:
    """The statements of a text that is TOML; of another text, those before the first that cannot be read."""
    return scanned(text)[0]


def scanned(text: str) -> tuple[list[Statement], bool]:
    """The statements of a text, and whether there is nothing behind the last one but comments."""
    return _scan(text, _beginning(text), len(text), (), 1)


def rescanned(before: list[Statement], old: str, new: str) -> list[Statement] | None:
    """The statements of a text that was made from another one, whose statements are known and whole.

    What did not change is not read again: an edit makes one text from the other, and most of both is comments. None where
    that is not enough, because the change reaches further than the lines that it is in.
    """
    same = _common(old, new)
    tail = _common(old[same:][::-1], new[same:][::-1])
    kept = [s for s in before if s.end < same]
    moved = [s for s in before if s.start - 1 >= len(old) - tail and s.start - 1 >= same]
    grown = len(new) - len(old)
    table, line, place = (kept[-1].table, kept[-1].line, kept[-1].start) if kept else ((), 1, 0)
    begin = new.find("\n", kept[-1].end) + 1 if kept else _beginning(new)
    stop = moved[0].start + grown if moved else len(new)
    if (kept and not begin) or begin > stop:
        return None
    middle, is_whole = _scan(new, begin, stop, table, line + new.count("\n", place, begin))
    table = middle[-1].table if middle else table
    if (
        not is_whole
        or (middle and middle[-1].end > stop)
        or (moved and not moved[0].header and moved[0].table != table)
    ):
        return None
    lines = new.count("\n", same, len(new) - tail) - old.count("\n", same, len(old) - tail)
    return [*kept, *middle, *(_moved(s, grown, lines) for s in moved)]


def _beginning(text: str) -> int:
    return 1 if text.startswith("\ufeff") else 0


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _moved(statement: Statement, characters: int, lines: int) -> Statement:
    return Statement(
        header=statement.header,
        path=statement.path,
        line=statement.line + lines,
        start=statement.start + characters,
        end=statement.end + characters,
        table=statement.table,
        value_start=0 if statement.header else statement.value_start + characters,
        value_end=0 if statement.header else statement.value_end + characters,
    )


def _scan(text: str, place: int, stop: int, table: Path, line: int) -> tuple[list[Statement], bool]:
    """The statements that begin before `stop`; `table` and `line` are those of `place`."""
    found: list[Statement] = []
    counted = place
    while place < stop:
        if blank := _BLANKS.match(text, place, stop) or _BLANK.match(text, place, stop):
            place = max(blank.end(), place + 1)
            continue
        # Counted on from the last one: from the beginning each time, a long file takes for ever.
        line += text.count("\n", counted, place)
        counted = place
        statement = _header(text, place, line) or _pair(text, place, table, line)
        if statement is None:
            return found, False
        if statement.header:
            table = statement.path
        found.append(statement)
        line_break = text.find("\n", statement.end)
        place = len(text) if line_break < 0 else line_break + 1
    return found, True


def _header(text: str, place: int, line: int) -> Statement | None:
    opening = _HEADER.match(text, place)
    if opening is None:
        return None
    path, end = _path(text, opening.end())
    if not path or not text.startswith("]" * len(opening[1]), end):
        return None
    line_end = _BLANK.match(text, end + len(opening[1]))
    if line_end is None:
        return None
    return Statement(header=True, path=path, line=line, start=place, end=_line_end(text, end), table=path)


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
        table=table,
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
    if "\\" not in inner:
        return inner
    inner = re.sub(r"\\x([0-9A-Fa-f]{2})", r"\\u00\1", inner.replace(r"\e", r"\u001b"))
    try:
        return str(tomllib.loads(f'x = "{inner}"')["x"])
    except tomllib.TOMLDecodeError:
        return inner


def inline_pairs(text: str, holder: Statement) -> Iterator[Statement]:
    """The pairs of a value that is an inline table, not of those in it. They begin at their keys."""
    if not text.startswith("{", holder.value_start):
        return
    place = holder.value_start + 1
    while True:
        place = _gap_end(text, place)
        line = holder.line + text.count("\n", holder.start, place)
        pair = _pair(text, place, holder.path, line, ",}")
        if pair is None:
            return
        yield pair
        comma = _COMMA.match(text, pair.value_end)
        if comma is None:
            return
        place = comma.end()


def all_inline_pairs(text: str, holder: Statement) -> Iterator[Statement]:
    """The pairs of a value that is an inline table, each followed by those in it."""
    for pair in inline_pairs(text, holder):
        yield pair
        yield from all_inline_pairs(text, pair)


def _gap_end(text: str, place: int) -> int:
    gap = _GAP.match(text, place)
    return gap.end() if gap else place


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
    found = _LINE_END.search(text, place)
    return found.start() if found else len(text)
