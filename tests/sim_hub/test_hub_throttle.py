"""Traffic shaping of the emulated hub: a burst is served, then calls queue, then they are refused."""

import asyncio
import time

import pytest
from hub_client import Client, connected

from edgeherd_sim.hub.errors import HubError
from edgeherd_sim.hub.server import Hub, serve
from edgeherd_sim.hub.throttle import Operation, Throttle

REFUSED = "ThrottlingBacklogTimeout"


def waits(
    throttle: Throttle, calls: int, operation: Operation = Operation.REGISTRY, cost: int = 1
) -> list[float | str]:
    """How long each of so many calls at once has to wait, in tenths of a second."""
    found: list[float | str] = []
    for _ in range(calls):
        try:
            found.append(round(throttle.admit(operation, cost), 1))
        except HubError as error:
            found.append(error.code)
    return found


def frozen(units: int) -> tuple[Throttle, list[float]]:
    """A throttle, and its clock."""
    clock = [1000.0]
    return Throttle(units, clock=lambda: clock[0]), clock


def test_a_burst_then_a_queue_then_refusals() -> None:
    """One unit: 100 calls at once are served, 16 more wait 0.6 s longer each, the others are refused."""
    throttle, _ = frozen(1)
    found = waits(throttle, 120)
    assert found[:100] == [0.0] * 100
    assert found[100:116] == [round(0.6 * number, 1) for number in range(1, 17)]
    assert found[116:] == [REFUSED] * 4


@pytest.mark.parametrize(
    ("operation", "units", "burst"),
    [
        pytest.param(Operation.REGISTRY, 1, 100, id="the registry of one unit: 100 a minute"),
        pytest.param(Operation.REGISTRY, 3, 300, id="the registry of three units: 300 a minute"),
        pytest.param(Operation.TWIN_READ, 1, 6000, id="reads of twins: 100 a second"),
        pytest.param(Operation.TWIN_READ, 3, 6000, id="reads of twins do not grow with the units"),
        pytest.param(Operation.TWIN_WRITE, 1, 3000, id="writes of twins: 50 a second"),
        pytest.param(Operation.QUERY, 1, 20, id="queries of one unit: 20 a minute"),
        pytest.param(Operation.CONFIGURATION, 2, 40, id="configurations of two units: 40 a minute"),
    ],
)
def test_budgets(operation: Operation, units: int, burst: int) -> None:
    """What may come at once is a minute's worth of the class's rate, as in Microsoft's table."""
    throttle, _ = frozen(units)
    assert throttle.admit(operation, burst) == pytest.approx(0.0, abs=1e-6)
    assert throttle.admit(operation) > 1e-3


def test_classes_do_not_share() -> None:
    """A class that is used up leaves the others alone, and what has no budget is never slowed."""
    throttle, _ = frozen(1)
    throttle.admit(Operation.REGISTRY, 116)
    found = {operation: waits(throttle, 1, operation)[0] for operation in Operation}
    assert found == {**dict.fromkeys(Operation, 0.0), Operation.REGISTRY: REFUSED}


def test_a_bulk_counts_by_its_devices() -> None:
    """Two bulks of fifty devices are a minute's worth."""
    throttle, _ = frozen(1)
    assert waits(throttle, 3, cost=50) == [0.0, 0.0, REFUSED]
    assert waits(throttle, 1) == [0.6]


def test_time_heals() -> None:
    """A hub that was left alone for a minute serves a whole burst again, and never more than that."""
    throttle, clock = frozen(1)
    waits(throttle, 100)
    clock[0] += 6.0
    assert waits(throttle, 11) == [0.0] * 10 + [0.6]
    clock[0] += 600.0
    assert waits(throttle, 101) == [0.0] * 100 + [0.6]


def test_refused_calls_cost_nothing() -> None:
    """Knocking again and again does not make the wait longer."""
    throttle, clock = frozen(1)
    waits(throttle, 1000)
    clock[0] += 0.6
    assert waits(throttle, 2) == [9.6, REFUSED]


def test_without_units_nothing_is_slowed() -> None:
    """A hub of no size has no limits."""
    throttle, _ = frozen(0)
    assert set(waits(throttle, 5000)) == {0.0}


async def test_the_wire_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the backlog is full the client gets the 429, and the service's own count is still free."""
    async with serve(units=1) as hub, connected(hub) as client:
        monkeypatch.setattr(hub.throttle, "_clock", lambda: 1000.0)
        served = await asyncio.gather(*(client.send("GET", "/devices/absent") for _ in range(100)))
        assert {answer.outcome for answer in served} == {(404, "DeviceNotFound")}
        hub.throttle.admit(Operation.REGISTRY, 16)
        refused = await client.put()
        assert refused.outcome == (429, "ThrottlingBacklogTimeout")
        assert "Retry-After" not in refused.headers
        assert (await client.send("GET", "/statistics/service")).status == 200
        assert hub.store.identities == {}


async def test_the_wire_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """What exceeds the burst is answered late, and well."""
    async with serve(units=12) as hub, connected(hub) as client:
        monkeypatch.setattr(hub.throttle, "_clock", lambda: 1000.0)
        hub.throttle.admit(Operation.REGISTRY, 1201)
        begun = time.monotonic()
        assert (await client.put()).status == 200
        assert time.monotonic() - begun > 0.05


async def test_who_is_not_let_in_costs_nothing(hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests without a right, a version or an address do not use up the budget."""
    monkeypatch.setattr(hub.throttle, "units", 1)
    monkeypatch.setattr(hub.throttle, "_clock", lambda: 1000.0)
    hub.throttle.admit(Operation.REGISTRY, 116)
    found = [
        (await client.send("GET", "/devices", authorization="")).status,
        (await client.send("GET", "/devices", version="none")).status,
        (await client.send("GET", "/nowhere")).status,
        (await client.send("GET", "/devices")).status,
    ]
    assert found == [401, 400, 404, 429]
