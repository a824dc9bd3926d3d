"""`/devices` and `/statistics`: the identity registry."""

from edgeherd_sim.hub import views
from edgeherd_sim.hub.auth import Right
from edgeherd_sim.hub.calls import Call, Reply, Route
from edgeherd_sim.hub.throttle import Operation

_LIST_LIMIT = 1000


def list_devices(call: Call) -> Reply:
    """`GET /devices?top=N`: a bare list, without paging."""
    devices = call.store.devices()[: call.top(most=_LIST_LIMIT)]
    return Reply(body=[views.device(device) for device in devices])


def get_device(call: Call) -> Reply:
    """`GET /devices/{device}`."""
    device = call.store.device(call.params["device"])
    return Reply(body=views.device(device), etag=device.etag)


def put_device(call: Call) -> Reply:
    """`PUT /devices/{device}`: create without If-Match, update with one."""
    device = call.store.put_device(call.params["device"], call.body(), call.if_match)
    return Reply(body=views.device(device), etag=device.etag)


def delete_device(call: Call) -> Reply:
    """`DELETE /devices/{device}`."""
    call.store.delete_device(call.params["device"], call.if_match)
    return Reply(status=204)


def registry_statistics(call: Call) -> Reply:
    """`GET /statistics/devices`."""
    counts = call.store.counts()
    return Reply(
        body={
            "totalDeviceCount": counts["total"],
            "enabledDeviceCount": counts["enabled"],
            "disabledDeviceCount": counts["disabled"],
        }
    )


def service_statistics(call: Call) -> Reply:
    """`GET /statistics/service`."""
    return Reply(body={"connectedDeviceCount": call.store.counts()["connected"]})


ROUTES = (
    Route(method="GET", path="/devices", handler=list_devices, right=Right.REGISTRY_READ),
    Route(method="GET", path="/devices/{device}", handler=get_device, right=Right.REGISTRY_READ),
    Route(method="PUT", path="/devices/{device}", handler=put_device, right=Right.REGISTRY_WRITE),
    Route(method="DELETE", path="/devices/{device}", handler=delete_device, right=Right.REGISTRY_WRITE),
    Route(method="GET", path="/statistics/devices", handler=registry_statistics, right=Right.REGISTRY_READ),
    Route(
        method="GET",
        path="/statistics/service",
        handler=service_statistics,
        right=Right.SERVICE,
        operation=Operation.FREE,
    ),
)
