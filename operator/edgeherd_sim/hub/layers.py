"""Automatic deployments: which of them a twin gets, and what comes out when they are laid over each other. Pure.

As Microsoft describes it (module-deployment-monitoring, how-to-deploy-at-scale, `az iot edge deployment create --help`):
of the deployments whose condition fits, that of the highest priority counts, and of two equal ones the newer. Layered
deployments all count, if their priority is higher than that of the base; where two say the same, the higher one wins.
"""

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgeherd_sim.hub import rules, twindocs
from edgeherd_sim.hub.errors import HubError
from edgeherd_sim.hub.model import Configuration
from edgeherd_sim.hub.query_language import Target, parse_target

EDGE, DEVICE, MODULE = "modulesContent", "deviceContent", "moduleContent"
KINDS = (EDGE, DEVICE, MODULE)
_DESIRED = "properties.desired"

Settings = tuple[tuple[tuple[str, ...], Any], ...]
"""Places below the desired properties, with what is to be there; the empty place is all of them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Automatic:
    """A configuration as it is carried out."""

    id: str
    kind: str
    """One of KINDS."""
    layered: bool
    rank: tuple[int, str, str]
    """Whoever has the greater one wins."""
    target: Target | None
    """None is nobody."""
    settings: Mapping[str, Settings]
    """By module; under the empty name for the other kinds."""

    def fits(self, twin: Mapping[str, Any]) -> bool:
        """Whether a twin, as a query shows it, is one of its targets."""
        if self.target is None or self.target.modules is not (self.kind == MODULE):
            return False
        if ("moduleId" in twin) is not (self.kind == MODULE):
            return False
        if self.kind == EDGE and not twin["capabilities"]["iotEdge"]:
            return False
        return self.target.where(twin) is True


def read(configuration: Configuration) -> Automatic:
    """A configuration that was accepted, as it is carried out."""
    kind, content = _content(configuration.body["content"])
    condition = (configuration.body.get("targetCondition") or "").strip()
    settings = _settings(kind, content)
    return Automatic(
        id=configuration.id,
        kind=kind,
        layered=kind == EDGE and any(path for each in settings.values() for path, _ in each),
        rank=(configuration.body.get("priority") or 0, configuration.created, configuration.id),
        target=parse_target(condition) if condition else None,
        settings=settings,
    )


def check(content: Mapping[str, Any]) -> None:
    """Refuse a content that could not be carried out by anybody."""
    kind, named = _content(content)
    for name, settings in _settings(kind, named).items():
        if name and (not rules.ID.fullmatch(name) or (name.startswith("$") and name not in {"$edgeAgent", "$edgeHub"})):
            raise _bad(f"{name} is no name of a module.")
        # What no twin would take is refused before any twin is touched.
        twindocs.deployed(twindocs.fresh(""), laid([settings], {}), "", 1)


def applied(fitting: Iterable[Automatic]) -> tuple[Automatic, ...]:
    """Those of the fitting ones that count, the lowest first: a base with the layers above it, or one alone."""
    ranked = sorted(fitting, key=lambda each: each.rank)
    base = next((each for each in reversed(ranked) if not each.layered), None)
    if base is None:
        return ()
    return (base, *(each for each in ranked if each.layered and each.rank[0] > base.rank[0]))


def merged(automatics: Sequence[Automatic]) -> dict[str, dict[str, Any]]:
    """The desired properties of each module after all of them."""
    names = dict.fromkeys(name for each in automatics for name in each.settings)
    return {name: laid([each.settings.get(name, ()) for each in automatics], {}) for name in names}


def laid(layers: Iterable[Settings], below: Mapping[str, Any]) -> dict[str, Any]:
    """Desired properties with layers over them: what a layer sets is replaced there, whatever it was."""
    result: dict[str, Any] = copy.deepcopy(dict(below))
    for path, value in (setting for layer in layers for setting in layer):
        if not path:
            result = copy.deepcopy(value)
            continue
        place = result
        for name in path[:-1]:
            if not isinstance(place.get(name), dict):
                place[name] = {}
            place = place[name]
        place[path[-1]] = copy.deepcopy(value)
    return result


def _content(content: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    found = [(kind, content[kind]) for kind in KINDS if content.get(kind) is not None]
    if not found:
        raise _bad(f"The content must have one of {', '.join(KINDS)}.")
    kind, named = found[0]
    if not isinstance(named, dict):
        raise _bad(f"{kind} must be an object.")
    return kind, named


def _settings(kind: str, content: Mapping[str, Any]) -> dict[str, Settings]:
    if kind != EDGE:
        return {"": _places(content, kind)}
    found: dict[str, Settings] = {}
    for name, part in content.items():
        if not isinstance(part, dict):
            raise _bad(f"The content of {name} must be an object.")
        found[name] = _places(part, f"the content of {name}")
    return found


def _places(part: Mapping[str, Any], name: str) -> Settings:
    """What is written as `properties.desired.a.b`; `$schema` and the like are no settings."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in part.items():
        if key != _DESIRED and not key.startswith(f"{_DESIRED}."):
            if key.startswith("$"):
                continue
            raise _bad(f"{key} in {name} does not begin with {_DESIRED}.")
        path = tuple(key.removeprefix(_DESIRED).split(".")[1:])
        if (not path and not isinstance(value, dict)) or not all(path):
            raise _bad(f"{key} in {name} must be an object.")
        found.append((path, value))
    # The whole comes before its parts, however they are written.
    return tuple(sorted(found, key=lambda each: len(each[0])))


def _bad(message: str) -> HubError:
    return HubError("InvalidConfigurationContent", message)
