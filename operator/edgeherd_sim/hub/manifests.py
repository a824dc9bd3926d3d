"""The content of a deployment to an edge device: which modules it asks for, and with which desired properties. Pure."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from edgeherd_sim.hub import rules, twindocs
from edgeherd_sim.hub.errors import HubError
from edgeherd_sim.hub.identities import EDGE_MODULES

_AGENT = "$edgeAgent"
_DESIRED = "properties.desired"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a device is to run. The runtime's own modules are not among `modules`: they are always there."""

    modules: frozenset[str]
    desired: Mapping[str, Mapping[str, Any]]
    """By module, the runtime's included; a module without an entry keeps what it has."""


def read(content: Mapping[str, Any]) -> Manifest:
    """The manifest, or InvalidConfigurationContent."""
    modules = _object(content.get("modulesContent"), "modulesContent")
    if _AGENT not in modules:
        raise _bad(f"modulesContent must have {_AGENT}.")
    return of({name: _desired(name, part) for name, part in modules.items()})


def of(desired: Mapping[str, Mapping[str, Any]]) -> Manifest:
    """The manifest that these desired properties are, or InvalidConfigurationContent."""
    listed = _object(desired.get(_AGENT, {}).get("modules") or {}, f"the modules of {_AGENT}")
    wanted = {name for name, entry in listed.items() if entry is not None}
    names = frozenset({*desired, *wanted} - set(EDGE_MODULES))
    for name in names:
        if name.startswith("$") or not rules.ID.fullmatch(name):
            raise _bad(f"{name} is no name of a module.")
    return Manifest(modules=names, desired=desired)


def _desired(name: str, part: object) -> Mapping[str, Any]:
    content = _object(part, f"the content of {name}")
    if set(content) != {_DESIRED}:
        raise _bad(f"The content of {name} must have {_DESIRED} and nothing else.")
    value = _object(content[_DESIRED], f"{_DESIRED} of {name}")
    # It is refused here what its twin would refuse, before any twin is touched.
    twindocs.deployed(twindocs.fresh(""), value, "", 1)
    return value


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _bad(f"{name} must be an object.")
    return value


def _bad(message: str) -> HubError:
    return HubError("InvalidConfigurationContent", message)
