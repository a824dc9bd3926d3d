"""A YAML text made palatable for ruamel.yaml, which stops at other things than the daemon's parser; all places stay the same."""

import re

ODD = "\ue000"
"""Stands in a node's text for a character that no person means to be there: a leading tab, a control character."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


_REFUSED = re.compile(r"^ *\t[ \t]*#|(?<!\r)\r++(?!\n|\Z)", re.MULTILINE)


_VERSION = re.compile(r"\A((?:[ \t]*(?:#[^\n]*)?\n)*)%(YAML[^\n]*\n(?:[ \t]*(?:#[^\n]*)?\n)*---)")
"""A version directive, which the daemon's parser ignores and ruamel judges."""


def refused(text: str) -> tuple[int, str] | None:
    """A line, and what is on it that ruamel takes and the daemon does not; None where there is nothing.

    To yaml-rust a tab before a '#' is a scalar of its own, and a lone carriage return does not begin a line.
    """
    found = _REFUSED.search(text) if "\t" in text or "\r" in text else None
    if found is None:
        return None
    what = "a carriage return in the middle of a line" if found[0].startswith("\r") else "a tab before a comment"
    return text.count("\n", 0, found.start()) + 1, what


def palatable(text: str) -> str:
    """The text without what ruamel stops at and the daemon's parser does not; all places stay the same.

    To yaml-rust a tab at the beginning of a line is the first letter of a scalar (so that the key is not the one that
    it looks like), and any other tab is white space; a NUL is the end.
    """
    text = text.partition("\0")[0]
    if not text.isascii() or _CONTROL.search(text):
        text = _UNPRINTABLE.sub(ODD, text)
    if "%" in text:
        text = _VERSION.sub(lambda match: f"{match[1]}#{match[2]}", text)
    if "\t" in text:
        text = re.sub(r"^( *)\t", rf"\1{ODD}", text, flags=re.MULTILINE)
    if "\r" in text:
        text = re.sub(r"\r(?!\n)", " ", text)
    return text.replace("\t", " ")


_PLAIN_LINE = re.compile(
    r"""[ ]*(?:-[ ]+)*(?:"[^"\\]*"|'[^']*'|[A-Za-z_][\w.\-]*)[ ]*:(?:[ ]+(?P<value>[^\n]*))?\r?\Z"""
)
_PLAIN_VALUE = re.compile(
    r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|\{\}|\[\]|[A-Za-z0-9_./][^\s#]*)?[ \r]*(?:(?<=[ ])\#.*)?\Z"""
)


def live(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without comments and blank lines, and of each line of it its number (from 0) and beginning in the whole.

    Most of a template is comments, and ruamel reads every character of them. Only where each line that is left is a key with a
    value of its own they can be left out: elsewhere they may be a part of a value, or end one.
    """
    lines, start = [], 0
    kept: list[str] = []
    for number, line in enumerate(text.split("\n")):
        bare = line.lstrip(" ")
        if bare and bare[0] not in "#\r":
            pair = _PLAIN_LINE.match(line)
            if pair is None or not _PLAIN_VALUE.match(pair["value"] or ""):
                return text, _all_lines(text)
            kept.append(line)
            lines.append((number, start))
        start += len(line) + 1
    lines.append((text.count("\n"), len(text)))
    return "\n".join([*kept, ""]), lines


def _all_lines(text: str) -> list[tuple[int, int]]:
    lines, start = [], 0
    for number, line in enumerate(text.split("\n")):
        lines.append((number, start))
        start += len(line) + 1
    return lines
