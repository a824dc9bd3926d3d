"""The JSONPath of printer columns: keys, indices, wildcards and one comparison per filter."""

import functools
import re
from collections.abc import Callable
from typing import Any

_STEP = re.compile(
    r"\.(?P<key>(?:\\.|[^.\[\]\\])+)"
    r"|\[\s*(?P<quote>['\"])(?P<quoted>.*?)(?P=quote)\s*\]"
    r"|\[\s*(?P<index>-?\d+)\s*\]"
    r"|\[\s*\?\(\s*@(?P<path>[^=!<>]+?)\s*(?P<operator>==|!=)\s*(?P<value>.+?)\s*\)\s*\]"
    r"|(?P<all>\[\s*\*\s*\])"
)
_Step = Callable[[Any], list[Any]]


def find(body: Any, path: str) -> list[Any]:
    """Everything that a path leads to; empty when it leads nowhere or cannot be read."""
    steps = _compile(path)
    found = [body]
    for step in steps or ():
        found = [result for value in found for result in step(value)]
    return found if steps else []


@functools.lru_cache(maxsize=512)
def _compile(path: str) -> tuple[_Step, ...] | None:
    steps: list[_Step] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            return None
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> _Step:
    if match["all"] or match["key"] == "*":
        return _children
    if match["index"] is not None:
        return functools.partial(_item, int(match["index"]))
    if match["path"] is not None:
        wanted = match["value"].strip("'\"")
        return functools.partial(_filter, match["path"], match["operator"] == "==", wanted)
    key = match["quoted"] if match["quoted"] is not None else re.sub(r"\\(.)", r"\1", match["key"])
    return functools.partial(_member, key)


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _item(index: int, value: Any) -> list[Any]:
    if isinstance(value, list) and -len(value) <= index < len(value):
        return [value[index]]
    return []


def _filter(path: str, equal: bool, wanted: str, value: Any) -> list[Any]:
    return [item for item in _children(value) if any((str(found) == wanted) is equal for found in find(item, path))]


def _member(key: str, value: Any) -> list[Any]:
    return [value[key]] if isinstance(value, dict) and key in value else []
