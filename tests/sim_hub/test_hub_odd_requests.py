"""Requests that nobody sends on purpose: the hub answers in its own words all the same."""

from typing import Any

import pytest
from hub_client import Client

from edgeherd_sim.hub import sas
from edgeherd_sim.hub.server import Hub

NEVER = 4_000_000_000


@pytest.mark.parametrize("segment", ["%2541", "a%2525b", "plain"])
async def test_ids_that_look_encoded(hub: Hub, client: Client, segment: str) -> None:
    """A device whose id looks percent-encoded still opens its own side."""
    device_id = (await client.made(device_id=segment))["deviceId"]
    key = hub.store.device(device_id).authentication.primary_key
    assert key is not None
    header = sas.make(f"{hub.host_name}/devices/{device_id}", key, expiry=NEVER)
    path = f"/devices/{segment}/messages/deviceBound"
    assert (await client.send("GET", path, authorization=header)).status == 204


async def test_a_path_with_a_line_break(client: Client) -> None:
    """It is a device that is not there, and it is in the request log."""
    answer = await client.send("GET", "/devices/a%0A")
    assert (answer.status, answer.headers["iothub-errorcode"]) == (404, "DeviceNotFound")


@pytest.mark.parametrize(
    "order",
    [
        {"kind": "error", "count": "2"},
        {"kind": "latency", "delay": "long"},
        {"kind": "error", "method": 5},
        {"kind": "error", "seconds": -1},
        {"kind": "nonsense"},
    ],
    ids=["a count in words", "a delay in words", "a method that is none", "less than no time", "an unknown kind"],
)
async def test_orders_of_faults_are_checked(hub: Hub, client: Client, order: dict[str, Any]) -> None:
    """Before they make later requests fail in a way that nobody ordered."""
    answer = await client.send("POST", "/$sim/faults", order)
    assert answer.status == 400
    assert hub.faults.listed() == []
