"""`/devices/{device}/modules` of the emulated hub, by HTTP."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hub_client import KEYS, UNAUTHORIZED, Answer, Client, owner

from edgeherd_sim.hub import views
from edgeherd_sim.hub.server import Hub, serve

LIST, ONE = "/devices/press-01/modules", "/devices/press-01/modules/vision"
BEARER = "Bearer entra"
EDGE = {"capabilities": {"iotEdge": True}, "authentication": KEYS}
OK, DONE = (200, ""), (204, "")
CALLS = (("GET", ""), ("GET", "/vision"), ("PUT", "/vision"), ("DELETE", "/vision"))


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A hub that takes one bearer token."""
    async with serve(bearer_token="entra") as running:
        yield running


@pytest.fixture
async def furnished(client: Client) -> Client:
    """A hub with an edge device and a module."""
    await client.made(EDGE)
    assert (await client.send("PUT", ONE, {"managedBy": "me", "authentication": KEYS})).outcome == OK
    return client


def refusal(answer: Answer) -> tuple[int, str, dict[str, Any]]:
    """Status, code and the flat envelope without what differs each time."""
    body = dict(answer.body)
    assert re.fullmatch(r"[0-9a-f]{32}-G:0", body.pop("trackingId"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body.pop("timestampUtc"))
    return (*answer.outcome, body)


async def test_a_module_s_life(hub: Hub, furnished: Client) -> None:
    """Create, read, list, update and delete: 200 but for the last, with the etag in the header."""
    made = (await furnished.send("GET", ONE)).body
    assert made == views.module(hub.store.module("press-01", "vision"))
    assert (made["managedBy"], made["authentication"]["symmetricKey"]) == ("me", KEYS["symmetricKey"])
    updated = await furnished.send("PUT", ONE, {"moduleId": "vision"}, if_match=f'"{made["etag"]}"')
    assert updated.outcome == OK
    assert updated.headers["ETag"] == f'"{updated.body["etag"]}"'
    assert {name for name in made if made[name] != updated.body[name]} == {"etag", "managedBy", "authentication"}
    listed = await furnished.send("GET", LIST)
    assert listed.body == [views.module(module) for module in hub.store.modules("press-01")]
    assert [module["moduleId"] for module in listed.body] == ["$edgeAgent", "$edgeHub", "vision"]
    assert "ETag" not in listed.headers
    gone = await furnished.send("DELETE", ONE, if_match=f'"{updated.body["etag"]}"')
    assert (gone.outcome, gone.body) == (DONE, None)
    assert (await furnished.send("GET", ONE)).outcome == (404, "ModuleNotFound")


async def test_the_runtime_s_modules(furnished: Client) -> None:
    """An edge device has them from the start; they belong to the hub and have no key."""
    listed = (await furnished.send("GET", LIST)).body[:2]
    keyless = {"primaryKey": None, "secondaryKey": None}
    assert [(each["moduleId"], each["managedBy"], each["authentication"]) for each in listed] == [
        (
            name,
            "iotEdge",
            {
                "type": "none",
                "symmetricKey": keyless,
                "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
            },
        )
        for name in ("$edgeAgent", "$edgeHub")
    ]


REFUSED: dict[str, tuple[str, str, Any, str | None, tuple[int, str, dict[str, Any]]]] = {
    "reading a module that is not there": (
        "GET",
        "absent",
        None,
        None,
        (
            404,
            "ModuleNotFound",
            {"errorCode": 404010, "message": "ModuleNotFound: Module absent of device press-01 is not registered."},
        ),
    ),
    "creating what is there": (
        "PUT",
        "vision",
        {},
        None,
        (
            409,
            "ModuleAlreadyExistsOnDevice",
            {
                "errorCode": 409301,
                "message": "ModuleAlreadyExistsOnDevice: A module with ID 'vision' is already registered on 'press-01'.",
            },
        ),
    ),
    "creating what is the hub's": (
        "PUT",
        "$edgeAgent",
        {},
        None,
        (
            409,
            "ModuleAlreadyExistsOnDevice",
            {
                "errorCode": 409301,
                "message": "ModuleAlreadyExistsOnDevice: A module with ID '$edgeAgent' is already registered on 'press-01'.",
            },
        ),
    ),
    "a name with a leading dollar sign": (
        "PUT",
        "$mine",
        {},
        None,
        (
            400,
            "ArgumentInvalid",
            {
                "errorCode": 400004,
                "message": "ArgumentInvalid: The module identifier is invalid: names with a leading $ belong to the hub.",
            },
        ),
    ),
    "a name with a space": (
        "PUT",
        "a%20b",
        {},
        None,
        (
            400,
            "ArgumentInvalid",
            {"errorCode": 400004, "message": "ArgumentInvalid: The module identifier is invalid."},
        ),
    ),
    "updating what is not there": (
        "PUT",
        "absent",
        {},
        "*",
        (
            404,
            "ModuleNotFound",
            {"errorCode": 404010, "message": "ModuleNotFound: Module absent of device press-01 is not registered."},
        ),
    ),
    "updating what has changed since": (
        "PUT",
        "vision",
        {},
        '"MA=="',
        (
            412,
            "PreconditionFailed",
            {"errorCode": 412001, "message": "PreconditionFailed: Precondition failed: ETag mismatch."},
        ),
    ),
    "deleting without If-Match": (
        "DELETE",
        "vision",
        None,
        None,
        (
            412,
            "PreconditionFailed",
            {"errorCode": 412001, "message": "PreconditionFailed: Precondition failed: Etag missing."},
        ),
    ),
    "deleting what has changed since": (
        "DELETE",
        "vision",
        None,
        "MA==",
        (
            412,
            "PreconditionFailed",
            {"errorCode": 412001, "message": "PreconditionFailed: Precondition failed: ETag mismatch."},
        ),
    ),
    "deleting what is not there": (
        "DELETE",
        "absent",
        None,
        "*",
        (
            404,
            "ModuleNotFound",
            {"errorCode": 404010, "message": "ModuleNotFound: Module absent of device press-01 is not registered."},
        ),
    ),
    "a body that is no JSON": (
        "PUT",
        "sound",
        b"{",
        None,
        (400, "IotHubFormatError", {"errorCode": 400006, "message": "IotHubFormatError: The body is not JSON."}),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refusals(hub: Hub, furnished: Client, name: str) -> None:
    """Refusals come in the second envelope, with Microsoft's number, and change nothing."""
    method, module, body, if_match, expected = REFUSED[name]
    before = dict(hub.store.identities)
    answer = await furnished.send(method, f"{LIST}/{module}", body, if_match=if_match)
    assert (refusal(answer), hub.store.identities) == (expected, before)


@pytest.mark.parametrize("spelling", ["*", '"*"', "{}", '"{}"'])
async def test_if_match(furnished: Client, spelling: str) -> None:
    """Update and delete take all four spellings."""
    etag = (await furnished.send("GET", ONE)).body["etag"]
    updated = await furnished.send("PUT", ONE, {}, if_match=spelling.format(etag))
    gone = await furnished.send("DELETE", ONE, if_match=spelling.format(updated.body["etag"]))
    assert [updated.outcome, gone.outcome] == [OK, DONE]


async def test_a_fiftieth_and_a_fifty_first_module(furnished: Client) -> None:
    """A device has room for fifty modules."""
    for number in range(47):
        furnished.hub.store.put_module("press-01", f"m{number}", {}, None)
    answer = await furnished.send("PUT", f"{LIST}/one-more", {})
    assert refusal(answer) == (
        413,
        "TooManyModulesOnDevice",
        {"errorCode": 413003, "message": "TooManyModulesOnDevice: A device can have 50 modules."},
    )


@pytest.mark.parametrize(
    ("device", "entra", "expected"),
    [
        pytest.param("absent", False, [UNAUTHORIZED] * 4, id="a missing device is a 401 to a signature"),
        pytest.param("absent", True, [(404, "DeviceNotFound")] * 4, id="a missing device is a 404 to a bearer"),
        pytest.param("press-01", False, [UNAUTHORIZED] * 4, id="a disabled device is a 401 to a signature"),
        pytest.param("press-01", True, [OK, OK, OK, DONE], id="a disabled device is none of a bearer's business"),
    ],
)
async def test_devices_that_are_missing_or_disabled(
    furnished: Client, device: str, entra: bool, expected: list[tuple[int, str]]
) -> None:
    """Who asks for the modules of a missing or disabled device hears that he may not, or that it is not there."""
    await furnished.control("POST", "/devices/press-01/disable")
    found = []
    for method, rest in CALLS:
        answer = await furnished.send(
            method,
            f"/devices/{device}/modules{rest}",
            {} if method == "PUT" else None,
            if_match=None if method == "GET" else "*",
            authorization=BEARER if entra else None,
        )
        found.append(answer.outcome)
        if answer.status == 401:
            assert answer.body["errorCode"] == 401002
    assert found == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param("iothubowner", [OK, OK, OK, DONE], id="the owner may do all"),
        pytest.param("registryReadWrite", [OK, OK, OK, DONE], id="who may write the registry may do all"),
        pytest.param("registryRead", [OK, OK, UNAUTHORIZED, UNAUTHORIZED], id="who may read the registry reads"),
        pytest.param("service", [UNAUTHORIZED] * 4, id="a service may do nothing"),
    ],
)
async def test_who_may(hub: Hub, furnished: Client, policy: str, expected: list[tuple[int, str]]) -> None:
    """Modules belong to the registry."""
    found = []
    for method, rest in CALLS:
        answer = await furnished.send(
            method,
            f"{LIST}{rest}",
            {} if method == "PUT" else None,
            if_match=None if method == "GET" else "*",
            authorization=owner(hub, policy),
        )
        found.append(answer.outcome)
    assert found == expected
