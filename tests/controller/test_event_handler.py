"""Which watch events lead to a pass."""

import copy
import dataclasses
from typing import Any

import pytest

from edgeherd import resource
from edgeherd.controller.event_handler import EventHandler
from edgeherd.controller.index import DeviceIndex
from edgeherd.controller.workqueue import Capacity, WorkQueue
from edgeherd.model import Key, Priority

Body = dict[str, Any]

READY = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
DEVICE: Body = {
    "metadata": {
        "name": "press-01",
        "namespace": "plant-a",
        "uid": "u1",
        "generation": 1,
        "resourceVersion": "5",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "finalizers": ["edgeherd.io/identity"],
    },
    "spec": {"hubRef": {"name": "contoso"}, "ssh": {"host": "h", "user": "u", "credentialsSecretRef": {"name": "s"}}},
    "status": {"observedGeneration": 1, "conditions": [READY]},
}
HUB: Body = {
    "metadata": {"name": "contoso", "uid": "h1", "generation": 1},
    "spec": {
        "hostName": "contoso.azure-devices.net",
        "auth": {"connectionStringSecretRef": {"name": "s"}},
        "allowedNamespaces": {"from": "All"},
    },
    "status": {"conditions": [READY]},
}
DEVICE_KEY, HUB_KEY = Key("EdgeDevice", "plant-a", "press-01"), Key("HubConnection", "", "contoso")


class Recorder(WorkQueue):
    """A work queue that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.now: list[tuple[Key, Priority]] = []
        self.later: list[Key] = []

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """See `WorkQueue`."""
        self.now.append((key, priority))

    def add_after(self, key: Key, seconds: float, priority: Priority = Priority.DRIFT) -> None:
        """See `WorkQueue`."""
        del seconds, priority
        self.later.append(key)


def changed(body: Body, **over: Any) -> Body:
    """The body with other metadata, or another status."""
    other = copy.deepcopy(body)
    if "status" in over:
        other["status"] = over.pop("status")
    other["metadata"] |= over
    return other


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An event after the one that showed the device for the first time."""

    sentence: str
    event: str
    body: Body
    passes: tuple[tuple[Key, Priority], ...]


