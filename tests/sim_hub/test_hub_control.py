"""The control API: faults by HTTP, and what happens to identities behind the clients' backs."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hub_client import KEYS, PRIMARY, SECONDARY, UNAUTHORIZED, Client, connected

from edgeherd_sim.hub.auth import Authenticator
from edgeherd_sim.hub.control import Control
from edgeherd_sim.hub.faults import Faults
from edgeherd_sim.hub.index import Index
from edgeherd_sim.hub.journal import Journal
from edgeherd_sim.hub.news import News
from edgeherd_sim.hub.server import Hub, serve
from edgeherd_sim.hub.store import Store
from edgeherd_sim.hub.throttle import Throttle
from edgeherd_sim.hub.wire import Wire
from waiting import until

INVALID = (400, "ArgumentInvalid")
NOTHING = (404, "ResourceNotFound")
DONE = (204, "")


async def test_faults_by_http(client: Client) -> None:
    """A fault that was ordered shows with what is left of it, works, and can be taken back."""
    assert (
        await client.control("POST", "/faults", {"kind": "error", "code": "ServerBusy", "count": 3})
    ).outcome == DONE
    assert (await client.control("POST", "/faults", {"kind": "latency", "delay": 0, "path": "x"})).outcome == DONE
    assert (await client.send("GET", "/devices")).outcome == (503, "ServerBusy")
    assert (await client.control("GET", "/faults")).body == [
        {"kind": "error", "code": "ServerBusy", "count": 2, "seconds": None, "method": "", "path": ""},
        {"kind": "latency", "delay": 0, "count": None, "seconds": None, "method": "", "path": "x"},
    ]
    assert (await client.control("DELETE", "/faults")).outcome == DONE
    assert (await client.control("GET", "/faults")).body == []
    assert (await client.send("GET", "/devices")).outcome == (200, "")


async def test_a_fault_for_seconds_shows_what_is_left(client: Client) -> None:
    """Of a fault for a minute less than a minute is left."""
    await client.control("POST", "/faults", {"kind": "throttle", "seconds": 60})
    (fault,) = (await client.control("GET", "/faults")).body
    assert 0 < fault.pop("seconds") <= 60
    assert fault == {"kind": "throttle", "count": None, "method": "", "path": ""}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({}, INVALID, id="no kind"),
        pytest.param({"kind": "earthquake"}, INVALID, id="a kind that nobody knows"),
        pytest.param({"kind": "error", "code": "Nonsense"}, INVALID, id="a code that nobody knows"),
        pytest.param({"kind": "error", "path": "("}, INVALID, id="a path that is no regular expression"),
        pytest.param({"kind": "error", "path": 1}, INVALID, id="a path that is a number"),
        pytest.param({"kind": "error", "seconds": "soon"}, INVALID, id="seconds that are text"),
        pytest.param({"kind": "error", "status": 500}, INVALID, id="a field that nobody knows"),
        pytest.param(["error"], (400, "IotHubFormatError"), id="a list"),
        pytest.param(b"{", (400, "IotHubFormatError"), id="no JSON"),
    ],
)
async def test_faults_that_are_refused(client: Client, body: Any, expected: tuple[int, str]) -> None:
    """A fault that is not understood is not ordered."""
    assert (await client.control("POST", "/faults", body)).outcome == expected
    assert (await client.control("GET", "/faults")).body == []


async def test_the_index_by_http(hub: Hub, client: Client) -> None:
    """Lag and ghosts of the query index are set together; what is left out is none."""
    found = []
    for body in ({"lag": 1.5, "ghost": 60}, {"lag": 2}, {"lag": -1}, {"lag": "long"}, {"lag": True}):
        outcome = (await client.control("PUT", "/index", body)).outcome
        found.append((outcome, (await client.control("GET", "/index")).body))
    last = {"lag": 2, "ghost": 0}
    assert found == [
        (DONE, {"lag": 1.5, "ghost": 60}),
        (DONE, last),
        (INVALID, last),
        (INVALID, last),
        (INVALID, last),
    ]
    assert (hub.index.lag, hub.index.ghost) == (2, 0)


async def test_policies_by_http(hub: Hub, client: Client) -> None:
    """The keys of all policies are there for scripts."""
    body = (await client.control("GET", "/policies")).body
    assert body == hub.policies
    assert set(body) == {"iothubowner", "service", "device", "registryRead", "registryReadWrite"}


def changes(before: Any, after: Any) -> set[str]:
    """Which fields of an identity differ."""
    return {name for name in before if before[name] != after[name]}


STATE = {"etag", "status", "statusUpdatedTime"}
CONNECTION = {"connectionState", "connectionStateUpdatedTime", "lastActivityTime"}


@pytest.mark.parametrize(
    ("method", "action", "body", "changed"),
    [
        pytest.param("POST", "/rotate-keys", None, {"etag", "authentication"}, id="both keys are rotated"),
        pytest.param(
            "POST",
            "/recreate",
            None,
            {"etag", "authentication", "generationId", "deviceScope"},
            id="somebody made it anew",
        ),
        pytest.param("POST", "/disable", None, STATE, id="it is disabled"),
        pytest.param(
            "POST", "/disable", {"reason": "stolen"}, {*STATE, "statusReason"}, id="it is disabled for a reason"
        ),
        pytest.param("POST", "/enable", None, {"etag"}, id="it is enabled, which it was"),
        pytest.param("POST", "/connect", None, CONNECTION, id="it connects"),
        pytest.param("POST", "/disconnect", None, set(), id="it disconnects, as it was"),
        pytest.param("PATCH", "/reported", {"temperature": 21}, set(), id="it reports, which its twin shows"),
    ],
)
async def test_behind_the_clients_backs(client: Client, method: str, action: str, body: Any, changed: set[str]) -> None:
    """Each change shows in just the fields that it is about."""
    before = await client.made({"authentication": KEYS, "capabilities": {"iotEdge": True}})
    assert (await client.control(method, f"/devices/press-01{action}", body)).outcome == DONE
    assert changes(before, await client.get()) == changed


@pytest.mark.parametrize(
    ("which", "kept"),
    [
        pytest.param("primaryKey", {"secondaryKey": SECONDARY}, id="the primary key is rotated"),
        pytest.param("secondaryKey", {"primaryKey": PRIMARY}, id="the secondary key is rotated"),
        pytest.param("both", {}, id="both keys are rotated"),
    ],
)
async def test_one_key_is_rotated(client: Client, which: str, kept: dict[str, str]) -> None:
    """The key that was not named stays."""
    await client.made({"authentication": KEYS})
    await client.control("POST", "/devices/press-01/rotate-keys", {"policyKey": which})
    now = (await client.get())["authentication"]["symmetricKey"]
    assert {name: key for name, key in now.items() if key in {PRIMARY, SECONDARY}} == kept


async def test_a_device_disappears(hub: Hub, client: Client) -> None:
    """Somebody deleted it, by an id that must be encoded."""
    await client.made({"capabilities": {"iotEdge": True}}, device_id="a%23b")
    assert (await client.control("DELETE", "/devices/a%23b")).outcome == DONE
    assert hub.store.identities == {}


async def test_reports_of_devices_and_modules(hub: Hub, client: Client) -> None:
    """Devices and modules report properties and connect; their etags stay."""
    await client.made({"capabilities": {"iotEdge": True}})
    before = {key: identity.etag for key, identity in hub.store.identities.items()}
    for path in ("/devices/press-01", "/devices/press-01/modules/$edgeAgent"):
        await client.control("PATCH", f"{path}/reported", {"a": {"b": 1, "c": 2}})
        await client.control("PATCH", f"{path}/reported", {"a": {"b": None}, "d": [3]})
        await client.control("POST", f"{path}/connect")
    reported = {key: (twin.reported.value, twin.reported.version) for key, twin in hub.store.twins.items()}
    said = ({"a": {"c": 2}, "d": [3]}, 3)
    agent = ("press-01", "$edgeAgent")
    assert reported == {("press-01", ""): said, agent: said, ("press-01", "$edgeHub"): ({}, 1)}
    assert [key for key, identity in hub.store.identities.items() if identity.connected] == [("press-01", ""), agent]
    assert {key: identity.etag for key, identity in hub.store.identities.items()} == before


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        pytest.param("GET", "", NOTHING, id="no address"),
        pytest.param("GET", "/nonsense", NOTHING, id="an address that nobody knows"),
        pytest.param("PUT", "/faults", NOTHING, id="a method that nobody knows"),
        pytest.param("POST", "/devices/press-01/explode", NOTHING, id="an action that nobody knows"),
        pytest.param("GET", "/devices/press-01", NOTHING, id="looking at a device, which the registry is for"),
        pytest.param("DELETE", "/devices/absent", (404, "DeviceNotFound"), id="a device that is not there"),
        pytest.param("POST", "/devices/absent/disable", (404, "DeviceNotFound"), id="disabling nothing"),
        pytest.param("POST", "/devices/absent/rotate-keys", (404, "DeviceNotFound"), id="rotating nothing"),
        pytest.param(
            "POST", "/devices/press-01/modules/absent/connect", (404, "DeviceNotFound"), id="an absent module"
        ),
    ],
)
async def test_orders_that_are_refused(client: Client, method: str, target: str, expected: tuple[int, str]) -> None:
    """What is not understood changes nothing."""
    before = await client.made()
    assert (await client.control(method, target)).outcome == expected
    assert await client.get() == before


async def test_news_of_edge_agents(hub: Hub, client: Client) -> None:
    """It tells whose `$edgeAgent` has other desired properties; whoever knows all of it waits for more."""
    for name in ("press-01", "press-02"):
        await client.made({"capabilities": {"iotEdge": True}}, device_id=name)
    first = (await client.control("GET", "/news")).body
    waiting = asyncio.ensure_future(client.control("GET", f"/news?after={first['at']}"))
    hub.store.patch_twin(("press-01", "$edgeHub"), {"properties": {"desired": {"a": 1}}}, None)
    hub.store.report(("press-01", "$edgeAgent"), {"a": 1})
    hub.store.patch_twin(("press-02", "$edgeAgent"), {"properties": {"desired": {"a": 1}}}, None)
    second = (await waiting).body
    third = (await client.control("GET", "/news?after=0")).body
    assert (first, second, third) == (
        {"at": 2, "devices": ["press-01", "press-02"]},
        {"at": 3, "devices": ["press-02"]},
        {"at": 3, "devices": ["press-01", "press-02"]},
    )
    assert [(await client.control("GET", f"/news?after={odd}")).status for odd in ("x", "-1", "9" * 20)] == [400] * 3


async def test_a_hub_that_stops_lets_nobody_wait() -> None:
    """Who waits for news gets an answer without any, and so does who comes later."""
    news = News(Store())
    waiting = asyncio.ensure_future(news.after(0, seconds=3600))
    await until(lambda: news.waiting == 1)
    news.close()
    assert [await waiting, await news.after(0, seconds=3600)] == [(0, [])] * 2


async def test_the_twin_of_a_module(hub: Hub, client: Client) -> None:
    """An agent reads its properties, which it cannot by HTTPS on a real hub."""
    await client.made({"capabilities": {"iotEdge": True}})
    hub.store.patch_twin(("press-01", "$edgeAgent"), {"properties": {"desired": {"a": 1}}}, None)
    answer = await client.control("GET", "/devices/press-01/modules/$edgeAgent/twin")
    shown = (await client.send("GET", "/twins/press-01/modules/$edgeAgent")).body
    assert (answer.outcome, answer.body) == ((200, ""), shown["properties"])
    assert (await client.control("GET", "/devices/press-02/modules/$edgeAgent/twin")).outcome == (404, "DeviceNotFound")


async def test_the_control_api_is_not_in_the_request_log(hub: Hub, client: Client) -> None:
    """The log is about the hub's clients only."""
    await client.control("GET", "/requests")
    assert len(hub.requests) == 0


