"""`/configurations` of the emulated hub: how they are written and read, and what is refused."""

import pathlib
from typing import Any

import pytest
from hub_client import UNAUTHORIZED, Client, connected, owner

from edgeherd_sim.hub.server import Hub, serve
from edgeherd_sim.hub.throttle import Operation

ONE = "/configurations/line-1"
CONTENT = {"modulesContent": {"$edgeAgent": {"properties.desired.modules.vision": {"settings": {}}}}}
OTHER = {"deviceContent": {"properties.desired.speed": 3}}
BODY = {
    "id": "line-1",
    "content": CONTENT,
    "labels": {"team": "press"},
    "targetCondition": "tags.line = 1",
    "priority": 7,
    "metrics": {"queries": {"fast": "SELECT deviceId FROM devices WHERE tags.speed > 3"}},
}
AGENT = "select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[line-1]].status = 'Applied'"
REPORTED = f"{AGENT} and properties.desired.$version = properties.reported.lastDesiredVersion and properties.reported."
EDGE_METRICS = {
    "appliedCount": AGENT,
    "reportedFailedCount": f"{REPORTED}lastDesiredStatus.code != 200",
    "reportedSuccessfulCount": f"{REPORTED}lastDesiredStatus.code = 200",
    "targetedCount": "select deviceId from devices where tags.line = 1",
}
OK, DONE = (200, ""), (204, "")
CONFLICT, STALE, ABSENT = (
    (409, "ConfigurationAlreadyExists"),
    (412, "PreconditionFailed"),
    (404, "ConfigurationNotFound"),
)


def edge(**modules: Any) -> dict[str, Any]:
    """A body with content for edge devices."""
    return {"content": {"modulesContent": modules}}


@pytest.fixture
async def stocked(client: Client) -> Client:
    """A hub with a configuration."""
    assert (await client.send("PUT", ONE, BODY)).outcome == OK
    return client


async def test_a_new_configuration(hub: Hub, client: Client) -> None:
    """It is answered whole, with the etag in quotation marks in the header and without them in the body."""
    answer = await client.send("PUT", ONE, BODY)
    kept = hub.store.configurations["line-1"]
    assert (answer.outcome, answer.body) == (
        OK,
        {
            **BODY,
            "schemaVersion": "1.0",
            "createdTimeUtc": kept.created,
            "lastUpdatedTimeUtc": kept.created,
            "systemMetrics": {"results": dict.fromkeys(EDGE_METRICS, 0), "queries": EDGE_METRICS},
            "metrics": {
                "results": {"fast": 0},
                "queries": {"fast": "SELECT deviceId FROM devices WHERE tags.speed > 3"},
            },
            "etag": kept.etag,
        },
    )
    assert answer.headers["ETag"] == f'"{kept.etag}"'
    read = await client.send("GET", ONE)
    assert (read.body, read.headers["ETag"]) == (answer.body, answer.headers["ETag"])


async def test_the_least_configuration(client: Client) -> None:
    """Whatever is left out has a value all the same."""
    body = (await client.send("PUT", ONE, {"content": OTHER})).body
    for name in ("etag", "createdTimeUtc", "lastUpdatedTimeUtc"):
        assert body.pop(name)
    assert body == {
        "id": "line-1",
        "schemaVersion": "1.0",
        "labels": None,
        "content": OTHER,
        "targetCondition": "",
        "priority": 0,
        "systemMetrics": {
            "results": {"appliedCount": 0, "targetedCount": 0},
            "queries": {
                "appliedCount": "select deviceId from devices where configurations.[[line-1]].status = 'Applied'",
                "targetedCount": "",
            },
        },
        "metrics": {"results": {}, "queries": {}},
    }


