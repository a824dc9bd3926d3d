"""`/devices/{device}/modules`: the identities of modules."""

from edgeherd_sim.hub import sas, views
from edgeherd_sim.hub.auth import Right
from edgeherd_sim.hub.calls import Call, Reply, Route


def list_modules(call: Call) -> Reply:
    """`GET /devices/{device}/modules`: a bare list, without paging."""
    return Reply(body=[views.module(module) for module in call.store.modules(_device(call))])


def get_module(call: Call) -> Reply:
    """`GET /devices/{device}/modules/{module}`."""
    module = call.store.module(_device(call), call.params["module"])
    return Reply(body=views.module(module), etag=module.etag)


def put_module(call: Call) -> Reply:
    """`PUT /devices/{device}/modules/{module}`: create without If-Match, update with one."""
    module = call.store.put_module(_device(call), call.params["module"], call.body(), call.if_match)
    return Reply(body=views.module(module), etag=module.etag)


def delete_module(call: Call) -> Reply:
    """`DELETE /devices/{device}/modules/{module}`."""
    call.store.delete_module(_device(call), call.params["module"], call.if_match)
    return Reply(status=204)


def _device(call: Call) -> str:
    """The device of the address. To shared access policies a missing or disabled one is a matter of authorization."""
    device_id = call.params["device"]
    if not call.caller.entra:
        device = call.store.identities.get((device_id, ""))
        if device is None or device.status != "enabled":
            raise sas.unauthorized()
    return call.store.device(device_id).device_id


_LIST = "/devices/{device}/modules"
_ONE = "/devices/{device}/modules/{module}"
ROUTES = (
    Route(method="GET", path=_LIST, handler=list_modules, right=Right.REGISTRY_READ, flat_errors=True),
    Route(method="GET", path=_ONE, handler=get_module, right=Right.REGISTRY_READ, flat_errors=True),
    Route(method="PUT", path=_ONE, handler=put_module, right=Right.REGISTRY_WRITE, flat_errors=True),
    Route(method="DELETE", path=_ONE, handler=delete_module, right=Right.REGISTRY_WRITE, flat_errors=True),
)
