"""Automatic deployments of the emulated hub are carried out: modules, twins, statuses and counts."""

from typing import Any

import pytest
from hub_client import Client

from edgeherd_sim.hub.server import Hub

EDGE = {"capabilities": {"iotEdge": True}}
SYSTEM = {"edgeAgent": {"type": "docker"}, "edgeHub": {"type": "docker"}}


def agent(**modules: Any) -> dict[str, Any]:
    """The desired properties of `$edgeAgent`."""
    return {"schemaVersion": "1.1", "systemModules": SYSTEM, "modules": modules}


def base(**modules: Any) -> dict[str, Any]:
    """The content of a base deployment."""
    return {
        "modulesContent": {
            "$edgeAgent": {"properties.desired": agent(**modules)},
            "$edgeHub": {"properties.desired": {"routes": {"up": "FROM /* INTO $upstream"}}},
        }
    }


def layer(**modules: Any) -> dict[str, Any]:
    """The content of a layered deployment."""
    return {
        "modulesContent": {
            "$edgeAgent": {f"properties.desired.modules.{name}": said for name, said in modules.items()},
            **{name: {"properties.desired.fps": 5} for name in modules},
        }
    }


async def deploy(client: Client, name: str, content: Any, condition: str = "tags.line = 1", priority: int = 1) -> Any:
    """Write a configuration, which must work; as it is answered."""
    body = {"content": content, "targetCondition": condition, "priority": priority}
    answer = await client.send("PUT", f"/configurations/{name}", body)
    assert answer.outcome == (200, "")
    return answer.body


async def tag(client: Client, tags: dict[str, Any], device: str = "press-01") -> None:
    """Change a device's tags, which must work."""
    assert (await client.send("PATCH", f"/twins/{device}", {"tags": tags})).outcome == (200, "")


async def counts(client: Client, name: str) -> dict[str, int]:
    """What the hub counts of a deployment."""
    return dict((await client.send("GET", f"/configurations/{name}")).body["systemMetrics"]["results"])


def deployed(hub: Hub, device: str = "press-01") -> dict[str, Any]:
    """The desired properties of each module of a device."""
    return {key[1]: twin.desired.value for key, twin in sorted(hub.store.twins.items()) if key[0] == device and key[1]}


def statuses(hub: Hub, module: str = "", device: str = "press-01") -> dict[str, str]:
    """What a twin is a target of."""
    return dict(hub.store.twins[device, module].configurations)


@pytest.fixture
async def edge(client: Client) -> Client:
    """A hub with an edge device of line 1, one without tags, and a leaf of line 1."""
    for name, body in (("press-01", EDGE), ("press-02", EDGE), ("leaf", {})):
        await client.made(body, device_id=name)
    for name in ("press-01", "leaf"):
        await tag(client, {"line": 1}, name)
    return client


EMPTY: dict[str, Any] = {"$edgeAgent": {}, "$edgeHub": {}}
ROUTES = {"routes": {"up": "FROM /* INTO $upstream"}}


async def test_a_deployment_reaches_its_targets(hub: Hub, edge: Client) -> None:
    """It gives them their modules and says so in their twins; nobody else notices."""
    await deploy(edge, "vision", base(vision={"image": "v:1"}))
    assert [deployed(hub, name) for name in ("press-01", "press-02", "leaf")] == [
        {"$edgeAgent": agent(vision={"image": "v:1"}), "$edgeHub": ROUTES, "vision": {}},
        EMPTY,
        {},
    ]
    twin = (await edge.send("GET", "/twins/press-01")).body
    part = (await edge.send("GET", "/twins/press-01/modules/$edgeAgent")).body
    shown = {"vision": {"status": "Applied"}}
    assert (twin["configurations"], part["configurations"]) == (shown, shown)
    others = [
        (name, module)
        for name, module in hub.store.twins
        if (name, module) not in {("press-01", ""), ("press-01", "$edgeAgent")}
    ]
    assert [hub.store.twins[key].configurations for key in others] == [{}] * len(others)