async def test_an_update(stocked: Client) -> None:
    """An update replaces all but the content, which it must send and cannot change."""
    before = (await stocked.send("GET", ONE)).body
    answer = await stocked.send("PUT", ONE, {"content": OTHER, "priority": 9}, if_match=f'"{before["etag"]}"')
    assert answer.outcome == OK
    assert answer.body == {
        **before,
        "labels": None,
        "targetCondition": "",
        "priority": 9,
        "metrics": {"results": {}, "queries": {}},
        "systemMetrics": {
            "results": dict.fromkeys(EDGE_METRICS, 0),
            "queries": {**EDGE_METRICS, "targetedCount": ""},
        },
        "etag": answer.body["etag"],
        "lastUpdatedTimeUtc": answer.body["lastUpdatedTimeUtc"],
    }
    assert answer.body["etag"] != before["etag"]
    assert answer.body["lastUpdatedTimeUtc"] > before["lastUpdatedTimeUtc"]
    assert (await stocked.send("GET", ONE)).body == answer.body


@pytest.mark.parametrize(
    ("method", "if_match", "expected"),
    [
        pytest.param("PUT", None, CONFLICT, id="put without If-Match creates only"),
        pytest.param("PUT", "{}", CONFLICT, id="put with a bare etag is taken for one without, which misleads"),
        pytest.param("PUT", "MA==", CONFLICT, id="put with a bare stale etag as well"),
        pytest.param("PUT", '"{}"', OK, id="put with the etag in quotation marks"),
        pytest.param("PUT", '"MA=="', STALE, id="put with a stale etag in quotation marks"),
        pytest.param("PUT", "*", OK, id="put with a star"),
        pytest.param("PUT", '"*"', OK, id="put with a star in quotation marks"),
        pytest.param("DELETE", None, DONE, id="delete without If-Match"),
        pytest.param("DELETE", "{}", DONE, id="delete with a bare etag"),
        pytest.param("DELETE", "MA==", DONE, id="delete with a bare stale etag, which is not seen"),
        pytest.param("DELETE", '"{}"', DONE, id="delete with the etag in quotation marks"),
        pytest.param("DELETE", '"MA=="', STALE, id="delete with a stale etag in quotation marks"),
        pytest.param("DELETE", "*", DONE, id="delete with a star, as the SDK sends it"),
    ],
)
async def test_if_match(stocked: Client, method: str, if_match: str | None, expected: tuple[int, str]) -> None:
    """Only an etag in quotation marks is an etag here; a refusal changes nothing."""
    before = await stocked.send("GET", ONE)
    sent = None if if_match is None else if_match.format(before.body["etag"])
    answer = await stocked.send(method, ONE, BODY if method == "PUT" else None, if_match=sent)
    after = await stocked.send("GET", ONE)
    assert answer.outcome == expected
    if expected == DONE:
        assert after.outcome == ABSENT
    else:
        assert after.body == (answer.body if expected == OK else before.body)


@pytest.mark.parametrize(
    ("method", "if_match"),
    [
        pytest.param("GET", None, id="reading"),
        pytest.param("PUT", "*", id="updating"),
        pytest.param("PUT", '"MA=="', id="updating by an etag"),
        pytest.param("DELETE", None, id="deleting"),
        pytest.param("DELETE", "*", id="deleting with a star"),
    ],
)
async def test_what_is_not_there(client: Client, method: str, if_match: str | None) -> None:
    """A configuration that is not there is 404."""
    answer = await client.send(method, ONE, BODY if method == "PUT" else None, if_match=if_match)
    assert (answer.outcome, answer.body["Message"]) == (ABSENT, "ErrorCode:ConfigurationNotFound;line-1")


