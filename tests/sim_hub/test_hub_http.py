"""The emulated hub's HTTP: versions, addresses, lists, statistics, headers, and the envelopes of errors."""

import json
import re
from typing import Any

import pytest
from hub_client import UNAUTHORIZED, Client, owner

from edgeherd_sim.hub import wire
from edgeherd_sim.hub.errors import CODES, HubError
from edgeherd_sim.hub.server import Hub

BAD_VERSION = (400, "InvalidProtocolVersion")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        pytest.param("2018-06-30", (200, ""), id="2018-06-30"),
        pytest.param("2020-05-31-preview", (200, ""), id="2020-05-31-preview"),
        pytest.param("2020-09-30", (200, ""), id="2020-09-30"),
        pytest.param("2021-04-12", (200, ""), id="2021-04-12, that of this SDK"),
        pytest.param("2024-03-31", (200, ""), id="2024-03-31, that of Microsoft's newer clients"),
        pytest.param("2021-04-13", BAD_VERSION, id="a day that was no version"),
        pytest.param("2020-05-31", BAD_VERSION, id="a preview without the word"),
        pytest.param("", BAD_VERSION, id="an empty version"),
        pytest.param(None, BAD_VERSION, id="no version"),
    ],
)
async def test_api_versions(client: Client, version: str | None, expected: tuple[int, str]) -> None:
    """The five versions that the service knows are answered, all else is refused."""
    assert (await client.send("GET", "/devices", version=version)).outcome == expected


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        pytest.param("GET", "/", (404, "ResourceNotFound"), id="the root"),
        pytest.param("GET", "/device/press-01", (404, "ResourceNotFound"), id="a word that nobody knows"),
        pytest.param("GET", "/Devices", (404, "ResourceNotFound"), id="a word in other letters"),
        pytest.param("GET", "/devices/press-01/more/of/it", (404, "ResourceNotFound"), id="too long an address"),
        pytest.param("GET", "/jobs", (404, "ResourceNotFound"), id="jobs of import and export"),
        pytest.param("PUT", "/jobs/v2/j1", (404, "ResourceNotFound"), id="a scheduled job"),
        pytest.param("POST", "/twins/press-01/methods", (404, "ResourceNotFound"), id="a direct method"),
        pytest.param("GET", "/digitaltwins/press-01", (404, "ResourceNotFound"), id="a digital twin"),
        pytest.param(
            "PATCH", "/devices/press-01", (405, "MethodNotAllowed"), id="a method that a device does not have"
        ),
        pytest.param("DELETE", "/devices", (405, "MethodNotAllowed"), id="a method that the list does not have"),
    ],
)
async def test_addresses_that_lead_nowhere(client: Client, method: str, target: str, expected: tuple[int, str]) -> None:
    """A wrong address never reads as an absent device."""
    assert (await client.send(method, target)).outcome == expected


async def test_signature_before_version(client: Client) -> None:
    """Who is not let in hears nothing else."""
    answer = await client.send("GET", "/devices/press-01", authorization="", version="none")
    assert answer.outcome == UNAUTHORIZED


async def test_the_envelope_of_an_error(client: Client) -> None:
    """An error names its code in the header and in the text, and comes with a tracking id and a time."""
    answer = await client.send("GET", "/devices/press-01")
    body = dict(answer.body)
    tracking = body.pop("ExceptionMessage")
    assert (answer.outcome, body) == ((404, "DeviceNotFound"), {"Message": "ErrorCode:DeviceNotFound;press-01"})
    assert re.fullmatch(r"Tracking ID:[0-9a-f]{32}-G:0-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", tracking)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert "ETag" not in answer.headers


async def test_the_text_of_a_conflict(client: Client) -> None:
    """The conflict names the device in Microsoft's words."""
    await client.made()
    answer = await client.put()
    assert answer.body["Message"] == "ErrorCode:DeviceAlreadyExists;A device with ID 'press-01' is already registered."


def test_the_flat_envelope() -> None:
    """Errors about modules come with Microsoft's number instead."""
    response = wire.refusal(HubError("ModuleAlreadyExistsOnDevice", "It is there."), flat=True)
    assert isinstance(response.body, bytes)
    body = json.loads(response.body)
    tracking, at = body.pop("trackingId"), body.pop("timestampUtc")
    assert body == {"errorCode": 409301, "message": "ModuleAlreadyExistsOnDevice: It is there."}
    assert re.fullmatch(r"[0-9a-f]{32}-G:0", tracking)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", at)
    assert (response.status, response.headers["iothub-errorcode"]) == (409, "ModuleAlreadyExistsOnDevice")