async def test_a_device_that_comes_later(hub: Hub, edge: Client) -> None:
    """It is a target as soon as its tags, or its edge flag, say so."""
    await deploy(edge, "vision", base(vision={}))
    await tag(edge, {"line": 1}, "press-02")
    await edge.made(EDGE, device_id="leaf", if_match="*")
    assert deployed(hub, "press-02") == deployed(hub, "leaf") == deployed(hub)
    assert await counts(edge, "vision") == {
        "appliedCount": 3,
        "reportedFailedCount": 0,
        "reportedSuccessfulCount": 0,
        "targetedCount": 3,
    }


async def test_the_highest_priority_wins(hub: Hub, edge: Client) -> None:
    """The one below is targeted only; when the winner goes the next one comes, and the modules of the last one stay."""
    await deploy(edge, "low", base(old={}), priority=1)
    await deploy(edge, "high", base(new={}), priority=2)
    found = [(statuses(hub), sorted(deployed(hub)))]
    await edge.send("DELETE", "/configurations/high")
    found.append((statuses(hub), sorted(deployed(hub))))
    await edge.send("DELETE", "/configurations/low")
    found.append((statuses(hub), sorted(deployed(hub))))
    assert found == [
        ({"high": "Applied", "low": "Targeted"}, ["$edgeAgent", "$edgeHub", "new"]),
        ({"low": "Applied"}, ["$edgeAgent", "$edgeHub", "old"]),
        ({}, ["$edgeAgent", "$edgeHub", "old"]),
    ]


async def test_a_priority_that_changes(hub: Hub, edge: Client) -> None:
    """An update of priority or condition counts at once."""
    await deploy(edge, "a", base(old={}), priority=1)
    await deploy(edge, "b", base(new={}), priority=2)
    await edge.send(
        "PUT", "/configurations/a", {"content": base(), "targetCondition": "*", "priority": 3}, if_match="*"
    )
    assert (statuses(hub), sorted(deployed(hub))) == (
        {"a": "Applied", "b": "Targeted"},
        ["$edgeAgent", "$edgeHub", "old"],
    )
    assert sorted(deployed(hub, "press-02")) == ["$edgeAgent", "$edgeHub", "old"]


async def test_layers(hub: Hub, edge: Client) -> None:
    """Layers come and go with tags; a module of a layer that went is gone."""
    await deploy(edge, "base", base(vision={"image": "v:1"}))
    await deploy(edge, "sound", layer(sound={"image": "s:1"}), "tags.sound = true", 2)
    await deploy(edge, "newer", layer(vision={"image": "v:2"}), "tags.newer = true", 3)
    await tag(edge, {"sound": True, "newer": True})
    with_both = deployed(hub), statuses(hub)
    await tag(edge, {"sound": None})
    with_one = deployed(hub), statuses(hub)
    await tag(edge, {"newer": None})
    assert with_both == (
        {
            "$edgeAgent": agent(vision={"image": "v:2"}, sound={"image": "s:1"}),
            "$edgeHub": ROUTES,
            "sound": {"fps": 5},
            "vision": {"fps": 5},
        },
        {"base": "Applied", "newer": "Applied", "sound": "Applied"},
    )
    assert with_one == (
        {"$edgeAgent": agent(vision={"image": "v:2"}), "$edgeHub": ROUTES, "vision": {"fps": 5}},
        {"base": "Applied", "newer": "Applied"},
    )
    assert deployed(hub)["$edgeAgent"] == agent(vision={"image": "v:1"})
    assert statuses(hub) == statuses(hub, "$edgeAgent") == {"base": "Applied"}


async def test_who_is_no_target_any_more_keeps_its_modules(hub: Hub, edge: Client) -> None:
    """Nothing is taken away before another deployment comes."""
    await deploy(edge, "vision", base(vision={}))
    before = deployed(hub)
    await tag(edge, {"line": 2})
    assert (deployed(hub), statuses(hub), statuses(hub, "$edgeAgent")) == (before, {}, {})


