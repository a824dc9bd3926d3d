"""`/twins` of the emulated hub, by HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hub_client import KEYS, UNAUTHORIZED, Client, owner, token

from edgeherd_sim.hub import views
from edgeherd_sim.hub.server import Hub, serve
from edgeherd_sim.hub.throttle import Operation

DEVICE, MODULE = "/twins/press-01", "/twins/press-01/modules/vision"
STALE = "AAAAAAAAAAk="
BEARER = "Bearer entra"
EDGE = {"capabilities": {"iotEdge": True}, "authentication": KEYS}
NOT_FOUND = (404, "DeviceNotFound")
CONFLICT = (412, "PreconditionFailed")


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A hub that takes one bearer token."""
    async with serve(bearer_token="entra") as running:
        yield running


@pytest.fixture
async def furnished(client: Client) -> Client:
    """A hub with an edge device and a module."""
    await client.made(EDGE)
    await client.send("PUT", "/devices/press-01/modules/vision", {})
    return client


def core(body: Any) -> Any:
    """What a client writes of a twin."""
    desired = {name: value for name, value in body["properties"]["desired"].items() if name != "$metadata"}
    return body.get("tags"), desired, body["version"]


@pytest.mark.parametrize("path", [pytest.param(DEVICE, id="of a device"), pytest.param(MODULE, id="of a module")])
async def test_a_twin_is_read(hub: Hub, furnished: Client, path: str) -> None:
    """A twin comes whole, with its own etag in the header and that of its identity in the body."""
    answer = await furnished.send("GET", path)
    key = ("press-01", "vision" if path == MODULE else "")
    assert answer.outcome == (200, "")
    assert answer.body == views.twin(*hub.store.twin(key))
    assert answer.body["deviceEtag"] == hub.store.identities[key].etag
    assert answer.headers["ETag"] == f'"{answer.body["etag"]}"'
    assert {"generationId", "authentication", "connectionStateUpdatedTime"} & set(answer.body) == set()


@pytest.mark.parametrize("path", [pytest.param(DEVICE, id="of a device"), pytest.param(MODULE, id="of a module")])
async def test_a_twin_is_written(furnished: Client, path: str) -> None:
    """A PATCH merges, a PUT replaces; each answers with the twin as it then is."""
    first = {"tags": {"line": 1, "site": {"hall": "A"}}, "properties": {"desired": {"speed": 3, "mode": "slow"}}}
    answers = [
        await furnished.send("PATCH", path, first),
        await furnished.send("PATCH", path, {"tags": {"line": None, "site": {"hall": None}}}),
        await furnished.send("PATCH", path, {"properties": {"desired": {"speed": None}}}),
        await furnished.send("PATCH", path, {"tags": {"site": None}}),
        await furnished.send("PUT", path, {"tags": {"line": 2}}),
    ]
    assert [core(answer.body) for answer in answers] == [
        ({"line": 1, "site": {"hall": "A"}}, {"speed": 3, "mode": "slow", "$version": 2}, 3),
        ({"site": {}}, {"speed": 3, "mode": "slow", "$version": 2}, 4),
        ({"site": {}}, {"mode": "slow", "$version": 3}, 5),
        (None, {"mode": "slow", "$version": 3}, 6),
        ({"line": 2}, {"$version": 4}, 7),
    ]
    assert [answer.headers["ETag"] for answer in answers] == [f'"{answer.body["etag"]}"' for answer in answers]
    assert len({answer.body["etag"] for answer in answers}) == len(answers)
    assert (await furnished.send("GET", path)).body == answers[-1].body


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize(
    ("if_match", "expected"),
    [
        pytest.param(None, (200, ""), id="no If-Match"),
        pytest.param("*", (200, ""), id="a star"),
        pytest.param('"*"', (200, ""), id="a star in quotation marks, as the SDK sends it"),
        pytest.param("{}", (200, ""), id="the etag"),
        pytest.param('"{}"', (200, ""), id="the etag in quotation marks"),
        pytest.param(f'"{STALE}"', CONFLICT, id="another etag"),
        pytest.param(STALE, CONFLICT, id="another etag without quotation marks"),
        pytest.param('"identity"', CONFLICT, id="the etag of the identity"),
    ],
)
async def test_if_match(furnished: Client, method: str, if_match: str | None, expected: tuple[int, str]) -> None:
    """What does not fit is refused and changes nothing."""
    before = (await furnished.send("GET", DEVICE)).body
    if if_match == '"identity"':
        if_match = f'"{before["deviceEtag"]}"'
    sent = None if if_match is None else if_match.format(before["etag"])
    answer = await furnished.send(method, DEVICE, {"tags": {"line": 1}}, if_match=sent)
    after = (await furnished.send("GET", DEVICE)).body
    assert answer.outcome == expected
    assert after == (answer.body if expected[0] == 200 else before)


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT"])
@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/twins/absent", id="a device that is not there"),
        pytest.param("/twins/press-01/modules/absent", id="a module that is not there is a missing device"),
        pytest.param("/twins/absent/modules/vision", id="a module of a device that is not there"),
    ],
)
async def test_missing_twins(furnished: Client, method: str, path: str) -> None:
    """Missing twins are 404 DeviceNotFound in the first envelope, to signatures and bearers alike."""
    body = None if method == "GET" else {"tags": {}}
    answers = [await furnished.send(method, path, body, authorization=who) for who in (None, BEARER)]
    device = path.split("/")[2]
    assert [answer.outcome for answer in answers] == [NOT_FOUND] * 2
    assert {answer.body["Message"] for answer in answers} == {f"ErrorCode:DeviceNotFound;{device}"}


