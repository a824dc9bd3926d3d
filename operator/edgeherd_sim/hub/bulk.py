"""`POST /devices`: many identities in one call. What fails does not keep the others from being done."""

from collections.abc import Callable, Mapping
from typing import Any

from edgeherd_sim.hub import batches, rules
from edgeherd_sim.hub.auth import Right
from edgeherd_sim.hub.calls import Call, Reply, Route
from edgeherd_sim.hub.errors import HubError, invalid
from edgeherd_sim.hub.model import Key
from edgeherd_sim.hub.store import Store

_Entry = Mapping[str, Any]


def write_many(call: Call) -> Reply:
    """`POST /devices`: a result without keys, with 200 if all went well and 400 if not."""
    errors: list[dict[str, Any]] = []
    warnings: list[dict[str, Any]] = []
    for key, entry in batches.entries(call.json(), "The body"):
        try:
            warning = _carry_out(call.store, key, entry)
        except HubError as exc:
            module = {"moduleId": key[1]} if key[1] else {}
            errors.append({"deviceId": key[0], "errorCode": exc.code, "errorStatus": exc.message, **module})
        else:
            warnings += [] if warning is None else [warning]
    body = {"isSuccessful": not errors, "errors": errors, "warnings": warnings}
    return Reply(status=400 if errors else 200, body=body)


def _carry_out(store: Store, key: Key, entry: _Entry) -> dict[str, Any] | None:
    """One entry by its import mode; a warning when it has gone only half well."""
    if key[1]:
        store.device(key[0])
    mode = rules.text(entry.get("importMode"), "importMode") or "createOrUpdate"
    action = _MODES.get(mode.lower())
    if action is None:
        raise invalid(f"The import mode {mode} is unknown.")
    return action(store, key, entry)


def _create_or_update(store: Store, key: Key, entry: _Entry) -> dict[str, Any] | None:
    if key not in store.identities:
        return _create(store, key, entry)
    _update(store, key, entry)
    return None


def _create(store: Store, key: Key, entry: _Entry) -> dict[str, Any] | None:
    _put(store, key, entry, None)
    try:
        _patch(store, key, entry, None)
    except HubError as exc:
        # The identity is there by now; that its twin lacks what was asked for is a warning only.
        return {"deviceId": key[0], "warningCode": "DeviceRegisteredWithoutTwin", "warningStatus": exc.message}
    return None


def _update(store: Store, key: Key, entry: _Entry) -> None:
    _put(store, key, entry, "*")
    _patch(store, key, entry, None)


def _update_if_match(store: Store, key: Key, entry: _Entry) -> None:
    _put(store, key, entry, _etag(entry, "eTag"))
    _patch(store, key, entry, rules.text(entry.get("twinETag"), "twinETag"))


def _delete(store: Store, key: Key, _: _Entry) -> None:
    _remove(store, key, "*")


def _delete_if_match(store: Store, key: Key, entry: _Entry) -> None:
    _remove(store, key, _etag(entry, "eTag"))


def _update_twin(store: Store, key: Key, entry: _Entry) -> None:
    store.patch_twin(key, entry, None)


def _update_twin_if_match(store: Store, key: Key, entry: _Entry) -> None:
    store.patch_twin(key, entry, _etag(entry, "twinETag"))


_MODES: Mapping[str, Callable[[Store, Key, _Entry], dict[str, Any] | None]] = {
    "create": _create,
    "createorupdate": _create_or_update,
    "update": _update,
    "updateifmatchetag": _update_if_match,
    "delete": _delete,
    "deleteifmatchetag": _delete_if_match,
    "updatetwin": _update_twin,
    "updatetwinifmatchetag": _update_twin_if_match,
}


def _put(store: Store, key: Key, entry: _Entry, if_match: str | None) -> None:
    if key[1]:
        store.put_module(*key, entry, if_match)
    else:
        store.put_device(key[0], entry, if_match)


def _patch(store: Store, key: Key, entry: _Entry, if_match: str | None) -> None:
    if entry.get("tags") is not None or entry.get("properties") is not None:
        store.patch_twin(key, entry, if_match)


def _remove(store: Store, key: Key, if_match: str) -> None:
    if key[1]:
        store.delete_module(*key, if_match)
    else:
        store.delete_device(key[0], if_match)


def _etag(entry: _Entry, name: str) -> str:
    """The etag that a mode wants to compare."""
    etag = rules.text(entry.get(name), name)
    if not etag:
        raise HubError("PreconditionFailed", f"Precondition failed: {name} missing.")
    return etag


ROUTES = (
    Route(
        method="POST",
        path="/devices",
        handler=write_many,
        right=Right.REGISTRY_WRITE,
        cost=batches.cost,
    ),
)
