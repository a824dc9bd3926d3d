"""What differs between two readings of a file, for people: secrets are masked."""

from collections.abc import Mapping
from typing import Literal

from edgeherd.config.masking import masked_value
from edgeherd.config.values import Change


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """One change for each path whose value differs."""
    found = []
    for path in [*before, *(path for path in after if path not in before)]:
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        action: Literal["Add", "Change", "Remove"] = "Add" if old is None else "Remove" if new is None else "Change"
        shown = ["" if value is None else masked_value(path, value) for value in (old, new)]
        found.append(Change(path=path, action=action, before=shown[0], after=shown[1]))
    return tuple(found)
