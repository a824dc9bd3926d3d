"""Faults on order: what goes wrong, for which requests, and how long."""

import asyncio
import contextlib
import http.client
import json
import ssl
from typing import Any

import pytest
from hub_client import KEYS, UNAUTHORIZED, Client, owner

from edgeherd_sim.hub.errors import CODES
from edgeherd_sim.hub.server import Hub

GOOD = (200, "")
THROTTLED = (429, "ThrottlingBacklogTimeout")
UNAVAILABLE = (503, "ServiceUnavailable")


def ended(hub: Hub, method: str, target: str, body: Any = None) -> Any:
    """The outcome of one request on a connection of its own, without any second try; 'cut' when there is none."""
    context = ssl.create_default_context(cafile=hub.ca_file)
    connection = http.client.HTTPSConnection("localhost", hub.port, context=context, timeout=30)
    with contextlib.closing(connection):
        try:
            url = f"{target}?api-version=2021-04-12"
            connection.request(method, url, json.dumps(body), {"Authorization": owner(hub)})
            response = connection.getresponse()
        except ConnectionError:
            return "cut"
        return response.status, response.headers.get("iothub-errorcode", "")


@pytest.mark.parametrize(
    ("fault", "expected", "happened"),
    [
        pytest.param({"kind": "error"}, UNAVAILABLE, False, id="an error is 503 unless said otherwise"),
        pytest.param(
            {"kind": "error", "code": "IotHubQuotaExceeded"},
            (403, "IotHubQuotaExceeded"),
            False,
            id="an error by its name",
        ),
        pytest.param({"kind": "throttle"}, THROTTLED, False, id="throttle is the 429 of a full backlog"),
        pytest.param({"kind": "refuse-credential"}, UNAUTHORIZED, False, id="a good credential is refused"),
        pytest.param({"kind": "drop"}, "cut", False, id="drop cuts the connection before anything is done"),
        pytest.param(
            {"kind": "drop-after-commit"}, "cut", True, id="drop-after-commit cuts it after everything was done"
        ),
        pytest.param({"kind": "latency", "delay": 0.01}, GOOD, True, id="latency only takes time"),
    ],
)
async def test_kinds(hub: Hub, fault: dict[str, Any], expected: Any, happened: bool) -> None:
    """What the client sees, whether the device was made, and what the request log says; the next request goes well."""
    hub.faults.add(**fault, count=1)
    assert await asyncio.to_thread(ended, hub, "PUT", "/devices/press-01", {"authentication": KEYS}) == expected
    assert [device.device_id for device in hub.store.devices()] == (["press-01"] if happened else [])
    status, error = (0, "") if expected == "cut" else expected
    found = [(entry.status, entry.error, entry.faults) for entry in hub.requests]
    assert found == [(status, error, (fault["kind"],))]
    assert await asyncio.to_thread(ended, hub, "GET", "/devices") == GOOD
    assert hub.faults.listed() == []


async def test_every_error_can_be_ordered(hub: Hub, client: Client) -> None:
    """Each of Microsoft's names comes with its own status."""
    found = {}
    for code in CODES:
        hub.faults.add("error", code=code, count=1)
        found[code] = (await client.send("GET", "/devices")).outcome
    assert found == {code: (status, code) for code, (status, _) in CODES.items()}


async def test_the_words_of_a_throttled_hub(hub: Hub, client: Client) -> None:
    """The 429 says how long to wait in its text, has no Retry-After, and closes the connection."""
    hub.faults.add("throttle")
    answer = await client.send("GET", "/devices")
    assert answer.body["Message"] == (
        "ErrorCode:ThrottlingBacklogTimeout;"
        "The request has been throttled. Wait 10 seconds and try again. Operation type: CRUD"
    )
    assert "Retry-After" not in answer.headers
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        pytest.param({}, {"get", "list", "put", "statistics"}, id="without a choice all requests are meant"),
        pytest.param({"method": "PUT"}, {"put"}, id="one method"),
        pytest.param({"method": "put"}, {"put"}, id="one method in small letters"),
        pytest.param({"path": "press-01$"}, {"get"}, id="one device"),
        pytest.param({"path": "^/devices"}, {"get", "list", "put"}, id="one part of the hub"),
        pytest.param({"path": "^/devices/", "method": "GET"}, {"get"}, id="method and path together"),
        pytest.param({"path": "nowhere"}, set(), id="a path that nobody asks for"),
    ],
)
async def test_which_requests_are_meant(hub: Hub, client: Client, fault: dict[str, Any], hit: set[str]) -> None:
    """Method and path choose the requests that a fault is for."""
    hub.faults.add("error", **fault)
    requests = {
        "get": ("GET", "/devices/press-01"),
        "list": ("GET", "/devices"),
        "put": ("PUT", "/devices/press-02"),
        "statistics": ("GET", "/statistics/devices"),
    }
    found = {name for name, (method, path) in requests.items() if (await client.send(method, path, {})).status == 503}
    assert found == hit


async def test_the_path_is_the_decoded_one(hub: Hub, client: Client) -> None:
    """A fault finds a device by its id, however the client encodes it."""
    hub.faults.add("error", path=r"^/devices/a#b$")
    assert (await client.send("GET", "/devices/a%23b")).outcome == UNAVAILABLE


async def test_faults_that_are_counted(hub: Hub, client: Client) -> None:
    """A fault is spent after so many requests that it hits; others do not count."""
    hub.faults.add("error", count=2, method="GET")
    found = [(await client.put(device_id="a")).status]
    found += [(await client.send("GET", "/devices")).status for _ in range(3)]
    assert found == [200, 503, 503, 200]


async def test_faults_that_pass(hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault is over after so many seconds."""
    clock = [100.0]
    monkeypatch.setattr(hub.faults, "_clock", lambda: clock[0])
    hub.faults.add("error", seconds=30)
    found = []
    for at in (100.0, 129.9, 130.0):
        clock[0] = at
        found.append((at, (await client.send("GET", "/devices")).status, len(hub.faults.listed())))
    assert found == [(100.0, 503, 1), (129.9, 503, 1), (130.0, 200, 0)]


async def test_faults_that_stay(hub: Hub, client: Client) -> None:
    """Without an end a fault stays until it is taken back."""
    hub.faults.add("error")
    found = [(await client.send("GET", "/devices")).status for _ in range(5)]
    hub.faults.clear()
    found.append((await client.send("GET", "/devices")).status)
    assert found == [503] * 5 + [200]


async def test_several_faults(hub: Hub, client: Client) -> None:
    """Latencies add to whatever comes first of all else; what comes later waits for its turn."""
    hub.faults.add("latency", delay=0.001)
    hub.faults.add("throttle", count=1)
    hub.faults.add("error", code="ServerError", count=1)
    found = [(await client.send("GET", "/devices")).status for _ in range(3)]
    assert found == [429, 500, 200]
    assert [entry.faults for entry in hub.requests] == [("latency", "throttle"), ("latency", "error"), ("latency",)]