def test_numbers_begin_with_their_status() -> None:
    """Microsoft's six digits repeat the HTTP status."""
    assert [name for name, (status, number) in CODES.items() if number // 1000 != status] == []


async def test_every_answer_has_a_request_id(client: Client) -> None:
    """Good or bad, each answer can be told from all others."""
    await client.made()
    answers = [
        await client.send("GET", "/devices"),
        await client.send("GET", "/devices/press-01"),
        await client.send("GET", "/devices/absent"),
        await client.send("GET", "/nowhere"),
        await client.send("GET", "/devices", authorization=""),
        await client.send("DELETE", "/devices/press-01", if_match="*"),
        await client.control("GET", "/requests"),
    ]
    assert len({answer.headers["x-ms-request-id"] for answer in answers}) == len(answers)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", ["a", "b", "c"], id="all of them"),
        pytest.param("?top=2", ["a", "b"], id="the first two"),
        pytest.param("?top=1000", ["a", "b", "c"], id="more than there are"),
        pytest.param("?top=5000", ["a", "b", "c"], id="more than a list can hold"),
        pytest.param("?top=x", (400, "ArgumentInvalid"), id="no number"),
    ],
)
async def test_list(client: Client, query: str, expected: list[str] | tuple[int, str]) -> None:
    """The list is a bare array of whole identities, without paging."""
    made = {name: await client.made(device_id=name) for name in ("b", "a", "c")}
    answer = await client.send("GET", f"/devices{query}")
    if isinstance(expected, tuple):
        assert answer.outcome == expected
    else:
        assert answer.body == [made[name] for name in expected]
        assert "ETag" not in answer.headers


async def test_a_list_holds_a_thousand(hub: Hub, client: Client) -> None:
    """The list never has more than 1000 devices."""
    for number in range(1001):
        hub.store.put_device(f"press-{number:04}", {}, None)
    lengths = [len((await client.send("GET", f"/devices{query}")).body) for query in ("", "?top=1001", "?top=999")]
    assert lengths == [1000, 1000, 999]


async def test_statistics(hub: Hub, client: Client) -> None:
    """Devices are counted by their status and by whether they are connected; modules are not counted."""
    found: list[Any] = [(await client.send("GET", "/statistics/devices")).body]
    await client.made({"capabilities": {"iotEdge": True}}, device_id="a")
    await client.made(device_id="b")
    await client.made({"status": "disabled"}, device_id="c")
    hub.store.touch(("a", ""))
    found.append((await client.send("GET", "/statistics/devices")).body)
    found.append((await client.send("GET", "/statistics/service")).body)
    assert found == [
        {"totalDeviceCount": 0, "enabledDeviceCount": 0, "disabledDeviceCount": 0},
        {"totalDeviceCount": 3, "enabledDeviceCount": 2, "disabledDeviceCount": 1},
        {"connectedDeviceCount": 1},
    ]


async def test_the_request_log(hub: Hub, client: Client) -> None:
    """Each request is remembered with its end and who asked, and nothing of its headers and body."""
    await client.made()
    await client.send("GET", "/devices/a%2Fb?x=1", authorization=owner(hub, "registryRead"))
    await client.send("GET", "/devices", authorization="Bearer secret")
    listed = (await client.control("GET", "/requests")).body
    times = [entry.pop("at") for entry in listed]
    assert times == sorted(times)
    empty = {"query": "api-version=2021-04-12", "error": "", "caller": "", "faults": []}
    assert listed == [
        {**empty, "method": "PUT", "path": "/devices/press-01", "status": 200, "caller": "iothubowner"},
        {
            **empty,
            "method": "GET",
            "path": "/devices/a/b",
            "query": "x=1&api-version=2021-04-12",
            "status": 404,
            "error": "DeviceNotFound",
            "caller": "registryRead",
        },
        {**empty, "method": "GET", "path": "/devices", "status": 401, "error": "IotHubUnauthorizedAccess"},
    ]
    assert (await client.control("DELETE", "/requests")).status == 204
    assert (await client.control("GET", "/requests")).body == []
