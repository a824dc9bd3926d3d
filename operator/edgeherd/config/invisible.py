"""Characters that nobody sees and that are no white space to a parser: they come with text copied from web pages and chats.

In front of a key they hide the key from the daemon, which says nothing about it.
"""

import bisect
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator

from edgeherd.config import yaml_tree
from edgeherd.config.values import Dialect
from edgeherd.config.yaml_tree import SyntaxProblemError

_SPACES = "\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NOTHING = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
_CHARACTER = re.compile(f"[{_SPACES}{_NOTHING}]")
_IS_SPACE = re.compile(f"[{_SPACES}]")
_TOML_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|(?P<odd>'
    + _CHARACTER.pattern
    + ")",
    re.DOTALL,
)
_YAML_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|(?:(?<=[ \t])|^)#.*|(?P<odd>' + _CHARACTER.pattern + ")")


def places(text: str, dialect: Dialect) -> list[int]:
    """Where they stand outside of comments and quotation marks; not the byte order mark at the beginning."""
    if text.isascii() or not _CHARACTER.search(text, 1):
        return []
    found = _in_toml(text) if dialect is Dialect.TOML else _in_yaml(text)
    return [place for place in found if place]


def _in_toml(text: str) -> Iterator[int]:
    return (match.start() for match in _TOML_TOKEN.finditer(text) if match["odd"])


def _in_yaml(text: str) -> Iterator[int]:
    spans = _values(text)
    start = 0
    for line in text.split("\n"):
        bare = re.sub(rf"^(?:[ \t]|{_CHARACTER.pattern})+", "", line)
        if not bare.startswith("#"):
            for match in _YAML_TOKEN.finditer(line):
                if match["odd"] and not _is_within(start + match.start(), spans):
                    yield start + match.start()
        start += len(line) + 1


def _is_within(place: int, spans: list[tuple[int, int]]) -> bool:
    before = bisect.bisect_right(spans, (place, sys.maxsize))
    return before > 0 and place < spans[before - 1][1]


def _values(text: str) -> list[tuple[int, int]]:
    """Where texts in quotation marks and blocks are: what is in them is meant. None of a file that cannot be read."""
    try:
        roots = yaml_tree.documents(text)
    except SyntaxProblemError:
        return []
    return sorted((node.start, node.end) for root in roots for node in yaml_tree.all_scalars(root) if node.style)


def name(character: str) -> str:
    """What it is, for people."""
    return f"{unicodedata.name(character, 'character').lower()} (U+{ord(character):04X})"


def visible(text: str, found: Iterable[int]) -> str:
    """The text with spaces in place of these that look like one, and without the others."""
    out = list(text)
    for place in found:
        out[place] = " " if _IS_SPACE.fullmatch(out[place]) else ""
    return "".join(out)
