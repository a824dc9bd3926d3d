"""What a PUT makes of an identity. Pure: the store supplies revision, generation, time and keys."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from edgeherd_sim.hub import rules
from edgeherd_sim.hub.errors import HubError, invalid
from edgeherd_sim.hub.model import Authentication, Identity

EDGE_MODULES = ("$edgeAgent", "$edgeHub")
"""The modules that exist as soon as an edge device does."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What the hub adds to a write of its own accord."""

    revision: int
    generation_id: str
    at: str
    mint: Callable[[], str]


def created(device_id: str, body: Mapping[str, Any], stamp: Stamp) -> Identity:
    """A new device from the body of a PUT."""
    wanted = _wanted(device_id, body, stamp)
    if wanted.edge:
        scope = f"{rules.SCOPE_PREFIX}{device_id}-{stamp.generation_id}"
        return dataclasses.replace(wanted, device_scope=scope, parent_scopes=rules.parent_scopes(_parents(body)))
    return _leaf(wanted, body)


def updated(old: Identity, body: Mapping[str, Any], stamp: Stamp) -> Identity:
    """An existing device after a PUT: the body replaces everything but what belongs to the hub."""
    wanted = dataclasses.replace(
        _wanted(old.device_id, body, stamp),
        generation_id=old.generation_id,
        status_updated=old.status_updated,
        connected=old.connected,
        connection_updated=old.connection_updated,
        last_activity=old.last_activity,
    )
    if wanted.status != old.status:
        wanted = dataclasses.replace(wanted, status_updated=stamp.at)
    scope = rules.text(body.get("deviceScope"), "deviceScope") or ""
    if not wanted.edge:
        # A device that stops being an edge device sends the scope that it had, which is no parent of it.
        return wanted if old.edge else _leaf(wanted, body)
    parents = rules.parent_scopes(_parents(body))
    if old.edge:
        if scope != old.device_scope:
            raise HubError("InvalidDeviceScope", "Device scope is immutable.")
        return dataclasses.replace(wanted, device_scope=scope, parent_scopes=parents)
    if scope:
        raise HubError("ServiceUnavailable", "The request could not be processed.")
    # The hub leaves the generation out when a device becomes an edge device later.
    return dataclasses.replace(wanted, device_scope=f"{rules.SCOPE_PREFIX}{old.device_id}-", parent_scopes=parents)


def module(key: tuple[str, str], body: Mapping[str, Any], stamp: Stamp, old: Identity | None = None) -> Identity:
    """A module from the body of a PUT, new or in the place of `old`."""
    _same(body, "deviceId", key[0])
    _same(body, "moduleId", key[1])
    wanted = Identity(
        device_id=key[0],
        module_id=key[1],
        generation_id=stamp.generation_id,
        revision=stamp.revision,
        authentication=rules.authentication(body.get("authentication"), module=True, mint=stamp.mint),
        managed_by=rules.text(body.get("managedBy"), "managedBy"),
    )
    if old is None:
        return wanted
    return dataclasses.replace(
        wanted,
        generation_id=old.generation_id,
        connected=old.connected,
        connection_updated=old.connection_updated,
        last_activity=old.last_activity,
    )


def edge_module(device_id: str, module_id: str, stamp: Stamp) -> Identity:
    """A module as the hub makes it: it cannot authenticate until the device's daemon gives it keys."""
    return Identity(
        device_id=device_id,
        module_id=module_id,
        generation_id=stamp.generation_id,
        revision=stamp.revision,
        authentication=Authentication(type="none"),
        managed_by="iotEdge",
    )


def _wanted(device_id: str, body: Mapping[str, Any], stamp: Stamp) -> Identity:
    _same(body, "deviceId", device_id)
    capabilities = rules.mapping(body.get("capabilities"), "capabilities")
    return Identity(
        device_id=device_id,
        generation_id=stamp.generation_id,
        revision=stamp.revision,
        authentication=rules.authentication(body.get("authentication"), module=False, mint=stamp.mint),
        status=rules.status(body.get("status")),
        status_reason=rules.status_reason(body.get("statusReason")),
        edge=rules.flag(capabilities.get("iotEdge"), "capabilities.iotEdge"),
    )


def _leaf(wanted: Identity, body: Mapping[str, Any]) -> Identity:
    """A leaf names its parent by deviceScope, which the hub copies; parentScopes alone are ignored."""
    scope = rules.text(body.get("deviceScope"), "deviceScope")
    if not scope:
        return wanted
    rules.check_scope(scope)
    return dataclasses.replace(wanted, device_scope=scope, parent_scopes=(scope,))


def _parents(body: Mapping[str, Any]) -> object:
    return body.get("parentScopes")


def _same(body: Mapping[str, Any], name: str, expected: str) -> None:
    """An id in the body must be that of the path."""
    given = rules.text(body.get(name), name)
    if given is not None and given != expected:
        raise invalid(f"{name} of the body is not that of the address.")
