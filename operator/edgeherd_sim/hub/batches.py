"""Calls about many identities at once: their list, and what it costs."""

import json
from collections.abc import Mapping
from typing import Any

from edgeherd_sim.hub import rules
from edgeherd_sim.hub.errors import HubError, invalid
from edgeherd_sim.hub.model import Key

LIMIT = 100
"""How many identities one call may be about."""


def entries(value: object, name: str) -> list[tuple[Key, Mapping[str, Any]]]:
    """The entries of a list with the identities that they name: some, not too many, and each once."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise HubError("DeserializationError", f"{name} must be a list of objects.")
    if not 0 < len(value) <= LIMIT:
        raise invalid(f"{name} must have 1 to {LIMIT} entries.")
    found: dict[Key, Mapping[str, Any]] = {}
    for item in value:
        key = (rules.text(item.get("id"), "id") or "", rules.text(item.get("moduleId"), "moduleId") or "")
        if not key[0]:
            raise HubError("ArgumentNull", f"Every entry of {name} must have an id.")
        if key in found:
            raise HubError("DeviceDefinedMultipleTimes", f"{'/'.join(filter(None, key))} is there more than once.")
        found[key] = item
    return list(found.items())


def cost(raw: bytes) -> int:
    """Each identity counts. What is refused as a whole counts as one call."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return 1
    items = value.get("devices") if isinstance(value, dict) else value
    return len(items) if isinstance(items, list) and 0 < len(items) <= LIMIT else 1
