"""`POST /devices/keys/regenerate`: new keys for many identities, by the hub's own hand."""

from collections.abc import Mapping
from typing import Any

from edgeherd_sim.hub import batches, rules
from edgeherd_sim.hub.auth import Right
from edgeherd_sim.hub.calls import Call, Reply, Route
from edgeherd_sim.hub.errors import HubError
from edgeherd_sim.hub.model import Key
from edgeherd_sim.hub.store import Store

_ROTATED = {"primaryKey": ("primaryKey",), "secondaryKey": ("secondaryKey",), "both": ("primaryKey", "secondaryKey")}


def regenerate(call: Call) -> Reply:
    """`POST /devices/keys/regenerate`: 200 if all went well, 207 if some did, 400 if none did."""
    body = call.body()
    policy = rules.text(body.get("policyKey"), "policyKey") or ""
    rotated: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for key, _ in batches.entries(body.get("devices"), "devices"):
        names = {"id": key[0], **({"moduleId": key[1]} if key[1] else {})}
        if policy not in _ROTATED:
            errors.append({**names, "errorCode": "InvalidPolicyKey", "errorStatus": "The policy key is unknown."})
            continue
        try:
            rotated.append({**names, **_rotate(call.store, key, policy)})
        except HubError as exc:
            errors.append({**names, "errorCode": _name(exc), "errorStatus": exc.message})
    status = 200 if not errors else 207 if rotated else 400
    return Reply(status=status, body={"policyKey": policy, "rotatedKeys": rotated, "errors": errors})


def _rotate(store: Store, key: Key, policy: str) -> Mapping[str, str | None]:
    """The keys that are new, and no others."""
    if store.device(key[0]) and key[1]:
        store.module(*key)
    authentication = store.rotate(key, policy).authentication
    keys = {"primaryKey": authentication.primary_key, "secondaryKey": authentication.secondary_key}
    return {name: keys[name] for name in _ROTATED[policy]}


def _name(error: HubError) -> str:
    """An identity without keys is this call's own kind of failure."""
    return "BulkRegenerateDeviceKeyOperationFailure" if error.code == "InvalidOperation" else error.code


ROUTES = (
    Route(
        method="POST",
        path="/devices/keys/regenerate",
        handler=regenerate,
        right=Right.REGISTRY_WRITE,
        cost=batches.cost,
        versions=frozenset({"2024-03-31"}),
    ),
)