@pytest.mark.parametrize("if_match", [pytest.param(None, id="at creation"), pytest.param("*", id="at an update")])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"priority": 1}, "InvalidConfigurationContent", id="no content"),
        pytest.param({"content": None}, "InvalidConfigurationContent", id="a content of null"),
        pytest.param({"content": {}}, "InvalidConfigurationContent", id="an empty content"),
        pytest.param({"content": [1]}, "InvalidConfigurationContent", id="a content that is a list"),
        pytest.param({"content": {"modules": {}}}, "InvalidConfigurationContent", id="a content of no kind"),
        pytest.param({"content": {"modulesContent": []}}, "InvalidConfigurationContent", id="a content in a list"),
        pytest.param(edge(vision=[]), "InvalidConfigurationContent", id="a module's content that is a list"),
        pytest.param(edge(vision={"fps": 5}), "InvalidConfigurationContent", id="what are no desired properties"),
        pytest.param(
            edge(vision={"properties.desired": 5}), "InvalidConfigurationContent", id="desired properties of 5"
        ),
        pytest.param(
            edge(vision={"properties.desired.a..b": 5}), "InvalidConfigurationContent", id="a place without a name"
        ),
        pytest.param(
            edge(**{"$mine": {"properties.desired": {}}}), "InvalidConfigurationContent", id="a name with a $"
        ),
        pytest.param(edge(vision={"properties.desired": {"a b": 1}}), "ArgumentInvalid", id="what no twin takes"),
        pytest.param(
            {**BODY, "targetCondition": "tags.line ="}, "InvalidConfigurationTargetCondition", id="half a condition"
        ),
        pytest.param({**BODY, "id": "line-2"}, "ArgumentInvalid", id="another name in the body"),
        pytest.param({**BODY, "priority": "high"}, "ArgumentInvalid", id="a priority that is text"),
        pytest.param({**BODY, "priority": -1}, "ArgumentInvalid", id="a priority below zero"),
        pytest.param({**BODY, "targetCondition": 1}, "DeserializationError", id="a condition that is a number"),
        pytest.param({**BODY, "labels": "x"}, "DeserializationError", id="labels that are text"),
        pytest.param({**BODY, "metrics": [1]}, "DeserializationError", id="metrics that are a list"),
        pytest.param(b"{", "IotHubFormatError", id="no JSON"),
    ],
)
async def test_bodies_that_are_refused(stocked: Client, if_match: str | None, body: Any, expected: str) -> None:
    """What is not understood changes nothing."""
    before = (await stocked.send("GET", "/configurations")).body
    target = ONE if if_match else "/configurations/line-2"
    if isinstance(body, dict) and body.get("id") == "line-1" and not if_match:
        body = {**body, "id": "line-2"}
    elif isinstance(body, dict) and body.get("id") == "line-2" and not if_match:
        body = {**body, "id": "line-3"}
    answer = await stocked.send("PUT", target, body, if_match=if_match)
    assert answer.outcome == (400, expected)
    assert (await stocked.send("GET", "/configurations")).body == before


async def test_a_name_with_a_space(client: Client) -> None:
    """Names follow the rule of ids."""
    assert (await client.send("PUT", "/configurations/a%20b", {"content": OTHER})).outcome == (400, "ArgumentInvalid")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", ["a", "b", "c"], id="all"),
        pytest.param("?top=2", ["a", "b"], id="the first two"),
        pytest.param("?top=20", ["a", "b", "c"], id="more than there are"),
        pytest.param("?top=0", (400, "ArgumentInvalid"), id="none"),
        pytest.param(f"?top={'9' * 5000}", ["a", "b", "c"], id="a number of very many digits"),
    ],
)
async def test_list(client: Client, query: str, expected: list[str] | tuple[int, str]) -> None:
    """The list is a bare array of whole configurations by their names."""
    made = {name: (await client.send("PUT", f"/configurations/{name}", {"content": OTHER})).body for name in "bac"}
    answer = await client.send("GET", f"/configurations{query}")
    if isinstance(expected, tuple):
        assert answer.outcome == expected
    else:
        assert answer.body == [made[name] for name in expected]


async def test_a_hub_holds_a_hundred(client: Client) -> None:
    """A hub of the standard tiers has 100 configurations; one that is there already can be written all the same."""
    answers = [await client.send("PUT", f"/configurations/c{number}", {"content": OTHER}) for number in range(101)]
    assert [answer.outcome for answer in answers] == [*[OK] * 100, (413, "ConfigurationCountLimitExceeded")]
    assert (await client.send("PUT", "/configurations/c7", {"content": OTHER}, if_match="*")).outcome == OK
    lengths = [len((await client.send("GET", f"/configurations{query}")).body) for query in ("", "?top=101")]
    assert lengths == [100, 100]


