"""The language of queries, as `POST /devices/query` of the emulated hub understands it."""

from typing import Any

import pytest
from hub_client import Client

from edgeherd_sim.hub.server import Hub

BAD = (400, "ErrorCode:ArgumentInvalid;BadRequest")
PARTS = {"part": {"kind": "belt"}, "parts": [{"kind": "belt", "width": 3}]}
FLEET: dict[str, dict[str, Any]] = {
    "ax-1": {"site": "A", "floor": 1, "live": True, "size": {"m-2": 12.5}, **PARTS},
    "ax-2": {"site": "A", "floor": 2, "live": False, "note": 'it\'s "new"'},
    "bx-1": {"site": "B", "floor": "2", "spare": {}},
    "bx-2": {"site": "B", "floor": 10, "select": "x", "list": [1, 2]},
    "cx-1": {},
}


@pytest.fixture
async def fleet(hub: Hub, client: Client) -> Client:
    """Five devices; the last one is an edge device with a module, and disabled."""
    for name, tags in FLEET.items():
        edge = name == "cx-1"
        body = {"capabilities": {"iotEdge": edge}, "status": "disabled" if edge else "enabled"}
        hub.store.put_device(name, body, None)
        hub.store.patch_twin((name, ""), {"tags": tags, "properties": {"desired": {"$version": 1}}}, None)
    hub.store.put_module("cx-1", "vision", {}, None)
    hub.store.report(("ax-1", ""), {"config": {"status": "ok"}})
    hub.store.report(("ax-2", ""), {"config": {"status": "bad"}})
    hub.store.report(("bx-2", ""), {"config": {"status": "ok"}})
    return client


async def asked(client: Client, query: str) -> Any:
    """The rows; of a refusal its status and text."""
    answer = await client.send("POST", "/devices/query", {"query": query})
    return answer.body if answer.status == 200 else (answer.status, answer.body["Message"])


