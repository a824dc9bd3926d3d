"""`POST /devices/query` of the emulated hub: pages, tokens, and an index that lags behind."""

import base64
import json
from typing import Any

import pytest
from hub_client import UNAUTHORIZED, Answer, Client, owner

from edgeherd_sim.hub import views
from edgeherd_sim.hub.server import Hub
from edgeherd_sim.hub.throttle import Operation

BAD = (400, "ErrorCode:ArgumentInvalid;BadRequest")
IDS = "SELECT deviceId FROM devices"


async def ask(client: Client, query: Any, token: str | None = None, size: str | None = None, **rest: Any) -> Answer:
    """One page."""
    headers = {"x-ms-continuation": token, "x-ms-max-item-count": size}
    sent = {name: value for name, value in headers.items() if value is not None}
    return await client.send("POST", "/devices/query", {"query": query}, headers=sent, **rest)


async def pages(client: Client, query: str, size: str | None = None) -> list[list[Any]]:
    """All pages of a query."""
    found, token = [], None
    while token is not None or not found:
        answer = await ask(client, query, token, size)
        found.append(answer.body)
        token = answer.headers.get("x-ms-continuation")
    return found


def stocked(hub: Hub, number: int) -> None:
    """Devices d000, d001 and so on."""
    for each in range(number):
        hub.store.put_device(f"d{each:03}", {}, None)


def names(rows: list[list[Any]]) -> list[list[str]]:
    """The ids on each page."""
    return [[row["deviceId"] for row in page] for page in rows]


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        pytest.param("SELECT * FROM devices", "Twin", id="whole twins"),
        pytest.param("SELECT TOP 1 * FROM devices", "Twin", id="the first twins"),
        pytest.param("SELECT * FROM devices.modules", "Twin", id="whole twins of modules"),
        pytest.param("SELECT deviceId FROM devices", "Raw", id="some fields"),
        pytest.param("SELECT COUNT() AS n FROM devices", "Raw", id="a count"),
    ],
)
async def test_the_type_of_the_rows(client: Client, query: str, kind: str) -> None:
    """The hub says whether rows are twins; without a next page there is no token."""
    answer = await ask(client, query)
    assert (answer.status, answer.headers["x-ms-item-type"]) == (200, kind)
    assert "x-ms-continuation" not in answer.headers


async def test_whole_twins(hub: Hub, client: Client) -> None:
    """Rows are twins, in a bare list, of devices or of modules."""
    hub.store.put_device("b", {"capabilities": {"iotEdge": True}}, None)
    hub.store.put_device("a", {}, None)
    hub.store.patch_twin(("a", ""), {"tags": {"x": 1}}, None)
    queries = ("SELECT * FROM devices", "SELECT * FROM devices.modules")
    found = [(await ask(client, query)).body for query in queries]
    keys = ([("a", ""), ("b", "")], [("b", "$edgeAgent"), ("b", "$edgeHub")])
    assert found == [[views.twin(*hub.store.twin(key)) for key in some] for some in keys]


PAGES: dict[str, tuple[str, str | None, list[int]]] = {
    "a hundred without a wish": (IDS, None, [100, 100, 50]),
    "as many as wished": (IDS, "120", [120, 120, 10]),
    "just as many as there are": (IDS, "250", [250]),
    "a wish for more than there are": (IDS, "1000", [250]),
    "a wish for none is none": (IDS, "0", [100, 100, 50]),
    "a wish that is no number is none": (IDS, "many", [100, 100, 50]),
    "a wish of too many digits is none": (IDS, "9" * 5000, [100, 100, 50]),
    "TOP ends within a page": ("SELECT TOP 30 deviceId FROM devices", "20", [20, 10]),
    "TOP ends with a page": ("SELECT TOP 40 deviceId FROM devices", "20", [20, 20]),
    "TOP is more than there are": ("SELECT TOP 300 deviceId FROM devices", "200", [200, 50]),
    "groups": ("SELECT deviceId, COUNT() AS n FROM devices GROUP BY deviceId", "100", [100, 100, 50]),
    "the first groups": ("SELECT TOP 15 deviceId FROM devices GROUP BY deviceId", "10", [10, 5]),
    "matches": ("SELECT deviceId FROM devices WHERE deviceId >= 'd200'", "20", [20, 20, 10]),
}