QUERIES: dict[str, tuple[dict[str, Any], str | None, dict[str, str]]] = {
    "all is well": (
        {"targetCondition": "tags.line = 1", "customMetricQueries": {"m": "SELECT deviceId FROM devices"}},
        None,
        {},
    ),
    "nothing to test": ({}, None, {}),
    "all devices": ({"targetCondition": "*"}, None, {}),
    "a condition on modules": ({"targetCondition": "FROM devices.modules WHERE tags.line = 1"}, None, {}),
    "a double bracket": ({"targetCondition": "configurations.[[line-1]].status = 'Applied'"}, None, {}),
    "a condition that breaks off": ({"targetCondition": "tags.line ="}, "Syntax error at the end.", {}),
    "a condition with a word too many": ({"targetCondition": "tags.line = 1 1"}, "Syntax error at 1.", {}),
    "a star and more": ({"targetCondition": "* AND tags.a = 1"}, "Syntax error at AND.", {}),
    "a whole query as a condition": (
        {"targetCondition": "SELECT * FROM devices"},
        "Syntax error at SELECT.",
        {},
    ),
    "a function that nobody knows": ({"targetCondition": "lower(tags.a) = 'x'"}, "Syntax error at (.", {}),
    "one metric of two": (
        {"customMetricQueries": {"good": "SELECT COUNT() AS n FROM devices", "bad": "SELECT FROM devices"}},
        None,
        {"bad": "Syntax error at FROM."},
    ),
    "a metric that is a bare condition": (
        {"customMetricQueries": {"bad": "tags.line = 1"}},
        None,
        {"bad": "Syntax error at tags.line."},
    ),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_queries(client: Client, name: str) -> None:
    """Conditions and queries are tried; what is wrong with them is an answer, not a refusal."""
    body, condition, metrics = QUERIES[name]
    answer = await client.send("POST", "/configurations/testQueries", body)
    assert (answer.outcome, answer.body) == (
        OK,
        {"targetConditionError": condition, "customMetricQueryErrors": metrics},
    )


async def test_configurations_outlive_a_restart(tmp_path: pathlib.Path) -> None:
    """What was acknowledged is on disk, and what was deleted is gone."""
    state = tmp_path / "state.json"
    async with serve(state=state) as hub, connected(hub) as client:
        for name in ("a", "b"):
            await client.send("PUT", f"/configurations/{name}", {**BODY, "id": name})
        await client.send("DELETE", "/configurations/b")
        before = (await client.send("GET", "/configurations")).body
        kept = state.read_bytes()
    state.write_bytes(kept)
    async with serve(state=state) as hub, connected(hub) as client:
        assert (await client.send("GET", "/configurations")).body == before
    assert [each["id"] for each in before] == ["a"]


CALLS = (
    ("GET", "/configurations", None),
    ("PUT", "/configurations/new", {"content": OTHER}),
    ("GET", ONE, None),
    ("POST", "/configurations/testQueries", {}),
    ("DELETE", ONE, None),
)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param("service", [OK, OK, OK, OK, DONE], id="a service"),
        pytest.param("registryReadWrite", [UNAUTHORIZED] * 5, id="who may write the registry only"),
    ],
)
async def test_who_may(hub: Hub, stocked: Client, policy: str, expected: list[tuple[int, str]]) -> None:
    """Configurations want ServiceConnect."""
    found = [await stocked.send(*call, authorization=owner(hub, policy)) for call in CALLS]
    assert [answer.outcome for answer in found] == expected


async def test_the_budget(hub: Hub, stocked: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configurations have a budget of their own."""
    monkeypatch.setattr(hub.throttle, "units", 1)
    monkeypatch.setattr(hub.throttle, "_clock", lambda: 1000.0)
    hub.throttle.admit(Operation.CONFIGURATION, 23)
    assert [(await stocked.send(*call)).status for call in CALLS] == [429] * 5
    assert (await stocked.send("GET", "/devices")).status == 200
