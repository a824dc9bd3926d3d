"""`POST /devices/query`: pages of what the index shows. It lags behind, as a real hub's does."""

import base64
import binascii
import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgeherd_sim.hub import query_terms as terms
from edgeherd_sim.hub.auth import Right
from edgeherd_sim.hub.calls import Call, Reply, Route
from edgeherd_sim.hub.errors import HubError, invalid
from edgeherd_sim.hub.index import Index
from edgeherd_sim.hub.model import Key
from edgeherd_sim.hub.query_language import Column, Query, QuerySyntaxError, parse
from edgeherd_sim.hub.throttle import Operation

_PAGE = 100
_LARGEST_PAGE = 1000
_SIZE = re.compile(r"0*[1-9][0-9]{0,9}")

Row = tuple[Key, Mapping[str, Any]]
"""A row and the twin that it is of; rows of groups have the same empty key."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a page begins: how many rows came before it, and the last one's twin."""

    seen: int = 0
    after: Key = ("", "")


def run_query(call: Call) -> Reply:
    """`POST /devices/query`: one page, and the token of the next one where there is one."""
    text = call.body().get("query")
    if not isinstance(text, str):
        raise _bad_request()
    query = _parsed(text)
    place = _read(call.headers.get("x-ms-continuation"), text)
    rows = _rows(query, call.index.twins(modules=query.modules))
    rest = rows[place.seen :] if query.grouped else [row for row in rows if row[0] > place.after]
    if query.top is not None:
        rest = rest[: max(0, query.top - place.seen)]
    size = _size(call.headers.get("x-ms-max-item-count"))
    page = rest[:size]
    headers = {"x-ms-item-type": "Raw" if query.columns else "Twin"}
    if len(rest) > size:
        following = _Place(seen=place.seen + size, after=page[-1][0])
        headers["x-ms-continuation"] = _written(following, text)
    return Reply(body=[row for _, row in page], headers=headers)


def count(text: str, index: Index) -> int | None:
    """How many rows a query has now; None where it is no query."""
    try:
        query = parse(text)
    except QuerySyntaxError:
        return None
    found = len(_rows(query, index.twins(modules=query.modules)))
    return found if query.top is None else min(found, query.top)


def _parsed(text: str) -> Query:
    """The query. Azure does not say what is wrong with one."""
    try:
        return parse(text)
    except QuerySyntaxError:
        raise _bad_request() from None


def _rows(query: Query, twins: Sequence[Row]) -> list[Row]:
    found = [(key, twin) for key, twin in twins if query.where(twin) is True]
    if query.grouped:
        return [(("", ""), row) for row in _grouped(query, [twin for _, twin in found])]
    if not query.columns:
        return found
    return [(key, _projected(query.columns, twin)) for key, twin in found]


def _projected(columns: Sequence[Column], twin: Mapping[str, Any]) -> dict[str, Any]:
    """What a twin does not have is left out."""
    values = ((column.name, terms.member(column.path)(twin)) for column in columns)
    return {name: value for name, value in values if value is not terms.UNDEFINED}


def _grouped(query: Query, twins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each group, in the sequence of their first twins; without GROUP BY all twins are one group."""
    groups: dict[str, list[Mapping[str, Any]]] = {} if query.group_by else {"": list(twins)}
    if query.group_by:
        for twin in twins:
            values = [terms.member(path)(twin) for path in query.group_by]
            groups.setdefault(json.dumps(values, sort_keys=True, default=str), []).append(twin)
    return [_summed_up(query.columns, members) for members in groups.values()]


def _summed_up(columns: Sequence[Column], twins: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The row of a group. What is no aggregate is the same in all of its twins."""
    row: dict[str, Any] = {}
    for column in columns:
        if not column.aggregate:
            row |= _projected([column], twins[0])
        elif (value := _aggregated(column, twins)) is not None:
            row[column.name] = value
    return row


def _aggregated(column: Column, twins: Sequence[Mapping[str, Any]]) -> float | None:
    """An aggregate of all numbers that there are; nothing where there is none."""
    if column.aggregate == "count":
        return len(twins)
    found = [terms.member(column.path)(twin) for twin in twins]
    values: list[float] = [value for value in found if terms.is_number(value)]
    if not values:
        return None
    match column.aggregate:
        case "sum":
            return sum(values)
        case "avg":
            return sum(values) / len(values)
        case "min":
            return min(values)
        case _:
            return max(values)


def _size(text: str | None) -> int:
    """How many rows a page may have; the hub takes its own number where it does not like the client's."""
    return min(int(text), _LARGEST_PAGE) if text is not None and _SIZE.fullmatch(text) else _PAGE


def _read(token: str | None, query: str) -> _Place:
    """A token leads on in the query that it came from, and in no other."""
    if not token:
        return _Place()
    try:
        digest, seen, *after = json.loads(base64.b64decode(token, validate=True))
        place = _Place(seen=int(seen), after=(str(after[0]), str(after[1])))
    except (ValueError, TypeError, IndexError, binascii.Error):
        raise _bad_request() from None
    if digest != _digest(query):
        raise _bad_request()
    return place


def _written(place: _Place, query: str) -> str:
    return base64.b64encode(json.dumps([_digest(query), place.seen, *place.after]).encode()).decode()


def _digest(query: str) -> str:
    return hashlib.sha256(query.encode(errors="replace")).hexdigest()[:16]


def _bad_request() -> HubError:
    return invalid("BadRequest")


ROUTES = (
    Route(
        method="POST",
        path="/devices/query",
        handler=run_query,
        right=Right.SERVICE,
        operation=Operation.QUERY,
    ),
)
