"""`POST /devices/{device}/applyConfigurationContent` of the emulated hub: the deployment to one edge device."""

from typing import Any

import pytest
from hub_client import KEYS, UNAUTHORIZED, Client, owner

from edgeherd_sim.hub import views
from edgeherd_sim.hub.server import Hub
from edgeherd_sim.hub.throttle import Operation

TARGET = "/devices/press-01/applyConfigurationContent"
DONE = (204, "")
EDGE = {"capabilities": {"iotEdge": True}}


def content(*listed: str, hub: Any = None, **twins: Any) -> dict[str, Any]:
    """A deployment of modules, some of which have desired properties."""
    agent = {"schemaVersion": "1.1", "modules": {name: {"type": "docker"} for name in listed}}
    modules = {"$edgeAgent": agent, **({} if hub is None else {"$edgeHub": hub}), **twins}
    return {"modulesContent": {name: {"properties.desired": desired} for name, desired in modules.items()}}


def desired(hub: Hub) -> dict[str, Any]:
    """The desired properties of every module."""
    return {key[1]: twin.desired.value for key, twin in hub.store.twins.items() if key[1]}


def snapshot(hub: Hub) -> Any:
    """Everything that the registry knows."""
    return dict(hub.store.identities), dict(hub.store.twins)


@pytest.fixture
async def edge(client: Client) -> Client:
    """A hub with an edge device."""
    await client.made(EDGE)
    return client


AGENT = {"schemaVersion": "1.1", "modules": {}}


def agent(*listed: str) -> dict[str, Any]:
    """The desired properties of `$edgeAgent`."""
    return {"schemaVersion": "1.1", "modules": {name: {"type": "docker"} for name in listed}}


DEPLOYMENTS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "the runtime alone": (
        [content(hub={"routes": {"r": "x"}})],
        {"$edgeAgent": agent(), "$edgeHub": {"routes": {"r": "x"}}},
    ),
    "the runtime's hub may be left out, and keeps what it has": (
        [content(hub={"a": 1}), content()],
        {"$edgeAgent": agent(), "$edgeHub": {"a": 1}},
    ),
    "a module that is listed": ([content("vision")], {"$edgeAgent": agent("vision"), "$edgeHub": {}, "vision": {}}),
    "a module with desired properties": (
        [content("vision", vision={"fps": 5})],
        {"$edgeAgent": agent("vision"), "$edgeHub": {}, "vision": {"fps": 5}},
    ),
    "a module that has desired properties only": (
        [content(sound={"db": 1})],
        {"$edgeAgent": agent(), "$edgeHub": {}, "sound": {"db": 1}},
    ),
    "the set of modules is replaced": (
        [content("vision", "sound", vision={"fps": 5}), content("light", "sound")],
        {"$edgeAgent": agent("light", "sound"), "$edgeHub": {}, "light": {}, "sound": {}},
    ),
    "desired properties are replaced": (
        [content(vision={"fps": 5, "gain": {"a": 1}}), content(vision={"gain": {"b": 2}})],
        {"$edgeAgent": agent(), "$edgeHub": {}, "vision": {"gain": {"b": 2}}},
    ),
    "a module that goes and comes back begins anew": (
        [content(vision={"fps": 5}), content(), content("vision")],
        {"$edgeAgent": agent("vision"), "$edgeHub": {}, "vision": {}},
    ),
    "other members of the document do not matter": (
        [{"$schema": "http://json.schemastore.org/azure-iot-edge-deployment-2.0", **content("vision")}],
        {"$edgeAgent": agent("vision"), "$edgeHub": {}, "vision": {}},
    ),
}


@pytest.mark.parametrize("name", DEPLOYMENTS)
async def test_deployments(hub: Hub, edge: Client, name: str) -> None:
    """204 without a body; then the device has these modules, with these desired properties."""
    bodies, expected = DEPLOYMENTS[name]
    answers = [await edge.send("POST", TARGET, body) for body in bodies]
    assert [(answer.outcome, answer.body) for answer in answers] == [(DONE, None)] * len(bodies)
    assert desired(hub) == expected
    owners = {module.module_id: module.managed_by for module in hub.store.modules("press-01")}
    assert owners == dict.fromkeys(sorted(expected), "iotEdge")


async def test_what_a_deployment_leaves_alone(hub: Hub, edge: Client) -> None:
    """Keys, tags, reports, the device's twin, and modules that somebody else made stay."""
    await edge.send("POST", TARGET, content("vision", vision={"fps": 5}))
    await edge.send("PATCH", "/twins/press-01/modules/vision", {"tags": {"a": 1}})
    await edge.send("PUT", "/devices/press-01/modules/mine", {"authentication": KEYS})
    hub.store.report(("press-01", "vision"), {"fps": 4})
    identities, twins = snapshot(hub)
    await edge.send("POST", TARGET, content("vision", vision={"fps": 6}))
    assert hub.store.identities == identities
    changed = {key for key, twin in hub.store.twins.items() if twin != twins[key]}
    assert changed == {("press-01", "$edgeAgent"), ("press-01", "vision")}
    vision = hub.store.twins["press-01", "vision"]
    before = twins["press-01", "vision"]
    assert (vision.tags, vision.reported, vision.version) == ({"a": 1}, before.reported, before.version + 1)
    assert (vision.desired.value, vision.desired.version) == ({"fps": 6}, before.desired.version + 1)


async def test_a_module_that_somebody_made_is_deployed_to(hub: Hub, edge: Client) -> None:
    """A deployment takes a module as it is, with its keys."""
    made = (await edge.send("PUT", "/devices/press-01/modules/vision", {"authentication": KEYS})).body
    await edge.send("POST", TARGET, content("vision", vision={"fps": 5}))
    assert views.module(hub.store.module("press-01", "vision")) == made
    assert desired(hub)["vision"] == {"fps": 5}


