"""Fixes the malformations that hand edits leave behind. Offered to people, never done unasked."""

import functools
import itertools
import re
from collections.abc import Sequence

from edgeherd.config import invisible, scrubbing, toml_statements, yaml_tree
from edgeherd.config.comments import commented
from edgeherd.config.strays import is_stray, section_indent
from edgeherd.config.values import Dialect
from edgeherd.config.yaml_tree import MapNode

_INDENT = 2
_HIDDEN = re.compile(r"^ *\t[ \t]*[^ \t\r\n]", re.MULTILINE)
"""A line that a tab hides from the daemon."""


def repaired(text: str) -> tuple[str, tuple[str, ...]]:
    """A config.yaml, and a sentence for each thing that was fixed."""
    text, fixed = _bom(text)
    text, what = _visible(text, Dialect.YAML)
    fixed += what
    readable = _is_readable(text)
    if not readable or _HIDDEN.search(text):
        text, what = _tabs(text)
        fixed += what
    if not readable:
        text, what = _leading_spaces(text)
        fixed += what
    text, what = _second_sections(text)
    return text, (*fixed, *what)


def _is_readable(text: str) -> bool:
    """Whether it is YAML whose sections begin in the first column: then tabs and spaces are where they belong."""
    try:
        found = yaml_tree.documents(text)
    except yaml_tree.SyntaxProblemError:
        return False
    return not found or not isinstance(found[0], MapNode) or found[0].column == 0


def _bom(text: str) -> tuple[str, list[str]]:
    if not text.startswith("\ufeff"):
        return text, []
    return text.removeprefix("\ufeff"), ["line 1: the byte order mark was removed"]


def _visible(text: str, dialect: Dialect) -> tuple[str, list[str]]:
    """Characters that nobody sees become spaces, or go."""
    found = invisible.places(text, dialect)
    lines = dict.fromkeys((text.count("\n", 0, place) + 1, invisible.name(text[place])) for place in found)
    what = [f"line {line}: each {name} became a space or went" for line, name in lines]
    return invisible.visible(text, found), what


def _tabs(text: str) -> tuple[str, list[str]]:
    lines, what = text.split("\n"), []
    for number, line in enumerate(lines):
        indent = re.match(r"[ \t]*", line)
        if indent and "\t" in indent[0]:
            lines[number] = indent[0].replace("\t", "  ") + line[indent.end() :]
            what.append(f"line {number + 1}: tabs became two spaces each")
    return "\n".join(lines), what


def _leading_spaces(text: str) -> tuple[str, list[str]]:
    """A section that does not begin in the first column goes there, with the lines below it."""
    lines, what = text.split("\n"), []
    surplus, shift = 0, 0
    for number, line in enumerate(lines):
        head, indent = section_indent(line), len(line) - len(line.lstrip(" "))
        if head and (not surplus or indent <= surplus) and is_stray(lines, number):
            surplus = indent
            # Nested lines that are two to the right of the first column already stay where they are.
            shift = surplus if _first_child(lines, number) - surplus >= _INDENT else 0
            lines[number] = line[surplus:]
            what.append(f"line {number + 1}: {indent} leading space{'s' if indent > 1 else ''} removed")
            continue
        if line.strip() and indent <= surplus and not line.lstrip().startswith("#"):
            surplus, shift = 0, 0
        if shift and indent >= shift:
            lines[number] = line[shift:]
    return "\n".join(lines), what


def _first_child(lines: Sequence[str], number: int) -> int:
    """How far the first line below a section is indented; 0 if there is none."""
    below = (line for line in lines[number + 1 :] if line.strip() and not line.lstrip().startswith("#"))
    first = next(below, "")
    return len(first) - len(first.lstrip(" "))


def _second_sections(text: str) -> tuple[str, list[str]]:
    """Of several active provisioning sections the daemon uses the last; the others become comments."""
    try:
        documents = yaml_tree.documents(text)
    except yaml_tree.SyntaxProblemError:
        return text, []
    if len(documents) != 1 or not isinstance(documents[0], MapNode):
        return text, []
    what: list[str] = []
    for key, value in reversed(documents[0].named("provisioning")[:-1]):
        start = text.rfind("\n", 0, key.start) + 1
        end = key.start + len(text[key.start : max(key.end, value.end)].rstrip())
        stop = text.find("\n", end)
        stop = len(text) if stop < 0 else stop
        text = text[:start] + commented(scrubbing.without_secrets(text[start:stop], {})) + text[stop:]
        what.insert(0, f"line {key.line}: this provisioning section was commented out; the daemon used a later one")
    return text, what


_BARE_MODE = re.compile(
    r"^(auto_reprovisioning_mode[ \t]*=[ \t]*)(Dynamic|AlwaysOnStartup|OnErrorOnly)(?=[ \t]*(?:#.*)?\r?$)", re.MULTILINE
)


def repaired_toml(text: str) -> tuple[str, tuple[str, ...]]:
    """A config.toml, and a sentence for each thing that was fixed."""
    fixed = []
    for fix in (_bom, functools.partial(_visible, dialect=Dialect.TOML), _bare_mode, _second_tables):
        text, what = fix(text)
        fixed += what
    return text, tuple(fixed)


def _bare_mode(text: str) -> tuple[str, list[str]]:
    """The template's own line is not TOML when it is uncommented as it stands."""
    found = list(_BARE_MODE.finditer(text))
    what = [f"line {text.count(chr(10), 0, m.start()) + 1}: the value was put in quotation marks" for m in found]
    return _BARE_MODE.sub(r'\1"\2"', text), what


def _second_tables(text: str) -> tuple[str, list[str]]:
    """Of several active [provisioning] sections the last one stays, as in config.yaml; TOML refuses two of them."""
    statements = toml_statements.statements(text)
    heads = [n for n, s in enumerate(statements) if s.header and s.path == ("provisioning",)]
    what: list[str] = []
    for first, stop in reversed(list(itertools.pairwise(heads))):
        section = [s for s in statements[first:stop] if s.path[0] == "provisioning"]
        for statement in reversed(section):
            was = text[statement.start : statement.end]
            text = text[: statement.start] + commented(scrubbing.without_secrets(was, {})) + text[statement.end :]
        what.insert(0, f"line {statements[first].line}: this provisioning section was commented out; a later one stays")
    return text, what