IDS = "SELECT deviceId FROM devices WHERE "
ALL = list(FLEET)
CONDITIONS: dict[str, tuple[str, list[str]]] = {
    "equality of texts": ("tags.site = 'A'", ["ax-1", "ax-2"]),
    "a text in double quotation marks": ('tags.site = "A"', ["ax-1", "ax-2"]),
    "texts are told apart by small and large letters": ("tags.site = 'a'", []),
    "a mark that is escaped": (r"tags.note = 'it\'s \"new\"'", ["ax-2"]),
    "a letter by its number": (r"tags.site = '\u0041'", ["ax-1", "ax-2"]),
    "equality of numbers": ("tags.floor = 2", ["ax-2"]),
    "whole and broken numbers are equal": ("tags.floor = 2.0", ["ax-2"]),
    "a number with an exponent": ("tags.floor = 1e1", ["bx-2"]),
    "a number that is negative": ("tags.floor > -1", ["ax-1", "ax-2", "bx-2"]),
    "a number is no text": ("tags.floor = '2'", ["bx-1"]),
    "a truth is no number": ("tags.live = 1", []),
    "true": ("tags.live = true", ["ax-1"]),
    "false": ("tags.live = false", ["ax-2"]),
    "a truth alone": ("tags.live", ["ax-1"]),
    "null": ("x509Thumbprint.primaryThumbprint = null", ALL),
    "null is not what is not there": ("tags.live = null", []),
    "unequal": ("tags.site != 'A'", ["bx-1", "bx-2"]),
    "unequal in the other spelling": ("tags.site <> 'A'", ["bx-1", "bx-2"]),
    "values of different types are unequal": ("tags.floor != 2", ["ax-1", "bx-1", "bx-2"]),
    "less": ("tags.floor < 2", ["ax-1"]),
    "less or equal": ("tags.floor <= 2", ["ax-1", "ax-2"]),
    "greater": ("tags.floor > 2", ["bx-2"]),
    "greater or equal": ("tags.floor >= 2", ["ax-2", "bx-2"]),
    "texts in sequence": ("deviceId > 'ax-2' AND deviceId < 'cx'", ["bx-1", "bx-2"]),
    "truths have no sequence": ("tags.live < true", []),
    "the value in front": ("'A' = tags.site", ["ax-1", "ax-2"]),
    "two members": ("tags.site >= tags.site", ["ax-1", "ax-2", "bx-1", "bx-2"]),
    "what is not there on the right": ("tags.site != tags.absent", []),
    "two members that are not there": ("tags.absent = tags.missing", []),
    "in": ("deviceId IN ['ax-1', 'cx-1', 'absent']", ["ax-1", "cx-1"]),
    "in, with types": ("tags.floor IN [1, '2']", ["ax-1", "bx-1"]),
    "not in": ("tags.floor NIN [1, '2']", ["ax-2", "bx-2"]),
    "not in, of what is not there": ("tags.note NIN ['x']", ["ax-2"]),
    "and": ("tags.site = 'A' AND tags.floor = 2", ["ax-2"]),
    "or": ("tags.floor = 1 OR tags.floor = 10", ["ax-1", "bx-2"]),
    "and binds before or": ("tags.floor = 1 OR tags.site = 'B' AND tags.floor = 10", ["ax-1", "bx-2"]),
    "parentheses": ("(tags.floor = 1 OR tags.site = 'B') AND tags.floor = 10", ["bx-2"]),
    "parentheses in each other": ("((((tags.floor)))) = (1)", ["ax-1"]),
    "not": ("NOT tags.site = 'A'", ["bx-1", "bx-2"]),
    "not binds before and": ("NOT tags.site = 'A' AND tags.floor = 10", ["bx-2"]),
    "not of parentheses": ("NOT (tags.site = 'A' OR tags.floor = 10)", ["bx-1"]),
    "not twice": ("NOT NOT tags.site = 'A'", ["ax-1", "ax-2"]),
    "what is not there is not unequal": ("NOT tags.absent = 1", []),
    "or with what is not there": ("tags.absent = 1 OR tags.site = 'A'", ["ax-1", "ax-2"]),
    "false wins over what is not there": ("NOT (tags.absent = 1 AND tags.site = 'A')", ["bx-1", "bx-2"]),
    "keywords in any letters": ("tags.site = 'A' aNd nOt tags.floor In [2]", ["ax-1"]),
    "is_defined": ("is_defined(tags.live)", ["ax-1", "ax-2"]),
    "is_defined of null": ("IS_DEFINED(x509Thumbprint.primaryThumbprint)", ALL),
    "is_defined of an empty object": ("is_defined(tags.spare)", ["bx-1"]),
    "not is_defined": ("NOT is_defined(tags.site)", ["cx-1"]),
    "is_defined below a text": ("is_defined(tags.site.more)", []),
    "startswith": ("startswith(deviceId, 'ax')", ["ax-1", "ax-2"]),
    "startswith in other letters": ("STARTSWITH(deviceId, 'b')", ["bx-1", "bx-2"]),
    "startswith with a line": ("starts_with(deviceId, 'b')", ["bx-1", "bx-2"]),
    "endswith": ("endswith(deviceId, '-1')", ["ax-1", "bx-1", "cx-1"]),
    "contains": ("contains(deviceId, 'x-2')", ["ax-2", "bx-2"]),
    "a function of a number": ("startswith(tags.floor, '2')", ["bx-1"]),
    "a function compared": ("contains(deviceId, 'x-2') = false", ["ax-1", "bx-1", "cx-1"]),
    "array_contains": ("array_contains(tags.list, 2)", ["bx-2"]),
    "array_contains in other letters": ("ARRAY_CONTAINS(tags.list, 3) = false", ["bx-2"]),
    "array_contains of the same type only": ("array_contains(tags.list, '2')", []),
    "array_contains of what is no array": ("NOT array_contains(tags.site, 'A')", []),
    "array_contains of a whole object": ("array_contains(tags.parts, tags.part)", []),
    "array_contains of a part of an object": ("array_contains(tags.parts, tags.part, true)", ["ax-1"]),
    "array_contains of a whole object, said": ("array_contains(tags.parts, tags.part, false)", []),
    "a nested path": ("properties.reported.config.status = 'bad'", ["ax-2"]),
    "a member of the hub's own": ("properties.reported.$version = 1", ["bx-1", "cx-1"]),
    "a name that must be escaped": ("tags.size.[[m-2]] = 12.5", ["ax-1"]),
    "a keyword that is escaped": ("tags.[[select]] = 'x'", ["bx-2"]),
    "a keyword inside a path": ("tags.select = 'x'", ["bx-2"]),
    "names may always be escaped": ("[[tags]].[[site]] = 'A'", ["ax-1", "ax-2"]),
    "the collection in front": ("devices.deviceId = 'ax-1'", ["ax-1"]),
    "the edge flag": ("capabilities.iotEdge = true", ["cx-1"]),
    "the status": ("status = 'disabled'", ["cx-1"]),
    "line breaks": ("tags.site\n=\t'A'", ["ax-1", "ax-2"]),
    "no blanks": ("tags.site='A'AND(tags.floor=2)", ["ax-2"]),
    "a number of many digits": (f"tags.floor < {'9' * 5000}", ["ax-1", "ax-2", "bx-2"]),
}