async def test_the_control_token() -> None:
    """A hub that was given a token wants it in every request, and the service's own signature does not help."""
    async with serve(control_token="opensesame") as hub, connected(hub) as client:
        found = [
            (await client.control("GET", "/requests")).outcome,
            (await client.control("GET", "/requests", x_sim_token="openbarley")).outcome,
            (await client.send("GET", "/$sim/requests")).outcome,
            (await client.control("GET", "/requests", x_sim_token="opensesame")).outcome,
        ]
    assert found == [UNAUTHORIZED, UNAUTHORIZED, UNAUTHORIZED, (200, "")]


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        pytest.param("127.0.0.1", 200, id="loopback"),
        pytest.param("127.8.8.8", 200, id="another address of loopback"),
        pytest.param("::1", 200, id="loopback of IPv6"),
        pytest.param("10.0.0.7", 401, id="a neighbour"),
        pytest.param("2001:db8::1", 401, id="a neighbour by IPv6"),
        pytest.param(None, 401, id="nobody knows who"),
    ],
)
async def test_without_a_token_only_loopback_may(peer: str | None, status: int) -> None:
    """Who comes from another machine cannot use the control API of a hub without a token."""
    store = Store()

    async def save() -> None:
        pass

    wire = Wire(
        store=store,
        index=Index(store),
        authenticator=Authenticator(store, hosts=("localhost",), policies={}),
        faults=Faults(),
        throttle=Throttle(),
        journal=Journal(),
        news=News(store),
        save=save,
    )
    request = make_mocked_request("GET", "/$sim/requests").clone(remote=peer or "")
    response = await Control(wire=wire, token=None).dispatch(request)
    assert isinstance(response, web.Response)
    assert response.status == status
