"""Sections of config.yaml that do not begin in the first column, which is how most hand edits go wrong."""

import re
from collections.abc import Iterator, Sequence

_SECTION = re.compile(r"( +)(?:provisioning|certificates|agent|hostname|watchdog|connect|listen|homedir|moby_runtime):")


def section_indent(line: str) -> int:
    """How far the line is indented if it is the head of a section; 0 otherwise."""
    head = _SECTION.match(line)
    return len(head[1]) if head else 0


def is_stray(lines: Sequence[str], number: int) -> bool:
    """Whether an indented section name belongs to no section above it."""
    indent = len(lines[number]) - len(lines[number].lstrip(" "))
    for line in reversed(lines[:number]):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        above = len(line) - len(line.lstrip(" "))
        return indent != above and not (above < indent and re.search(r":\s*(#.*)?$", line.rstrip("\r")))
    return True


def stray_sections(text: str) -> Iterator[int]:
    """The lines, counted from 1, of sections that stand too far right."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if section_indent(line) and is_stray(lines, number):
            yield number + 1
