"""The one door to the parsers of TOML: what a text says, by the version whose daemon reads it.

IoT Edge 1.2 to 1.5 read TOML 1.0 (crate toml 0.5.x up to 1.4.8, 0.7.x up to 1.5), as `tomllib` does; 1.6 reads TOML 1.1
(crate toml 1.1.2), as tomli does from 2.4 on. Where crate and Python differ, the difference stands here.
"""

import functools
import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

import tomli

from edgeherd.config import limits
from edgeherd.config.toml_statements import Path, TomlSyntaxError, statements
from edgeherd.config.values import UneditableError, Version, refuse

_TOML_1_1 = (1, 6)
_DOTTED_TABLES_GROW = (1, 4, 9)
_I64 = range(-(2**63), 2**63)
_COMMENT_LINES = re.compile(r"^[ \t]*(?:#[^\x00-\x08\x0a-\x1f\x7f]*)?\r?\n", re.MULTILINE)
"""Lines that say nothing, if they have nothing in them that a comment may not have."""
_ODD_DATES = 8
"""So many dates that are none a file may have: each costs a look at the whole of it."""
_AT = re.compile(r"\(at line (\d+), column (\d+)\)")
_DATE = re.compile(r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_LEAP_SECOND = re.compile(r"\d\d:\d\d:60")


def grammar(version: Version) -> str:
    """The TOML of a version, for people."""
    return "TOML 1.1" if version.numbers >= _TOML_1_1 else "TOML 1.0"


@functools.lru_cache(maxsize=8)
def parsed(text: str, version: Version) -> dict[str, Any]:
    """What the text says. A byte order mark at its beginning is skipped, as every version does.

    An edit asks for the same few texts again and again, so they are remembered: what it returns is not to be changed.

    Raises:
        TomlSyntaxError: it is not TOML to that version.
    """
    text = text.removeprefix("\ufeff")
    said = _loaded(text, version)
    level: list[Any] = [said]
    for _ in range(limits.MAX_DEPTH):
        level = [inner for value in level for inner in _inner(value) if isinstance(inner, dict | list)]
    if level:
        raise _too_deep()
    _refuse_large_numbers(said, text)
    if version.numbers < _DOTTED_TABLES_GROW:
        _refuse_grown_tables(text)
    return said


def _loaded(text: str, version: Version) -> dict[str, Any]:
    """Without its comments first: they are most of a template. Where that is no TOML the whole text tells the line."""
    live = text if '"""' in text or "'''" in text else _COMMENT_LINES.sub("", text)
    try:
        return tomli.loads(live) if version.numbers >= _TOML_1_1 else tomllib.loads(live)
    except (ValueError, RecursionError):
        return _loaded_whole(text, version)


def _loaded_whole(text: str, version: Version) -> dict[str, Any]:
    try:
        for left in reversed(range(_ODD_DATES + 1)):
            try:
                return tomli.loads(text) if version.numbers >= _TOML_1_1 else tomllib.loads(text)
            except ValueError as exc:
                relaxed = _relaxed(text, str(exc), version)
                if relaxed is None or not left:
                    raise
                text = relaxed
        raise AssertionError  # the last try returns or raises
    except RecursionError:
        raise _too_deep() from None
    except ValueError as exc:  # no TOML, or a number of more digits than Python reads
        found = re.search(r"\(at line (\d+), column \d+\)", str(exc))
        line = int(found[1]) if found else text.rstrip().count("\n") + 1
        twice = re.match(r"Cannot (?:declare|overwrite)|Cannot mutate", str(exc))
        why = "something is there for the second time" if twice else f"the line cannot be read as {grammar(version)}"
        if version.numbers < _TOML_1_1 and not twice and _is_toml_1_1(text):
            why += "; it is TOML 1.1, which IoT Edge 1.6 is the first to read"
        raise TomlSyntaxError(line, why) from None


def _relaxed(text: str, error: str, version: Version) -> str | None:
    """The text with a date or time that Python has none of and the daemon takes; None where that is not what is wrong.

    The daemon's parser knows a year 0 and leap seconds; up to 1.5 it counts no days, and takes the 31st of February.
    """
    found = _AT.search(error)
    if found is None:
        return None
    place = _place(text, int(found[1]), int(found[2]))
    leap = _LEAP_SECOND.search(text, max(0, place - 5), place + 9)
    if leap is not None:
        return f"{text[: leap.end() - 2]}59{text[leap.end() :]}"
    date = _DATE.match(text, place)
    if date is None or not error.startswith("Invalid date"):
        return None
    year = "2000" if date[1] == "0000" else date[1]
    day = "01" if version.numbers < _TOML_1_1 else date[3]
    new = f"{year}-{date[2]}-{day}"
    return f"{text[:place]}{new}{text[date.end() :]}" if new != date[0] else None


def _place(text: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = text.index("\n", start) + 1
    return start + column - 1


def _is_toml_1_1(text: str) -> bool:
    try:
        tomli.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_large_numbers(said: dict[str, Any], text: str) -> None:
    """To the daemon every integer is an i64."""
    for path, value in leaves(said):
        if isinstance(value, int) and value not in _I64:
            line = next((s.line for s in statements(text) if not s.header and s.path == path[: len(s.path)]), None)
            raise TomlSyntaxError(line, "a number is beyond 64 bits")


def _refuse_grown_tables(text: str) -> None:
    """To the crate toml 0.5 a table that keys with dots made is closed: no header may add a table to it."""
    made: set[Path] = set()
    for statement in statements(text):
        if not statement.header:
            made |= {statement.path[:depth] for depth in range(len(statement.table) + 1, len(statement.path))}
        elif any(statement.path[:depth] in made for depth in range(1, len(statement.path) + 1)):
            raise TomlSyntaxError(statement.line, "keys with dots have made that table already")


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is no table, with its path; what a list holds has the path of the list."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


def _inner(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _too_deep() -> TomlSyntaxError:
    return TomlSyntaxError(None, f"tables and keys with dots are nested more than {limits.MAX_DEPTH} deep")


def unreadable(error: TomlSyntaxError) -> UneditableError:
    """The refusal of a text that is not TOML."""
    return refuse(
        error.line, "syntax", f"The file is not TOML: {error.message}. Fix {'the line' if error.line else 'it'}."
    )