@pytest.mark.parametrize("name", CONDITIONS)
async def test_conditions(fleet: Client, name: str) -> None:
    """Which devices match."""
    condition, expected = CONDITIONS[name]
    rows = await asked(fleet, IDS + condition)
    assert rows == [{"deviceId": device} for device in expected]


SELECTIONS: dict[str, tuple[str, list[Any]]] = {
    "a field": ("SELECT deviceId FROM devices WHERE tags.site = 'A'", [{"deviceId": "ax-1"}, {"deviceId": "ax-2"}]),
    "a field of another name": ("SELECT deviceId AS id FROM devices WHERE tags.floor = 1", [{"id": "ax-1"}]),
    "a name that must be escaped": (
        "SELECT deviceId AS [[my id]] FROM devices WHERE tags.floor = 1",
        [{"my id": "ax-1"}],
    ),
    "a nested field has its last name": (
        "SELECT deviceId, tags.site FROM devices WHERE tags.floor = 1",
        [{"deviceId": "ax-1", "site": "A"}],
    ),
    "an object": ("SELECT tags.size AS s FROM devices WHERE tags.floor = 1", [{"s": {"m-2": 12.5}}]),
    "what is not there is left out": (
        "SELECT deviceId, tags.note FROM devices WHERE tags.site = 'A'",
        [{"deviceId": "ax-1"}, {"deviceId": "ax-2", "note": 'it\'s "new"'}],
    ),
    "the first ones": ("SELECT TOP 2 deviceId FROM devices", [{"deviceId": "ax-1"}, {"deviceId": "ax-2"}]),
    "the first ones that match": (
        "SELECT TOP 1 deviceId FROM devices WHERE tags.site = 'B'",
        [{"deviceId": "bx-1"}],
    ),
    "modules": (
        "SELECT deviceId, moduleId FROM devices.modules",
        [{"deviceId": "cx-1", "moduleId": name} for name in ("$edgeAgent", "$edgeHub", "vision")],
    ),
    "modules by their names": (
        "SELECT moduleId FROM devices.modules WHERE devices.modules.moduleId NIN ['$edgeAgent', '$edgeHub']",
        [{"moduleId": "vision"}],
    ),
    "a count": ("SELECT COUNT() AS n FROM devices", [{"n": 5}]),
    "a count without a name": ("SELECT count() FROM devices", [{"$1": 5}]),
    "a count of matches": ("SELECT COUNT() AS n FROM devices WHERE tags.site = 'A'", [{"n": 2}]),
    "a count of nothing": ("SELECT COUNT() AS n FROM devices WHERE tags.site = 'Z'", [{"n": 0}]),
    "all aggregates; what is no number does not count": (
        "SELECT COUNT() AS n, SUM(tags.floor) AS s, AVG(tags.floor) AS a, MIN(tags.floor) AS lo, MAX(tags.floor) AS hi FROM devices",
        [{"n": 5, "s": 13, "a": 13 / 3, "lo": 1, "hi": 10}],
    ),
    "an aggregate of no numbers": ("SELECT MAX(tags.absent) AS m FROM devices", [{}]),
    "groups": (
        "SELECT tags.site AS site, COUNT() AS n FROM devices GROUP BY tags.site",
        [{"site": "A", "n": 2}, {"site": "B", "n": 2}, {"n": 1}],
    ),
    "groups of matches": (
        "SELECT properties.reported.config.status AS status, COUNT() AS n FROM devices WHERE is_defined(properties.reported.config) GROUP BY properties.reported.config.status",
        [{"status": "ok", "n": 2}, {"status": "bad", "n": 1}],
    ),
    "groups by two fields": (
        "SELECT COUNT() AS n, status, tags.site FROM devices WHERE tags.floor >= 2 GROUP BY tags.site, status",
        [{"n": 1, "status": "enabled", "site": "A"}, {"n": 1, "status": "enabled", "site": "B"}],
    ),
    "groups without a count": (
        "SELECT status FROM devices GROUP BY status",
        [{"status": "enabled"}, {"status": "disabled"}],
    ),
    "groups of nothing": ("SELECT status FROM devices WHERE false GROUP BY status", []),
    "the first groups": (
        "SELECT TOP 1 tags.site, COUNT() AS n FROM devices GROUP BY tags.site",
        [{"site": "A", "n": 2}],
    ),
    "a field with the name of an aggregate": ("SELECT count FROM devices WHERE tags.floor = 1", [{}]),
}


@pytest.mark.parametrize("name", SELECTIONS)
async def test_selections(fleet: Client, name: str) -> None:
    """What the rows have."""
    query, expected = SELECTIONS[name]
    rows = await asked(fleet, query)
    assert rows == expected
    assert [list(row) for row in rows] == [list(row) for row in expected]


