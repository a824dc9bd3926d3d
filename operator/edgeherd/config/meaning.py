"""What a file says before and after an edit: the same, but for what was wanted.

Both dialects ask here, each with what its file says as plain dicts, lists and scalars.
"""

import copy
from collections.abc import Iterable
from typing import Any

Path = tuple[str, ...]


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, type and all; not-a-number equals itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or repr(one) == repr(other))


def without(said: Any, paths: Iterable[Path]) -> Any:
    """All that a file says, but for these paths, and for tables on the way to them that hold nothing else."""
    left = copy.deepcopy(said)
    for path in paths:
        _drop(left, path)
    return left


def at(said: Any, path: Path) -> Any:
    """What a file says at a path; None where it says nothing."""
    for name in path:
        said = said.get(name) if isinstance(said, dict) else None
    return said


def _drop(said: Any, path: Path) -> None:
    if not isinstance(said, dict):
        return
    name, *rest = path
    if rest:
        _drop(said.get(name), tuple(rest))
    if not rest or said.get(name, said) in ({}, None):
        said.pop(name, None)
