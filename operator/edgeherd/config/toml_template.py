"""What the templates of config.toml have in comments: sections that wait to be uncommented."""

import re
from collections.abc import Callable, Collection, Sequence

Commented = Callable[[str], object]
"""Whether a line, still a comment, is the one that is meant."""


def commented_table(name: str) -> Commented:
    """A table's header in a comment."""
    return re.compile(rf"#[ \t]*\[{re.escape(name)}\][ \t]*(#.*)?\r?$").match


def commented_pair(name: str, value: str = "") -> Commented:
    """A key with a value in a comment; the value is one that holds `value`."""
    return re.compile(rf"#[ \t]*\"?{re.escape(name)}\"?[ \t]*=.*{re.escape(value)}").match


def uncommented(text: str, header: str, wanted: Sequence[Commented], taken: Collection[int]) -> str | None:
    """The text with these lines of the first section that has all of them; None where none has.

    `taken` are the lines, counted from 0, that are no comments, whatever they look like.
    """
    lines = text.split("\n")
    is_header = commented_table(header)
    for first, line in enumerate(lines):
        if header not in line or first in taken or not is_header(line):
            continue
        region = range(first, _region_end(lines, first, is_header))
        chosen = _chosen(lines, region, wanted)
        if chosen is not None:
            for number in chosen:
                lines[number] = re.sub(r"^# ?", "", lines[number])
            return "\n".join(lines)
    return None


def _region_end(lines: Sequence[str], first: int, is_header: Commented) -> int:
    """A section in a comment goes on up to the next of its kind, a banner, or something that is no comment."""
    for number in range(first + 1, len(lines)):
        line = lines[number].strip()
        if is_header(line) or line.startswith("# ====") or (line and not line.startswith("#")):
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