WHERE = "SELECT * FROM devices WHERE "
ERRORS: dict[str, str] = {
    "nothing": "",
    "no query": "hello",
    "no SELECT": "FROM devices",
    "no FROM": "SELECT *",
    "no collection": "SELECT * FROM",
    "a collection that nobody knows": "SELECT * FROM twins",
    "jobs": "SELECT * FROM devices.jobs",
    "no condition": WHERE,
    "a condition that breaks off": f"{WHERE}tags.site =",
    "two conditions side by side": f"{WHERE}tags.a = 1 tags.b = 2",
    "a comparison of a comparison": f"{WHERE}tags.a = 1 = 2",
    "a sign that nobody knows": f"{WHERE}tags.a == 1",
    "arithmetic": f"{WHERE}tags.a + 1 = 2",
    "an open text": f"{WHERE}tags.a = 'x",
    "an escape that nobody knows": rf"{WHERE}tags.a = '\q'",
    "an open parenthesis": f"{WHERE}(tags.a = 1",
    "a parenthesis too many": f"{WHERE}tags.a = 1)",
    "an open list": f"{WHERE}tags.a IN ['x'",
    "a list in parentheses": f"{WHERE}tags.a IN ('x')",
    "an empty list": f"{WHERE}tags.a IN []",
    "a hyphen in a name": f"{WHERE}tags.my-tag = 1",
    "an open escape": f"{WHERE}tags.[[a = 1",
    "an empty name": f"{WHERE}tags. = 1",
    "a number with letters": f"{WHERE}tags.a = 1x",
    "a keyword as a name": f"{WHERE}select = 1",
    "a function that nobody knows": f"{WHERE}lower(tags.a) = 'x'",
    "a path as a function": f"{WHERE}tags.a('x')",
    "a function without arguments": f"{WHERE}is_defined()",
    "is_defined of a value": f"{WHERE}is_defined('x')",
    "is_defined of two": f"{WHERE}is_defined(tags.a, tags.b)",
    "startswith of one": f"{WHERE}startswith(deviceId)",
    "startswith of three": f"{WHERE}startswith(deviceId, 'a', true)",
    "an aggregate in a condition": f"{WHERE}COUNT() > 1",
    "ORDER BY": "SELECT * FROM devices ORDER BY deviceId",
    "HAVING": "SELECT status FROM devices GROUP BY status HAVING COUNT() > 1",
    "TOP without a number": "SELECT TOP * FROM devices",
    "TOP none": "SELECT TOP 0 * FROM devices",
    "TOP a half": "SELECT TOP 0.5 * FROM devices",
    "TOP less than none": "SELECT TOP -1 * FROM devices",
    "a comma too many": "SELECT deviceId, FROM devices",
    "a field beside the star": "SELECT *, deviceId FROM devices",
    "AS without a name": "SELECT deviceId AS FROM devices",
    "AS a path": "SELECT deviceId AS a.b FROM devices",
    "COUNT of something": "SELECT COUNT(deviceId) AS n FROM devices",
    "SUM of nothing": "SELECT SUM() AS n FROM devices",
    "a field beside a count": "SELECT deviceId, COUNT() AS n FROM devices",
    "a field that is not grouped by": "SELECT deviceId, COUNT() AS n FROM devices GROUP BY status",
    "the star of groups": "SELECT * FROM devices GROUP BY status",
    "GROUP without BY": "SELECT status FROM devices GROUP status",
    "a second query": "SELECT * FROM devices; SELECT * FROM devices",
    "too many parentheses": f"{WHERE}{'(' * 5000}1{')' * 5000}",
    "too many functions": f"{WHERE}{'startswith(' * 5000}",
    "a letter that nobody knows": f"{WHERE}tags.a = §",
    "NUL": f"{WHERE}tags.a = \0",
}


@pytest.mark.parametrize("name", ERRORS)
async def test_errors(client: Client, name: str) -> None:
    """What is not understood is refused, and the hub does not say why."""
    assert await asked(client, ERRORS[name]) == BAD


async def test_many_alternatives(fleet: Client) -> None:
    """A condition may be long; NOT may be repeated."""
    condition = " OR ".join(f"deviceId = 'd{number}'" for number in range(5000))
    assert await asked(fleet, f"{IDS}{condition} OR tags.floor = 1") == [{"deviceId": "ax-1"}]
    assert await asked(fleet, f"{IDS}{'NOT ' * 5000} tags.floor = 1") == [{"deviceId": "ax-1"}]
