"""The tables that `kubectl get` prints: the columns of CRDs, and those of the built-in kinds."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgeherd_sim.kube import columns
from edgeherd_sim.kube.durations import age
from edgeherd_sim.kube.jsonpath import find
from edgeherd_sim.kube.kinds import Kind
from edgeherd_sim.kube.reading import fields_of

Body = dict[str, Any]


def render(
    kind: Kind,
    items: Sequence[Body],
    *,
    include: str = "Metadata",
    version: str = "",
    more: Mapping[str, Any] | None = None,
    headers: bool = True,
) -> Body:
    """A `Table` of objects.

    Args:
        kind: Their kind.
        items: The objects, in its view.
        include: `Metadata`, `Object` or `None`: what of each object comes with its row.
        version: The list's resourceVersion.
        more: What else the list's metadata says.
        headers: Whether to say what the columns are; a watch says it once.
    """
    definitions = columns_of(kind)
    rows = []
    for item in items:
        row: Body = {"cells": cells(kind, item)}
        if include == "Object":
            row["object"] = item
        elif include == "Metadata":
            row["object"] = fields_of(item)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version, **(more or {})},
        "columnDefinitions": definitions if headers else [],
        "rows": rows,
    }


_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "The name of the object, unique in its namespace.",
    "priority": 0,
}
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def columns_of(kind: Kind) -> list[Body]:
    """The column definitions of a kind."""
    if kind.custom is None:
        # Events have their name last.
        return [*([] if kind.kind == "Event" else [_NAME]), *columns.definitions(kind)]
    return [_NAME] + [
        {
            "name": column["name"],
            "type": column["type"],
            "format": column.get("format", ""),
            "description": column.get("description", ""),
            "priority": column.get("priority", 0),
        }
        for column in kind.custom.columns or (_AGE,)
    ]


def cells(kind: Kind, item: Body) -> list[Any]:
    """One row."""
    name = item["metadata"]["name"]
    if kind.custom is None:
        return [*([] if kind.kind == "Event" else [name]), *columns.cells(kind, item)]
    return [name, *(_cell(column, item) for column in kind.custom.columns or (_AGE,))]


_TYPES: dict[str, tuple[type, ...]] = {"integer": (int,), "number": (int, float), "boolean": (bool,), "string": (str,)}


def _cell(column: Mapping[str, Any], item: Body) -> Any:
    found = find(item, column["jsonPath"])
    if not found:
        return None
    value = found[0]
    kind = column["type"]
    if kind == "date":
        return age(value) if isinstance(value, str) else "<invalid>"
    if kind == "string" and not isinstance(value, str):
        return _go(value)
    if kind == "integer" and isinstance(value, float):
        return int(value)
    return value if isinstance(value, _TYPES.get(kind, ())) else None


def _go(value: Any) -> str:
    """A value as Go prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{' '.join(_go(item) for item in value)}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go(item)}' for key, item in sorted(value.items()))}]"
    return "<nil>" if value is None else str(value)
