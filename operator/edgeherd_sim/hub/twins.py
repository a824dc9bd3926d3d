"""`/twins`: the twins of devices and modules, as a service sees them."""

from edgeherd_sim.hub import views
from edgeherd_sim.hub.auth import Right
from edgeherd_sim.hub.calls import Call, Reply, Route
from edgeherd_sim.hub.model import Key
from edgeherd_sim.hub.throttle import Operation


def get_twin(call: Call) -> Reply:
    """`GET /twins/{device}[/modules/{module}]`."""
    return _shown(call, _key(call))


def patch_twin(call: Call) -> Reply:
    """`PATCH …`: a merge patch of tags and desired properties."""
    call.store.patch_twin(_key(call), call.body(), call.if_match)
    return _shown(call, _key(call))


def put_twin(call: Call) -> Reply:
    """`PUT …`: tags and desired properties are replaced."""
    call.store.replace_twin(_key(call), call.body(), call.if_match)
    return _shown(call, _key(call))


def _key(call: Call) -> Key:
    return call.params["device"], call.params.get("module", "")


def _shown(call: Call, key: Key) -> Reply:
    identity, twin = call.store.twin(key)
    return Reply(body=views.twin(identity, twin), etag=twin.etag)


ROUTES = tuple(
    Route(method=method, path=path, handler=handler, right=Right.SERVICE, operation=operation)
    for path in ("/twins/{device}", "/twins/{device}/modules/{module}")
    for method, handler, operation in (
        ("GET", get_twin, Operation.TWIN_READ),
        ("PATCH", patch_twin, Operation.TWIN_WRITE),
        ("PUT", put_twin, Operation.TWIN_WRITE),
    )
)
