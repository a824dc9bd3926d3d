"""Events as they are sent: what is in them, in which order they show, and what becomes of one that is repeated."""

import dataclasses
import socket
from typing import Any, cast

import pytest

import bodies
from edgeherd.clock import Clock
from edgeherd.cluster.client import MERGE_PATCH, ApiClient
from edgeherd.cluster.errors import ApiError, ForbiddenError
from edgeherd.cluster.recorder import EventRecorder
from edgeherd.model import EdgeDevice, HubConnection

START = 1_767_225_600
"""2026-01-01T00:00:00Z"""

DEVICE = bodies.edge_device(resourceVersion="7")
HUB = bodies.hub_connection(uid="u2", resourceVersion="9")


@dataclasses.dataclass
class Api:
    """Takes requests, until it refuses them."""

    requests: list[tuple[str, str, Any]] = dataclasses.field(default_factory=list)
    refusals: list[ApiError] = dataclasses.field(default_factory=list)

    async def request(self, method: str, path: str, *, query: object, body: object, content_type: str) -> object:
        """See `ApiClient`."""
        assert query == {"fieldManager": "edgeherd"}
        assert content_type == {"POST": "application/json", "PATCH": MERGE_PATCH}[method]
        if self.refusals:
            raise self.refusals.pop(0)
        self.requests.append((method, path, body))
        return body


class Lab:
    """A recorder, and a clock that stands unless it is moved."""

    def __init__(self) -> None:
        self.api, self.seconds = Api(), 0.0
        clock = Clock(wall=lambda: START + self.seconds, monotonic=lambda: self.seconds)
        self.recorder = EventRecorder(cast("ApiClient", self.api), clock=clock)

    async def record(self, subject: EdgeDevice | HubConnection = DEVICE, reason: str = "Ready", *, message: str = "It is.") -> None:  # fmt: skip
        """An Event."""
        await self.recorder.record(subject, warning=reason != "Ready", reason=reason, message=message)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was sent."""
        return [body for _, _, body in self.api.requests]


async def test_an_event_of_a_device() -> None:
    """In its namespace, with its uid: `kubectl describe` finds it by that."""
    lab = Lab()
    await lab.record()
    name = f"press-01.{START * 10**9:x}"
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "plant-a"},
        "involvedObject": {
            "apiVersion": "edgeherd.io/v1alpha1",
            "kind": "EdgeDevice",
            "namespace": "plant-a",
            "name": "press-01",
            "uid": "u1",
            "resourceVersion": "7",
        },
        "type": "Normal",
        "reason": "Ready",
        "message": "It is.",
        "action": "Reconcile",
        "source": {"component": "edgeherd"},
        "reportingComponent": "edgeherd",
        "reportingInstance": socket.gethostname(),
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    assert lab.api.requests == [("POST", "/api/v1/namespaces/plant-a/events", body)]


async def test_an_event_of_a_hub_connection() -> None:
    """What has no namespace has its Events in 'default'."""
    lab = Lab()
    await lab.record(HUB, "HubSecretNotFound")
    ((method, path, body),) = lab.api.requests
    assert (method, path) == ("POST", "/api/v1/namespaces/default/events")
    assert body["involvedObject"] == {
        "apiVersion": "edgeherd.io/v1alpha1",
        "kind": "HubConnection",
        "name": "contoso",
        "uid": "u2",
    }
    assert (body["metadata"]["namespace"], body["type"]) == ("default", "Warning")


async def test_events_of_one_moment_are_sorted_by_their_names() -> None:
    """Time stamps have whole seconds; the API server lists by name, and kubectl keeps that order."""
    lab = Lab()
    reasons = [f"R{number}" for number in (3, 1, 2, 5, 4)]
    for reason in reasons:
        await lab.record(reason=reason)
    listed = sorted(lab.bodies, key=lambda body: body["metadata"]["name"])
    assert [body["reason"] for body in listed] == reasons
    lab.seconds = -5  # somebody sets the clock back
    await lab.record(reason="Last")
    assert max(lab.bodies, key=lambda body: body["metadata"]["name"])["reason"] == "Last"


async def test_one_that_is_repeated_is_counted_on_the_first() -> None:
    """Until that has gone, as Events do after an hour; the new one goes on counting."""
    lab = Lab()
    await lab.record()
    where = f"/api/v1/namespaces/plant-a/events/press-01.{START * 10**9:x}"
    lab.seconds = 60
    await lab.record()
    counted = {"count": 2, "lastTimestamp": "2026-01-01T00:01:00Z"}
    assert lab.api.requests[1:] == [("PATCH", where, counted)]
    lab.seconds = 4000
    lab.api.refusals = [ApiError(404, "not found")]
    await lab.record()
    (method, _, body) = lab.api.requests[-1]
    assert (method, body["count"], body["firstTimestamp"], body["lastTimestamp"]) == (
        "POST",
        3,
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:06:40Z",
    )
    await lab.record()
    assert lab.api.requests[-1][:2] == ("PATCH", where.replace(f"{START * 10**9:x}", f"{(START + 4000) * 10**9:x}"))


@pytest.mark.parametrize("refusal", [ForbiddenError(403, "no"), ApiError(0, "no answer"), ApiError(500, "no")], ids=str)
async def test_a_refusal_is_told_and_the_next_one_is_tried(refusal: ApiError) -> None:
    """There is no Event yet that could be counted on."""
    lab = Lab()
    lab.api.refusals = [refusal]
    with pytest.raises(type(refusal)) as caught:
        await lab.record()
    assert caught.value is refusal
    await lab.record()
    assert [(method, body["count"]) for method, _, body in lab.api.requests] == [("POST", 2)]


async def test_an_hour_of_the_same_is_one_event() -> None:
    """Every 30 s; the rate is client-go's, so the last ones are not even counted."""
    lab = Lab()
    for _ in range(120):
        await lab.record()
        lab.seconds += 30
    methods = [method for method, _, _ in lab.api.requests]
    assert (methods.count("POST"), methods.count("PATCH")) == (1, 35)


async def test_what_is_too_long_is_cut() -> None:
    """And cut alike, so that it is the same again."""
    lab = Lab()
    for _ in range(2):
        await lab.record(reason="R" * 200, message="\u00e4" * 2000)
    first, second = lab.bodies
    assert (first["reason"], len(first["message"].encode()) <= 1024, second["count"]) == ("R" * 128, True, 2)