CASES = (
    Case(sentence="our own status write", event="MODIFIED", body=changed(DEVICE, status={"conditions": []}), passes=()),
    Case(sentence="somebody's label", event="MODIFIED", body=changed(DEVICE, labels={"a": "b"}), passes=()),
    Case(sentence="an edit of the spec", event="MODIFIED", body=changed(DEVICE, generation=2), passes=((DEVICE_KEY, Priority.CHANGE),)),
    Case(sentence="a request to look now", event="MODIFIED", body=changed(DEVICE, annotations={"reconcile.edgeherd.io/requestedAt": "1"}), passes=((DEVICE_KEY, Priority.CHANGE),)),
    Case(sentence="a finalizer that somebody removed", event="MODIFIED", body=changed(DEVICE, finalizers=[]), passes=((DEVICE_KEY, Priority.CHANGE),)),
    Case(sentence="a request to delete", event="MODIFIED", body=changed(DEVICE, deletionTimestamp="2026-01-02T00:00:00Z"), passes=((DEVICE_KEY, Priority.DELETE),)),
    Case(sentence="the end of the object", event="DELETED", body=DEVICE, passes=((DEVICE_KEY, Priority.DELETE),)),
    Case(sentence="a namesake with another uid", event="ADDED", body=changed(DEVICE, uid="u2"), passes=((DEVICE_KEY, Priority.CHANGE),)),
    Case(sentence="the same again, after a re-list", event="", body=DEVICE, passes=()),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_an_event_leads_to_a_pass_only_when_it_can_matter(case: Case) -> None:
    """Everything else would make the operator run after its own writes."""
    queue = Recorder()
    handler = EventHandler(queue, DeviceIndex())
    handler.on_device("", DEVICE)
    queue.now.clear()
    handler.on_device(case.event, case.body)
    assert tuple(queue.now) == case.passes


def test_a_fleet_at_rest_is_looked_at_spread_out_after_a_restart() -> None:
    """One that is not Ready at its generation is looked at once."""
    queue = Recorder()
    handler = EventHandler(queue, DeviceIndex())
    handler.on_device("", DEVICE)
    handler.on_device("", changed(DEVICE, name="press-02", generation=2))
    assert (queue.later, queue.now) == ([DEVICE_KEY], [(DEVICE_KEY._replace(name="press-02"), Priority.CHANGE)])


def test_the_devices_of_a_hub_are_looked_at_when_the_hub_changes_or_gets_well() -> None:
    """Not when the hub's pass wrote the same again, and not at the start."""
    queue = Recorder()
    handler = EventHandler(queue, DeviceIndex())
    handler.on_device("", DEVICE)
    handler.on_hub("", HUB)
    assert queue.now == [(HUB_KEY, Priority.CHANGE)]
    queue.now.clear()
    handler.on_hub("MODIFIED", HUB)
    assert queue.now == []
    handler.on_hub("MODIFIED", changed(HUB, status={"conditions": []}))
    assert queue.now == [(DEVICE_KEY, Priority.CHANGE)]
    queue.now.clear()
    handler.on_hub("MODIFIED", changed(HUB, generation=2))
    assert queue.now == [(HUB_KEY, Priority.CHANGE), (DEVICE_KEY, Priority.CHANGE)]


def test_an_object_that_cannot_be_read_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with what to do."""
    queue = Recorder()
    handler = EventHandler(queue, DeviceIndex())
    handler.on_device("ADDED", {"metadata": {}})
    handler.on_hub("ADDED", {"metadata": {}})
    assert queue.now == []
    assert caplog.text.count("is the CRD of this version installed?") == 2


def test_the_second_of_two_claimants_is_looked_at_when_the_first_is_gone() -> None:
    """It waited for the identity."""
    queue = Recorder()
    handler = EventHandler(queue, DeviceIndex())
    handler.on_hub("", HUB)
    handler.on_device("", changed(DEVICE, name="first"))
    second = changed(DEVICE, name="second", uid="u2", creationTimestamp="2026-01-01T00:00:09Z")
    for body in (second,):
        body["spec"] = {**body["spec"], "deviceId": "first"}
        handler.on_device("", body)
    queue.now.clear()
    handler.on_device("DELETED", changed(DEVICE, name="first"))
    first_key = DEVICE_KEY._replace(name="first")
    assert queue.now == [(first_key._replace(name="second"), Priority.CHANGE), (first_key, Priority.DELETE)]


async def test_the_queue_knows_the_jump_host_of_a_device() -> None:
    """From its spec as it is now, and not any more when it is gone."""
    queue = WorkQueue(Capacity(workers=9, reserved_workers=0, slow_workers=1, per_jump_host=1))
    handler = EventHandler(queue, DeviceIndex())
    jump = {"host": "10.0.0.2", "port": 2222, "user": "hop", "credentialsSecretRef": {"name": "s"}}
    bodies = [changed(DEVICE, name=name, uid=name, generation=2) for name in ("one", "two")]
    for body in bodies:
        body["spec"]["ssh"]["jumpHost"] = jump
        handler.on_device("ADDED", body)
    one, two = (DEVICE_KEY._replace(name=name) for name in ("one", "two"))
    assert (await queue.get(), len(queue)) == (one, 1)
    handler.on_device("DELETED", bodies[1])
    assert (await queue.get(), len(queue)) == (two, 0)


def test_a_hub_connection_that_is_gone_is_forgotten() -> None:
    """Two names for one hub are one claim; when the second name is gone, nobody can tell what it stood for."""
    index = DeviceIndex()
    handler = EventHandler(Recorder(), index)
    younger = changed(DEVICE, name="younger", uid="u2", creationTimestamp="2026-01-02T00:00:00Z")
    younger["spec"]["hubRef"] = {"name": "second-name"}
    younger["spec"]["deviceId"] = "press-01"
    second = changed(HUB, name="second-name", uid="h2")
    for body in (DEVICE, younger):
        handler.on_device("", body)
    for body in (HUB, second):
        handler.on_hub("", body)
    device = resource.edge_device(younger)
    assert index.older_claimants(device) == (DEVICE_KEY,)
    handler.on_hub("DELETED", second)
    assert index.older_claimants(device) == ()


def test_who_is_missing_from_a_list_is_gone_as_if_an_event_had_said_it() -> None:
    """A pass may have left something to clean up in memory; and the devices of a HubConnection notice."""
    queue, index = Recorder(), DeviceIndex()
    handler = EventHandler(queue, index)
    handler.on_hub("", HUB)
    handler.on_device("", DEVICE)
    queue.now.clear()
    handler.gone(HUB_KEY)
    assert queue.now == [(DEVICE_KEY, Priority.CHANGE), (HUB_KEY, Priority.DELETE)]
    queue.now.clear()
    handler.gone(DEVICE_KEY)
    assert queue.now == [(DEVICE_KEY, Priority.DELETE)]
    assert (index.known("EdgeDevice"), index.known("HubConnection")) == ({}, {})


def test_what_a_pass_does_not_find_is_forgotten() -> None:
    """Without another pass over it; should it come back as it was, it is looked at."""
    queue, index = Recorder(), DeviceIndex()
    handler = EventHandler(queue, index)
    handler.on_hub("", HUB)
    handler.on_device("ADDED", changed(DEVICE, generation=2))
    queue.now.clear()
    for _ in range(2):
        handler.forget(HUB_KEY)
    assert queue.now == [(DEVICE_KEY, Priority.CHANGE)]
    handler.forget(DEVICE_KEY)
    queue.now.clear()
    assert (index.known("EdgeDevice"), index.known("HubConnection")) == ({}, {})
    handler.on_device("ADDED", changed(DEVICE, generation=2))
    assert queue.now == [(DEVICE_KEY, Priority.CHANGE)]


def test_annotations_are_not_kept() -> None:
    """They may have 256 KiB; a hash of them tells that one changed."""
    queue = Recorder()
    handler = EventHandler(queue, DeviceIndex())
    value = "x" * 200_000
    for said in (value, value, value + "y"):
        annotations = {"reconcile.edgeherd.io/requestedAt": said, "edgeherd.io/run-check": said}
        handler.on_device("MODIFIED", changed(DEVICE, annotations=annotations))
    assert len(queue.now) == 2
    kept = [*vars(handler).values(), *vars(handler._index).values()]  # noqa: SLF001 - what is held in memory is the point
    assert len(repr(kept)) < 10_000