async def test_what_is_right_is_not_written_again(hub: Hub, edge: Client) -> None:
    """The versions of desired properties move with their content only."""
    await deploy(edge, "vision", base(vision={}))
    before = {key: twin.desired for key, twin in hub.store.twins.items()}
    await tag(edge, {"shift": "night"})
    await edge.send(
        "PUT", "/configurations/vision", {"content": base(), "targetCondition": "*", "priority": 5}, if_match="*"
    )
    after = {key: twin.desired for key, twin in hub.store.twins.items() if key[0] == "press-01"}
    assert after == {key: desired for key, desired in before.items() if key[0] == "press-01"}


async def test_a_deployment_overrides_what_was_applied_to_one_device(hub: Hub, edge: Client) -> None:
    """What was applied by hand stays until the targets are looked at again."""
    await deploy(edge, "vision", base(vision={}))
    await edge.send("POST", "/devices/press-01/applyConfigurationContent", base(mine={}))
    by_hand = sorted(deployed(hub))
    await tag(edge, {"shift": "night"})
    assert (by_hand, sorted(deployed(hub))) == (
        ["$edgeAgent", "$edgeHub", "mine"],
        ["$edgeAgent", "$edgeHub", "vision"],
    )


async def test_what_does_not_fit_is_not_applied(hub: Hub, edge: Client) -> None:
    """More modules than a device can have, or more than a twin can hold: the deployment is targeted only."""
    await deploy(edge, "many", base(**{f"m{number}": {} for number in range(49)}), priority=1)
    many = statuses(hub), deployed(hub)
    await edge.send("DELETE", "/configurations/many")
    await deploy(edge, "base", base(), priority=1)
    await deploy(edge, "wide", {"deviceContent": {f"properties.desired.p{n}": "x" * 4000 for n in range(8)}})
    await tag(edge, {"line": 3})
    await edge.send("PATCH", "/twins/press-01", {"properties": {"desired": {"mine": "x" * 4000}}})
    await tag(edge, {"line": 1})
    assert many == ({"many": "Targeted"}, EMPTY)
    assert statuses(hub) == {"base": "Applied", "wide": "Applied"}


async def test_reports_move_the_counts(hub: Hub, edge: Client) -> None:
    """Only what an agent says about the newest version counts."""
    await deploy(edge, "vision", base(vision={}), "*")
    version = hub.store.twins["press-01", "$edgeAgent"].desired.version
    found = []
    for device, said, code in (("press-01", version, 200), ("press-02", version - 1, 200), ("press-02", version, 400)):
        report = {"lastDesiredVersion": said, "lastDesiredStatus": {"code": code, "description": ""}}
        await edge.control("PATCH", f"/devices/{device}/modules/$edgeAgent/reported", report)
        found.append(await counts(edge, "vision"))
    both = {"appliedCount": 2, "targetedCount": 2}
    assert found == [
        {**both, "reportedSuccessfulCount": 1, "reportedFailedCount": 0},
        {**both, "reportedSuccessfulCount": 1, "reportedFailedCount": 0},
        {**both, "reportedSuccessfulCount": 1, "reportedFailedCount": 1},
    ]


async def test_settings_of_devices(hub: Hub, edge: Client) -> None:
    """The configuration of the highest priority is in the desired properties, beside what others wrote there."""
    await edge.send("PATCH", "/twins/press-01", {"properties": {"desired": {"mine": 1, "cool": {"max": 1}}}})
    await deploy(edge, "cool", {"deviceContent": {"properties.desired.cool": {"min": 2}}}, priority=2)
    await deploy(edge, "warm", {"deviceContent": {"properties.desired.warm": {"min": 3}}}, priority=1)
    twin = hub.store.twins["press-01", ""]
    assert (twin.desired.value, twin.configurations) == (
        {"mine": 1, "cool": {"min": 2}},
        {"cool": "Applied", "warm": "Targeted"},
    )
    versions = {
        name: member["$lastUpdatedVersion"] for name, member in twin.desired.metadata.items() if name in "mine cool"
    }
    assert (versions, twin.desired.version) == ({"mine": 2, "cool": 3}, 3)
    assert await counts(edge, "cool") == {"appliedCount": 2, "targetedCount": 2}
    assert await counts(edge, "warm") == {"appliedCount": 0, "targetedCount": 2}


