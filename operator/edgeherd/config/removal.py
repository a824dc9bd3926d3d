"""What has to go from a text so that one entry goes, and no comment with it. YAML and TOML are alike in this."""

import re
from collections.abc import Sequence

_BREAK = re.compile(r"\r?\n")
_BLANKS = re.compile(r"[ \t]*")
_COMMA = re.compile(r"[ \t]*,")

Splice = tuple[int, int, str]
"""Where the text is replaced, and by what."""


def of_lines(text: str, start: int, end: int, comments: Sequence[str]) -> Splice:
    """Whole lines go, `end` being before the last one's break. `comments` stay, on lines of their own."""
    following = _BREAK.match(text, end)
    if comments:
        indent = _BLANKS.match(text, start)
        eol = following[0] if following else "\r\n" if "\r\n" in text else "\n"
        return start, end, eol.join(f"{indent[0] if indent else ''}{comment}" for comment in comments)
    if following:
        return start, following.end(), ""
    return len(text[:start].removesuffix("\n").removesuffix("\r")), end, ""


def of_inline(text: str, start: int, end: int) -> Splice:
    """An entry between braces goes with its comma; and with its line, if nothing else is on that."""
    head = text[:start].rstrip(" \t")
    comma = _COMMA.match(text, end)
    if comma:
        end = comma.end()
    elif head.endswith(","):
        return len(head) - 1, end, ""
    blanks = _BLANKS.match(text, end)
    behind = blanks.end() if blanks else end
    following = _BREAK.match(text, behind)
    if head.endswith("\n"):
        return (len(head), following.end(), "") if following else (start, behind, "")
    if text.startswith("#", behind):
        return start, end, ""
    return (len(head) if text.startswith("}", behind) else start), behind, ""
