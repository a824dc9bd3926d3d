"""How much a file of the daemon may hold, so that reading it takes no more than seconds.

The largest template has 22 KB, 450 lines and 60 of them alive. Both parsers are written in Python: what counts for them
is characters, and more than these tokens.
"""

import re

from edgeherd.config.values import refuse

MAX_BYTES = 256 * 1024
MAX_LINES = 5_000
MAX_LIVE_LINES = 1_500
"""Lines that are neither blank nor a comment."""
MAX_LINE_CHARACTERS = 16 * 1024
MAX_SYMBOLS = 5_000
"""Brackets, braces and commas on these lines."""
MAX_DOTS = 512
"""On one of these lines: to the parser of TOML a key of so many parts is as many tables."""
MAX_DEPTH = 32
"""Of mappings and lists in each other."""

_SYMBOL = re.compile(r"[\[\]{},]")


def check_bytes(content: bytes) -> None:
    """Refuse a content that is too long.

    Raises:
        UneditableError: it is.
    """
    if len(content) > MAX_BYTES:
        raise refuse(None, "size", f"The file is larger than {MAX_BYTES // 1024} KiB, which no file of the daemon is.")


def check_text(text: str) -> None:
    """Refuse a text whose lines are too many, too long, or too dense.

    Raises:
        UneditableError: they are.
    """
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise refuse(
            MAX_LINES + 1, "size", f"The file has more than {MAX_LINES} lines, which no file of the daemon has."
        )
    alive = symbols = 0
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_CHARACTERS:
            raise refuse(number, "size", f"The line has more than {MAX_LINE_CHARACTERS} characters. Break it up.")
        bare = line.lstrip(" \t")
        if bare in {"", "\r"} or bare[0] == "#":
            continue
        alive += 1
        symbols += len(_SYMBOL.findall(line))
        if line.count(".") > MAX_DOTS:
            raise refuse(number, "size", f"The line has more than {MAX_DOTS} dots. Break it up.")
        if alive > MAX_LIVE_LINES or symbols > MAX_SYMBOLS:
            message = (
                f"Up to this line there are more than {MAX_LIVE_LINES} lines that are no comments, or more than "
                f"{MAX_SYMBOLS} brackets and commas in them, which no file of the daemon has."
            )
            raise refuse(number, "size", message)