async def test_a_deployed_module_has_no_keys(edge: Client) -> None:
    """The device's daemon gives it some; the hub shows it and its twin like any other."""
    await edge.send("POST", TARGET, content("vision", vision={"fps": 5}))
    module = (await edge.send("GET", "/devices/press-01/modules/vision")).body
    twin = (await edge.send("GET", "/twins/press-01/modules/vision")).body
    found = await edge.send(
        "POST", "/devices/query", {"query": "SELECT * FROM devices.modules WHERE moduleId = 'vision'"}
    )
    assert (module["managedBy"], module["authentication"]) == (
        "iotEdge",
        {
            "type": "none",
            "symmetricKey": {"primaryKey": None, "secondaryKey": None},
            "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
        },
    )
    assert (twin["deviceEtag"], twin["properties"]["desired"]["fps"]) == (module["etag"], 5)
    assert found.body == [twin]


INVALID = (400, "InvalidConfigurationContent")
REFUSED: dict[str, tuple[Any, tuple[int, str]]] = {
    "nothing": ({}, INVALID),
    "content for devices": ({"deviceContent": {"properties.desired.a": 1}}, INVALID),
    "modules that are a list": ({"modulesContent": []}, INVALID),
    "no modules": ({"modulesContent": {}}, INVALID),
    "no agent": ({"modulesContent": {"$edgeHub": {"properties.desired": {}}}}, INVALID),
    "an agent that is null": ({"modulesContent": {"$edgeAgent": None}}, INVALID),
    "an agent without desired properties": ({"modulesContent": {"$edgeAgent": {}}}, INVALID),
    "desired properties that are text": ({"modulesContent": {"$edgeAgent": {"properties.desired": "x"}}}, INVALID),
    "a layer instead of a whole": (
        {"modulesContent": {"$edgeAgent": {"properties.desired.modules.vision": {}}}},
        INVALID,
    ),
    "a layer beside a whole": (
        {"modulesContent": {"$edgeAgent": {"properties.desired": {}, "properties.desired.modules.vision": {}}}},
        INVALID,
    ),
    "a module's property that is null": (content(vision={"a": None}), (400, "ArgumentInvalid")),
    "modules of the agent that are text": (
        {"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": "x"}}}},
        INVALID,
    ),
    "a name with a space": (content("a b"), (400, "ArgumentInvalid")),
    "a name with a space, with desired properties": (content(**{"a b": {}}), INVALID),
    "a name with a leading dollar sign": (content(**{"$mine": {}}), INVALID),
    "a module's property that no twin takes": (content(vision={"a b": 1}), (400, "ArgumentInvalid")),
    "a module's properties that are too large": (
        content(vision={f"p{number}": "x" * 4000 for number in range(9)}),
        (400, "ArgumentInvalid"),
    ),
    "no JSON": (b"{", (400, "IotHubFormatError")),
    "too many modules": (content(*(f"m{number}" for number in range(49))), (413, "TooManyModulesOnDevice")),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_deployments_that_are_refused(hub: Hub, edge: Client, name: str) -> None:
    """A refused deployment changes nothing."""
    body, expected = REFUSED[name]
    await edge.send("POST", TARGET, content("old", old={"a": 1}))
    before = snapshot(hub)
    answer = await edge.send("POST", TARGET, body)
    assert (answer.outcome, snapshot(hub)) == (expected, before)


async def test_fifty_modules(hub: Hub, edge: Client) -> None:
    """Fifty modules fit, the runtime's included, also in the place of fifty others."""
    bodies = [content(*(f"{letter}{number}" for number in range(48))) for letter in "ab"]
    answers = [await edge.send("POST", TARGET, body) for body in bodies]
    assert [answer.outcome for answer in answers] == [DONE, DONE]
    assert len(hub.store.modules("press-01")) == 50


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        pytest.param("absent", (404, "DeviceNotFound"), id="a device that is not there"),
        pytest.param("leaf", (400, "InvalidOperation"), id="a device that is no edge device"),
        pytest.param("press-01", DONE, id="a device that is disabled"),
    ],
)
async def test_devices(edge: Client, device: str, expected: tuple[int, str]) -> None:
    """Only edge devices are deployed to."""
    await edge.made(device_id="leaf")
    await edge.control("POST", "/devices/press-01/disable")
    answer = await edge.send("POST", f"/devices/{device}/applyConfigurationContent", content())
    assert answer.outcome == expected


async def test_another_deployment_under_way(hub: Hub, edge: Client) -> None:
    """The hub's refusal while another deployment is under way can be ordered."""
    hub.faults.add("error", code="ApplyConfigurationAlreadyInProgressOnDevice", count=1)
    answers = [await edge.send("POST", TARGET, content()) for _ in range(2)]
    assert [answer.outcome for answer in answers] == [(409, "ApplyConfigurationAlreadyInProgressOnDevice"), DONE]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param("service", DONE, id="a service"),
        pytest.param("registryReadWrite", UNAUTHORIZED, id="who may write the registry only"),
    ],
)
async def test_who_may(hub: Hub, edge: Client, policy: str, expected: tuple[int, str]) -> None:
    """Deployments want ServiceConnect."""
    assert (await edge.send("POST", TARGET, content(), authorization=owner(hub, policy))).outcome == expected


async def test_the_budget(hub: Hub, edge: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deployments share the budget of configurations."""
    monkeypatch.setattr(hub.throttle, "units", 1)
    monkeypatch.setattr(hub.throttle, "_clock", lambda: 1000.0)
    hub.throttle.admit(Operation.CONFIGURATION, 23)
    assert (await edge.send("POST", TARGET, content())).status == 429
