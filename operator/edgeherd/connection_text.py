"""Finds a connection string in what people paste: one reader for the command line and for Secrets.

A clipboard, a portal and a script each wrap it in their own way: quotation marks, JSON, a heading, a byte order mark.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_AROUND = " \t\r\n\ufeff\u200b\u00a0"
_QUOTES = "\"'`\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"
_STRING = re.compile(rf"[^\s{_QUOTES},]*\bHostName=[^\s{_QUOTES},]*")


class SeveralStringsError(ValueError):
    """There is more than one connection string, and nobody can tell which is meant. The text quotes none."""

    def __init__(self) -> None:
        super().__init__("There is more than one connection string. Keep the one that is meant.")


def connection_string_in(text: str) -> str:
    """The connection string in a text; the text itself, without white space around it, where it is nothing but one.

    What has none in it is returned too: whoever takes it apart says what is missing.

    Raises:
        SeveralStringsError: there is more than one.
    """
    bare = text.strip(_AROUND)
    if "\n" not in bare and bare[:1] not in {*_QUOTES, "{", "["}:
        return bare
    found = dict.fromkeys(_candidates(bare))
    if len(found) > 1:
        raise SeveralStringsError
    return next(iter(found), bare.strip(_QUOTES + _AROUND))


def _candidates(text: str) -> Iterator[str]:
    if text[:1] in {"{", "[", '"'}:
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            said = None
        if said is not None:
            yield from (leaf.strip(_AROUND) for leaf in _texts(said) if "HostName=" in leaf)
            return
    yield from _STRING.findall(text)


def _texts(said: Any) -> Iterator[str]:
    level = [said]
    while level:
        node = level.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict | list):
            level += reversed(list(node.values() if isinstance(node, dict) else node))
