"""Edge devices of the emulated hub: scopes, parents, and the modules that every edge device has."""

from collections.abc import Callable
from typing import Any

import pytest
from hub_client import KEYS, Client

from edgeherd_sim.hub.server import Hub

EDGE = {"capabilities": {"iotEdge": True}, "authentication": KEYS}
LEAF = {"capabilities": {"iotEdge": False}, "authentication": KEYS}
PARENT = "ms-azure-iot-edge://line-1-638000000000000001"
OTHER = "ms-azure-iot-edge://line-2-638000000000000002"
IMMUTABLE = "ErrorCode:InvalidDeviceScope;Device scope is immutable."


def links(body: Any) -> tuple[str | None, list[str] | None]:
    """Scope and parents of a device."""
    return body.get("deviceScope"), body.get("parentScopes")


async def test_a_new_edge_device(hub: Hub, client: Client) -> None:
    """The hub gives it a scope with its generation, no parents, and the two modules of the runtime."""
    body = await client.made(EDGE)
    assert links(body) == (f"ms-azure-iot-edge://press-01-{body['generationId']}", [])
    modules = hub.store.modules("press-01")
    assert [(module.module_id, module.managed_by, module.authentication.type) for module in modules] == [
        ("$edgeAgent", "iotEdge", "none"),
        ("$edgeHub", "iotEdge", "none"),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            {**EDGE, "deviceScope": PARENT}, ("own", []), id="an edge device's own wish for a scope is ignored"
        ),
        pytest.param({**EDGE, "parentScopes": [PARENT]}, ("own", [PARENT]), id="an edge device names its parent"),
        pytest.param({**EDGE, "parentScopes": []}, ("own", []), id="an edge device without parent"),
        pytest.param(LEAF, (None, None), id="a leaf without parent"),
        pytest.param({**LEAF, "deviceScope": ""}, (None, None), id="a leaf with an empty scope"),
        pytest.param({**LEAF, "deviceScope": PARENT}, (PARENT, [PARENT]), id="a leaf names its parent by the scope"),
        pytest.param({**LEAF, "parentScopes": [PARENT]}, (None, None), id="a leaf's parents alone are ignored"),
    ],
)
async def test_scopes_at_creation(client: Client, body: Any, expected: tuple[str | None, list[str] | None]) -> None:
    """Who names a parent how."""
    answer = await client.made(body)
    own = f"ms-azure-iot-edge://press-01-{answer['generationId']}"
    assert links(answer) == (own if expected[0] == "own" else expected[0], expected[1])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({**EDGE, "parentScopes": [PARENT, OTHER]}, id="two parents"),
        pytest.param({**EDGE, "parentScopes": ["line-1"]}, id="a parent that is no scope"),
        pytest.param({**LEAF, "deviceScope": "line-1"}, id="a scope that is none"),
        pytest.param({**LEAF, "deviceScope": "ms-azure-iot-edge://"}, id="a scope of nobody"),
    ],
)
async def test_scopes_that_are_refused(client: Client, body: Any) -> None:
    """A scope must be one, and a device has one parent."""
    assert (await client.put(body)).outcome == (400, "InvalidDeviceScope")


Change = Callable[[str], dict[str, Any]]
UPDATES: dict[str, tuple[dict[str, Any], Change, tuple[str | None, list[str] | None] | str]] = {
    "an edge device that sends its scope keeps it": (EDGE, lambda own: {**EDGE, "deviceScope": own}, ("own", [])),
    "an edge device must send its scope": (EDGE, lambda _: EDGE, IMMUTABLE),
    "an empty scope is none": (EDGE, lambda _: {**EDGE, "deviceScope": ""}, IMMUTABLE),
    "a scope of null is none": (EDGE, lambda _: {**EDGE, "deviceScope": None}, IMMUTABLE),
    "an edge device cannot take another scope": (EDGE, lambda _: {**EDGE, "deviceScope": PARENT}, IMMUTABLE),
    "an edge device gets a parent": (
        EDGE,
        lambda own: {**EDGE, "deviceScope": own, "parentScopes": [PARENT]},
        ("own", [PARENT]),
    ),
    "an edge device changes its parent": (
        {**EDGE, "parentScopes": [PARENT]},
        lambda own: {**EDGE, "deviceScope": own, "parentScopes": [OTHER]},
        ("own", [OTHER]),
    ),
    "parents that are left out are detached": (
        {**EDGE, "parentScopes": [PARENT]},
        lambda own: {**EDGE, "deviceScope": own},
        ("own", []),
    ),
    "an empty list of parents detaches": (
        {**EDGE, "parentScopes": [PARENT]},
        lambda own: {**EDGE, "deviceScope": own, "parentScopes": []},
        ("own", []),
    ),
    "a leaf changes its parent": (
        {**LEAF, "deviceScope": PARENT},
        lambda _: {**LEAF, "deviceScope": OTHER},
        (OTHER, [OTHER]),
    ),
    "a leaf whose scope is left out is detached": ({**LEAF, "deviceScope": PARENT}, lambda _: LEAF, (None, None)),
    "a leaf becomes an edge device": (LEAF, lambda _: EDGE, ("ms-azure-iot-edge://press-01-", [])),
    "a leaf with a parent becomes an edge device and keeps it": (
        {**LEAF, "deviceScope": PARENT},
        lambda _: {**EDGE, "deviceScope": "", "parentScopes": [PARENT]},
        ("ms-azure-iot-edge://press-01-", [PARENT]),
    ),
    "a leaf that becomes an edge device must not send its parent's scope": (
        {**LEAF, "deviceScope": PARENT},
        lambda _: {**EDGE, "deviceScope": PARENT, "parentScopes": [PARENT]},
        "ErrorCode:ServiceUnavailable;The request could not be processed.",
    ),
    "an edge device that becomes a leaf loses its parent": (
        {**EDGE, "parentScopes": [PARENT]},
        lambda own: {**LEAF, "deviceScope": own, "parentScopes": [PARENT]},
        (None, None),
    ),
}


@pytest.mark.parametrize("name", UPDATES)
async def test_scopes_at_an_update(client: Client, name: str) -> None:
    """What an update does to scope and parents; a refused one changes nothing."""
    first, change, expected = UPDATES[name]
    before = await client.made(first)
    answer = await client.put(change(before.get("deviceScope", "")), if_match="*")
    if isinstance(expected, str):
        assert answer.body["Message"] == expected
        assert await client.get() == before
    else:
        assert links(answer.body) == (before["deviceScope"] if expected[0] == "own" else expected[0], expected[1])
        assert await client.get() == answer.body


async def test_modules_follow_the_edge_flag(hub: Hub, client: Client) -> None:
    """The modules of the runtime come and go with the flag, and go with the device."""
    await client.made(LEAF)
    found = [list(hub.store.identities)]
    for body in (EDGE, LEAF, EDGE):
        await client.made(body, if_match="*")
        found.append(list(hub.store.identities))
    await client.send("DELETE", "/devices/press-01", if_match="*")
    device, modules = [("press-01", "")], [("press-01", "$edgeAgent"), ("press-01", "$edgeHub")]
    assert found == [device, device + modules, device, device + modules]
    assert (hub.store.identities, hub.store.twins) == ({}, {})