async def test_twins_of_a_disabled_device(furnished: Client) -> None:
    """Twins of modules keep working when their device is disabled."""
    await furnished.control("POST", "/devices/press-01/disable")
    answers = [await furnished.send(method, MODULE, body) for method, body in (("GET", None), ("PATCH", {"tags": {}}))]
    assert [answer.outcome for answer in answers] == [(200, "")] * 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"{", (400, "IotHubFormatError"), id="no JSON"),
        pytest.param([1], (400, "IotHubFormatError"), id="a list"),
        pytest.param(b"[" * 100_000, (400, "IotHubFormatError"), id="JSON without a floor"),
        pytest.param(b'{"tags": {"a": NaN}}', (400, "IotHubFormatError"), id="a number that is none"),
        pytest.param(b'{"tags": {"a": 1e999}}', (400, "IotHubFormatError"), id="a number beyond all bounds"),
        pytest.param(b'{"tags": {"a": "\\ud800"}}', (400, "IotHubFormatError"), id="half a character"),
        pytest.param({"tags": [1]}, (400, "ArgumentInvalid"), id="tags that are a list"),
        pytest.param({"tags": {"a b": 1}}, (400, "ArgumentInvalid"), id="a name with a space"),
        pytest.param({"tags": {"a": "x" * 4097}}, (400, "ArgumentInvalid"), id="a value that is too large"),
        pytest.param({"properties": {"desired": {"a": [None]}}}, (400, "ArgumentInvalid"), id="a null in an array"),
    ],
)
async def test_bodies_that_are_refused(furnished: Client, body: Any, expected: tuple[int, str]) -> None:
    """A twin that Azure would not store is refused whole."""
    before = (await furnished.send("GET", DEVICE)).body
    outcomes = [(await furnished.send(method, DEVICE, body)).outcome for method in ("PATCH", "PUT")]
    assert outcomes == [expected] * 2
    assert (await furnished.send("GET", DEVICE)).body == before


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"tags": {"a": None}}, id="a tag"),
        pytest.param({"tags": {"a": {"b": None}}}, id="a nested tag"),
        pytest.param({"properties": {"desired": {"a": None}}}, id="a desired property"),
    ],
)
async def test_nulls(furnished: Client, body: Any) -> None:
    """In a PATCH null removes; in a PUT it would be stored, which is refused."""
    before = (await furnished.send("GET", DEVICE)).body
    assert (await furnished.send("PUT", DEVICE, body)).outcome == (400, "ArgumentInvalid")
    assert (await furnished.send("GET", DEVICE)).body == before
    assert (await furnished.send("PATCH", DEVICE, body)).outcome == (200, "")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param("iothubowner", (200, ""), id="the owner"),
        pytest.param("service", (200, ""), id="a service"),
        pytest.param("registryReadWrite", UNAUTHORIZED, id="who may write the registry only"),
        pytest.param("registryRead", UNAUTHORIZED, id="who may read the registry only"),
        pytest.param("device", UNAUTHORIZED, id="a device's policy"),
    ],
)
async def test_who_may(hub: Hub, furnished: Client, policy: str, expected: tuple[int, str]) -> None:
    """Twins want ServiceConnect."""
    outcomes = [
        (await furnished.send(method, path, body, authorization=owner(hub, policy))).outcome
        for path in (DEVICE, MODULE)
        for method, body in (("GET", None), ("PATCH", {}), ("PUT", {}))
    ]
    assert outcomes == [expected] * 6


async def test_a_device_s_own_key_does_not_open_its_twin(hub: Hub, furnished: Client) -> None:
    """The service's address is for services."""
    key = KEYS["symmetricKey"]["primaryKey"]  # type: ignore[index]
    own = token(f"{hub.authority}/devices/press-01", key)
    assert (await furnished.send("GET", DEVICE, authorization=own)).outcome == UNAUTHORIZED


@pytest.mark.parametrize(
    ("used_up", "expected"),
    [
        pytest.param(Operation.TWIN_READ, [429, 200, 200], id="reads"),
        pytest.param(Operation.TWIN_WRITE, [200, 429, 429], id="writes"),
        pytest.param(Operation.REGISTRY, [200, 200, 200], id="the registry"),
    ],
)
async def test_budgets(
    hub: Hub, furnished: Client, monkeypatch: pytest.MonkeyPatch, used_up: Operation, expected: list[int]
) -> None:
    """Reads and writes of twins have budgets of their own."""
    monkeypatch.setattr(hub.throttle, "units", 1)
    monkeypatch.setattr(hub.throttle, "_clock", lambda: 1000.0)
    hub.throttle.admit(
        used_up, {Operation.TWIN_READ: 7000, Operation.TWIN_WRITE: 3500, Operation.REGISTRY: 116}[used_up]
    )
    found = [
        (await furnished.send(method, DEVICE, body)).status
        for method, body in (("GET", None), ("PATCH", {}), ("PUT", {}))
    ]
    assert found == expected
