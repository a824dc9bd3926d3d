"""The side of the hub that devices see, as far as it tells whether their key opens it."""

from edgeherd_sim.hub.auth import Right
from edgeherd_sim.hub.calls import Call, Reply, Route
from edgeherd_sim.hub.throttle import Operation


def receive(call: Call) -> Reply:
    """`GET …/messages/deviceBound`: there is never a message, but whoever asks is connected."""
    call.store.touch((call.params["device"], call.params.get("module", "")))
    return Reply(status=204)


ROUTES = tuple(
    Route(
        method="GET",
        path=path,
        handler=receive,
        right=Right.DEVICE,
        operation=Operation.FREE,
        own=True,
        versions=None,
    )
    for path in (
        "/devices/{device}/messages/deviceBound",
        "/devices/{device}/modules/{module}/messages/deviceBound",
    )
)
