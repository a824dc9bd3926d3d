"""What the watch shows, counted."""

import collections
import dataclasses

from hypothesis import given
from hypothesis import strategies as st

import bodies
from edgeherd.controller.fleet import Fleet, Software, Standing
from edgeherd.model import Condition, DeviceStatus, EdgeDevice, HubConnection, Key, Status

DEVICE, HUB = bodies.edge_device(), bodies.hub_connection()


def seen(name: str = "press-01", *, reason: str = "Ready", version: str = "1.5.44", image: str = "agent:1.5") -> EdgeDevice:  # fmt: skip
    """A device as the watch shows it."""
    status = Status(conditions=conditions(reason), device=DeviceStatus(runtime_version=version, agent_image=image))
    return dataclasses.replace(DEVICE, name=name, status=status)


def hub_seen(reason: str) -> HubConnection:
    """A HubConnection as the watch shows it."""
    return dataclasses.replace(HUB, conditions=conditions(reason))


def conditions(reason: str) -> tuple[Condition, ...]:
    """`Ready` for a reason, and one that never changes."""
    status = "True" if reason == "Ready" else "False"
    return (
        Condition(type="Ready", status=status, reason=reason, message="whatever"),
        Condition(type="Paused", status="False", reason="NotSuspended", message="whatever"),
    )


PAUSED = Standing("Paused", "False", "NotSuspended")
READY = Standing("Ready", "True", "Ready")
AWAY = Standing("Ready", "False", "DeviceUnreachable")


def test_what_is_so_now_is_counted() -> None:
    """What was so before, and what is gone, is not."""
    fleet = Fleet()
    for name in ("a", "b", "c"):
        fleet.update(seen(name))
    fleet.update(seen("b", reason="DeviceUnreachable"))
    fleet.update(seen("b", reason="DeviceUnreachable"))
    assert fleet.devices == {READY: 2, AWAY: 1, PAUSED: 3}
    fleet.update(seen("c", version="1.1.15", image=""))
    assert fleet.software == {Software("1.5.44", "agent:1.5"): 2, Software("1.1.15", ""): 1}
    for name in ("a", "b", "b", "never seen"):
        fleet.delete(Key("EdgeDevice", "plant-a", name))
    assert (fleet.devices, fleet.software) == ({READY: 1, PAUSED: 1}, {Software("1.1.15", ""): 1})


def test_hub_connections_are_counted_by_themselves() -> None:
    """They have a `Ready` too."""
    fleet = Fleet()
    fleet.update(seen())
    fleet.update_hub(hub_seen("HubSecretNotFound"))
    assert fleet.hubs == {Standing("Ready", "False", "HubSecretNotFound"): 1, PAUSED: 1}
    fleet.update_hub(hub_seen("Ready"))
    fleet.delete(DEVICE.key)
    assert (fleet.devices, fleet.hubs) == ({}, {READY: 1, PAUSED: 1})
    fleet.delete(HUB.key)
    assert fleet.hubs == {}


NAMES, REASONS = st.sampled_from("abcd"), st.sampled_from(["Ready", "DeviceUnreachable", "SudoRefused"])


@given(st.lists(st.tuples(NAMES, REASONS | st.none()), max_size=60))
def test_counting_as_it_comes_is_counting_all(history: list[tuple[str, str | None]]) -> None:
    """None is a deletion."""
    fleet, there = Fleet(), dict[str, str]()
    for name, reason in history:
        if reason is None:
            fleet.delete(Key("EdgeDevice", "plant-a", name))
            there.pop(name, None)
        else:
            fleet.update(seen(name, reason=reason))
            there[name] = reason
    counts = collections.Counter(
        Standing(c.type, c.status, c.reason) for reason in there.values() for c in conditions(reason)
    )
    assert fleet.devices == dict(counts)
