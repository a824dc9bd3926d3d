"""The query index of the emulated hub: twins that appear late, and ghosts of the deleted."""

import pytest

from edgeherd_sim.hub.index import Index
from edgeherd_sim.hub.store import Store

EDGE = {"capabilities": {"iotEdge": True}}


class Lab:
    """A registry and its index, on a clock that only the test moves."""

    def __init__(self, *, lag: float, ghost: float) -> None:
        self.now = 0.0
        self.store = Store()
        self.index = Index(self.store, lag=lag, ghost=ghost, clock=lambda: self.now)

    def seen(self, at: float) -> dict[str, str]:
        """The devices that a query finds at that time, and their status."""
        self.now = at
        return {key[0]: twin["status"] for key, twin in self.index.twins(modules=False)}


def test_without_lag_a_query_is_up_to_date() -> None:
    """Devices come, change and go at once."""
    lab = Lab(lag=0, ghost=0)
    lab.store.put_device("a", {}, None)
    found = [lab.seen(0)]
    lab.store.set_status("a", "disabled")
    found.append(lab.seen(0))
    lab.store.remove("a")
    found.append(lab.seen(0))
    assert found == [{"a": "enabled"}, {"a": "disabled"}, {}]


def test_new_devices_come_late() -> None:
    """A new device and a change appear after the lag, in their sequence."""
    lab = Lab(lag=2, ghost=0)
    lab.store.put_device("a", {}, None)
    lab.now = 1.0
    lab.store.set_status("a", "disabled")
    times = (1.0, 1.9, 2.0, 2.9, 3.0)
    assert [lab.seen(at) for at in times] == [{}, {}, {"a": "enabled"}, {"a": "enabled"}, {"a": "disabled"}]


def test_the_dead_are_seen_for_a_while() -> None:
    """A deleted device is found as a ghost, with all of its modules."""
    lab = Lab(lag=0, ghost=1500)
    lab.store.put_device("a", EDGE, None)
    lab.store.put_device("b", {}, None)
    lab.now = 10.0
    lab.store.remove("a")
    assert [sorted(lab.seen(at)) for at in (10.0, 1509.9, 1510.0)] == [["a", "b"], ["a", "b"], ["b"]]
    assert lab.index.twins(modules=True) == []


def test_a_namesake_waits_behind_the_ghost() -> None:
    """A device that was made anew is not found before its predecessor's ghost has gone."""
    lab = Lab(lag=1, ghost=5)
    lab.store.put_device("a", {}, None)
    lab.seen(1.0)
    lab.store.remove("a")
    lab.store.put_device("a", {"status": "disabled"}, None)
    assert [lab.seen(at) for at in (2.5, 5.9, 6.0)] == [{"a": "enabled"}, {"a": "enabled"}, {"a": "disabled"}]


def test_others_do_not_wait_behind_a_ghost() -> None:
    """Each device has its own patience."""
    lab = Lab(lag=1, ghost=100)
    lab.store.put_device("a", {}, None)
    lab.seen(1.0)
    lab.store.remove("a")
    lab.store.put_device("b", {}, None)
    assert lab.seen(2.0) == {"a": "enabled", "b": "enabled"}


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        pytest.param(False, [("a", ""), ("b", "")], id="devices"),
        pytest.param(True, [("b", "$edgeAgent"), ("b", "$edgeHub"), ("b", "vision")], id="modules"),
    ],
)
def test_devices_and_modules_are_told_apart(modules: bool, expected: list[tuple[str, str]]) -> None:
    """Twins come by their ids, whenever they were made."""
    lab = Lab(lag=0, ghost=0)
    lab.store.put_device("b", EDGE, None)
    lab.store.put_module("b", "vision", {}, None)
    lab.store.put_device("a", {}, None)
    assert [key for key, _ in lab.index.twins(modules=modules)] == expected


def test_what_was_there_before_the_index() -> None:
    """A hub that starts with remembered devices finds them at once, whatever the lag."""
    store = Store()
    store.put_device("a", {}, None)
    assert [key for key, _ in Index(store, lag=60).twins(modules=False)] == [("a", "")]


def test_a_query_shows_what_was_true_then() -> None:
    """What is shown is a copy: later changes do not shine through before their time."""
    lab = Lab(lag=2, ghost=0)
    lab.store.put_device("a", {}, None)
    lab.seen(2.0)
    lab.store.patch_twin(("a", ""), {"tags": {"line": 1}}, None)
    found = [lab.index.twins(modules=False)[0][1].get("tags") for lab.now in (2.0, 4.0)]
    assert found == [None, {"line": 1}]