@pytest.mark.parametrize("name", PAGES)
async def test_pages(hub: Hub, client: Client, name: str) -> None:
    """Pages follow each other without gap and overlap."""
    query, size, lengths = PAGES[name]
    stocked(hub, 250)
    found = names(await pages(client, query, size))
    start = 200 if "WHERE" in query else 0
    assert [len(page) for page in found] == lengths
    assert [name for page in found for name in page] == [
        f"d{number:03}" for number in range(start, start + sum(lengths))
    ]


async def test_pages_of_nothing(client: Client) -> None:
    """An empty hub has one page, which is empty."""
    assert await pages(client, IDS) == [[]]


async def test_changes_between_pages(hub: Hub, client: Client) -> None:
    """Devices that come and go meanwhile do not shift the others."""
    stocked(hub, 6)
    first = await ask(client, IDS, size="3")
    hub.store.remove("d001")
    hub.store.remove("d002")
    hub.store.put_device("d000a", {}, None)
    second = await ask(client, IDS, first.headers["x-ms-continuation"], "3")
    assert names([first.body, second.body]) == [["d000", "d001", "d002"], ["d003", "d004", "d005"]]


async def test_a_token_belongs_to_its_query(hub: Hub, client: Client) -> None:
    """A token of another query, or of nobody, is refused."""
    stocked(hub, 3)
    token = (await ask(client, IDS, size="1")).headers["x-ms-continuation"]
    forged = [
        base64.b64encode(json.dumps(value).encode()).decode() for value in ({}, [], ["x", 1, "d"], 7, [1, "x", 2, 3])
    ]
    attempts = [(f"{IDS} WHERE true", token), *((IDS, value) for value in ("tok2", "!", token[:-4], *forged))]
    found = [await ask(client, query, value) for query, value in attempts]
    assert [(answer.status, answer.body["Message"]) for answer in found] == [BAD] * len(attempts)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({}, "ArgumentInvalid", id="no query"),
        pytest.param({"query": None}, "ArgumentInvalid", id="null"),
        pytest.param({"query": 1}, "ArgumentInvalid", id="a number"),
        pytest.param({"query": ["SELECT * FROM devices"]}, "ArgumentInvalid", id="a list"),
        pytest.param("SELECT * FROM devices", "IotHubFormatError", id="a bare text"),
        pytest.param(None, "IotHubFormatError", id="no body"),
    ],
)
async def test_bodies_that_are_refused(client: Client, body: Any, expected: str) -> None:
    """The body is an object with a text."""
    assert (await client.send("POST", "/devices/query", body)).outcome == (400, expected)


async def test_the_index_lags(client: Client) -> None:
    """A query neither finds what is new nor misses what is gone; a read does both at once."""
    await client.made(device_id="old")
    await client.control("PUT", "/index", {"lag": 3600, "ghost": 3600})
    await client.made(device_id="new")
    await client.send("PATCH", "/twins/old", {"tags": {"a": 1}})
    await client.send("DELETE", "/devices/old", if_match="*")
    rows = (await ask(client, "SELECT deviceId, tags FROM devices")).body
    count = (await ask(client, "SELECT COUNT() AS n FROM devices")).body
    reads = [(await client.send("GET", f"/twins/{name}")).status for name in ("old", "new")]
    assert (rows, count, reads) == ([{"deviceId": "old"}], [{"n": 1}], [404, 200])
    await client.control("PUT", "/index", {})
    assert (await ask(client, IDS)).body == [{"deviceId": "new"}]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param("service", (200, ""), id="a service"),
        pytest.param("registryReadWrite", UNAUTHORIZED, id="who may write the registry only"),
        pytest.param("device", UNAUTHORIZED, id="a device's policy"),
    ],
)
async def test_who_may(hub: Hub, client: Client, policy: str, expected: tuple[int, str]) -> None:
    """Queries want ServiceConnect."""
    assert (await ask(client, IDS, authorization=owner(hub, policy))).outcome == expected


async def test_the_budget(hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit has twenty queries a minute, and every page is one."""
    monkeypatch.setattr(hub.throttle, "units", 1)
    monkeypatch.setattr(hub.throttle, "_clock", lambda: 1000.0)
    stocked(hub, 2)
    first = await ask(client, IDS, size="1")
    second = await ask(client, IDS, first.headers["x-ms-continuation"])
    hub.throttle.admit(Operation.QUERY, 21)
    third = await ask(client, IDS)
    assert [answer.status for answer in (first, second, third)] == [200, 200, 429]


async def test_a_device_named_query(client: Client) -> None:
    """The address of queries is free for a device of that name."""
    await client.made(device_id="query")
    assert (await client.get("query"))["deviceId"] == "query"
    assert (await ask(client, IDS)).body == [{"deviceId": "query"}]