async def test_settings_of_modules(hub: Hub, edge: Client) -> None:
    """Modules are configured too, those that a deployment makes as well."""
    await deploy(
        edge, "fast", {"moduleContent": {"properties.desired.fps": 9}}, "FROM devices.modules WHERE moduleId = 'vision'"
    )
    await deploy(edge, "vision", base(vision={}))
    assert (deployed(hub)["vision"], statuses(hub, "vision")) == ({"fps": 9}, {"fast": "Applied"})
    assert await counts(edge, "fast") == {"appliedCount": 1, "targetedCount": 1}


METRICS: dict[str, tuple[str, dict[str, str]]] = {
    "modulesContent, everybody": (
        "*",
        {"targetedCount": "select deviceId from devices where capabilities.iotEdge = true"},
    ),
    "modulesContent, nobody": ("", {"targetedCount": ""}),
    "deviceContent, a condition": (
        "tags.line = 1",
        {
            "appliedCount": "select deviceId from devices where configurations.[[x]].status = 'Applied'",
            "targetedCount": "select deviceId from devices where tags.line = 1",
        },
    ),
    "deviceContent, everybody": (
        "*",
        {
            "appliedCount": "select deviceId from devices where configurations.[[x]].status = 'Applied'",
            "targetedCount": "select deviceId from devices",
        },
    ),
    "moduleContent, a condition": (
        "FROM devices.modules WHERE tags.line = 1",
        {
            "appliedCount": "select deviceId from devices.modules where configurations.[[x]].status = 'Applied'",
            "targetedCount": "select deviceId FROM devices.modules WHERE tags.line = 1",
        },
    ),
}


@pytest.mark.parametrize("name", METRICS)
async def test_the_queries_of_the_counts(client: Client, name: str) -> None:
    """They are shown with the deployment, and can be asked as they are."""
    condition, expected = METRICS[name]
    shown = await deploy(client, "x", {name.split(",", maxsplit=1)[0]: {}}, condition)
    queries = shown["systemMetrics"]["queries"]
    assert {key: queries[key] for key in expected} == expected
    answers = [await client.send("POST", "/devices/query", {"query": query}) for query in queries.values() if query]
    assert [answer.outcome for answer in answers] == [(200, "")] * len(answers)


async def test_metrics_of_ones_own(edge: Client) -> None:
    """They count rows; what is no query is kept and has no count."""
    queries = {
        "first": "SELECT TOP 1 deviceId FROM devices",
        "line": "SELECT * FROM devices WHERE tags.line = 1",
        "odd": "select *",
    }
    answer = await edge.send("PUT", "/configurations/x", {"content": base(), "metrics": {"queries": queries}})
    assert answer.body["metrics"] == {"queries": queries, "results": {"first": 1, "line": 2}}


async def test_the_children_of_an_edge_device(hub: Hub, edge: Client) -> None:
    """The query of `az iot hub device-identity children list` finds edge devices and leaves."""
    scope = hub.store.device("press-01").device_scope
    own = hub.store.device("press-02").device_scope
    await edge.made({**EDGE, "deviceScope": own, "parentScopes": [scope]}, device_id="press-02", if_match="*")
    await edge.made({"deviceScope": scope}, device_id="leaf", if_match="*")
    query = f"select deviceId from devices where array_contains(parentScopes, '{scope}')"  # noqa: S608 - no database
    found = await edge.send("POST", "/devices/query", {"query": query})
    assert (found.outcome, found.body) == ((200, ""), [{"deviceId": "leaf"}, {"deviceId": "press-02"}])
