"""Automatic deployments of the emulated hub, laid over each other: which ones count, and what comes out."""

import dataclasses
from typing import Any

import pytest

from edgeherd_sim.hub import layers
from edgeherd_sim.hub.model import Configuration

AGENT: dict[str, Any] = {"schemaVersion": "1.1", "modules": {"vision": {"image": "vision:1", "env": {"a": 1}}}}
BASE = {"$edgeAgent": {"properties.desired": AGENT}, "$edgeHub": {"properties.desired": {"routes": {"r": "x"}}}}


def of(name: str, modules: dict[str, Any], priority: int = 0, created: str = "2026-11-28T10:00:00.0000000Z") -> Any:
    """A deployment of modules."""
    body = {"content": {"modulesContent": modules}, "priority": priority, "targetCondition": "*"}
    return layers.read(Configuration(id=name, revision=1, created=created, updated=created, body=body))


def layer(priority: int, name: str = "layer", **modules: Any) -> Any:
    """A deployment that adds modules to what there is."""
    agent = {f"properties.desired.modules.{module}": said for module, said in modules.items()}
    return of(name, {"$edgeAgent": agent}, priority)


NEWER = "2026-11-28T11:00:00.0000000Z"
CHOICES: dict[str, tuple[list[Any], list[str]]] = {
    "nobody": ([], []),
    "one": ([of("a", BASE)], ["a"]),
    "the highest priority counts": ([of("a", BASE, 9), of("b", BASE, 10), of("c", BASE, 8)], ["b"]),
    "of two equal ones the newer counts": ([of("a", BASE, 1, NEWER), of("b", BASE, 1)], ["a"]),
    "layers lie over the base by their priority": (
        [layer(5, "high", a={}), of("base", BASE, 1), layer(2, "low", b={})],
        ["base", "low", "high"],
    ),
    "a layer must be higher than the base": (
        [of("base", BASE, 3), layer(3, "same", a={}), layer(2, "low", a={})],
        ["base"],
    ),
    "layers of a base that lost count with the winner": (
        [of("old", BASE, 1), of("new", BASE, 4), layer(2, "between", a={}), layer(5, "above", a={})],
        ["new", "above"],
    ),
    "layers alone are nothing": ([layer(7, a={})], []),
}


@pytest.mark.parametrize("name", CHOICES)
def test_what_counts(name: str) -> None:
    """One base, and the layers above it."""
    fitting, expected = CHOICES[name]
    assert [each.id for each in layers.applied(fitting)] == expected


MERGED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "a base": ([of("a", BASE)], {"$edgeAgent": AGENT, "$edgeHub": {"routes": {"r": "x"}}}),
    "a layer adds a module and a route": (
        [
            of("a", BASE),
            of(
                "b",
                {
                    "$edgeAgent": {"properties.desired.modules.sound": {"image": "sound:1"}},
                    "$edgeHub": {"properties.desired.routes.s": "y"},
                },
                1,
            ),
        ],
        {
            "$edgeAgent": {**AGENT, "modules": {**AGENT["modules"], "sound": {"image": "sound:1"}}},
            "$edgeHub": {"routes": {"r": "x", "s": "y"}},
        },
    ),
    "a module of the same name is replaced whole": (
        [of("a", BASE), layer(1, vision={"image": "vision:2"})],
        {"$edgeAgent": {**AGENT, "modules": {"vision": {"image": "vision:2"}}}, "$edgeHub": {"routes": {"r": "x"}}},
    ),
    "the higher layer wins": (
        [of("a", BASE), layer(1, vision={"image": "vision:2"}), layer(2, "top", vision={"image": "vision:3"})],
        {"$edgeAgent": {**AGENT, "modules": {"vision": {"image": "vision:3"}}}, "$edgeHub": {"routes": {"r": "x"}}},
    ),
    "a place inside a module": (
        [of("a", BASE), of("b", {"$edgeAgent": {"properties.desired.modules.vision.env.b": 2}}, 1)],
        {
            "$edgeAgent": {**AGENT, "modules": {"vision": {"image": "vision:1", "env": {"a": 1, "b": 2}}}},
            "$edgeHub": {"routes": {"r": "x"}},
        },
    ),
    "whole desired properties overwrite those of lower deployments": (
        [
            of("a", {**BASE, "vision": {"properties.desired": {"fps": 5, "gain": 1}}}),
            of("b", {"$edgeAgent": {"properties.desired.modules.x": {}}, "vision": {"properties.desired": {"fps": 6}}}, 1),
        ],
        {
            "$edgeAgent": {**AGENT, "modules": {**AGENT["modules"], "x": {}}},
            "$edgeHub": {"routes": {"r": "x"}},
            "vision": {"fps": 6},
        },
    ),
    "a whole comes before its parts, however they are written": (
        [of("a", {"$edgeAgent": {"properties.desired.a.b": 2, "properties.desired": {"a": {"b": 1, "c": 3}}}})],
        {"$edgeAgent": {"a": {"b": 2, "c": 3}}},
    ),
    "an object takes the place of a value": (
        [of("a", {"$edgeAgent": {"properties.desired": {"a": 1}}}), of("b", {"$edgeAgent": {"properties.desired.a.b": 2}}, 1)],
        {"$edgeAgent": {"a": {"b": 2}}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MERGED)
def test_what_comes_out(name: str) -> None:
    """The desired properties of each module; what went in stays as it was."""
    automatics, expected = MERGED[name]
    before = [dataclasses.replace(each) for each in automatics]
    assert (layers.merged(automatics), automatics) == (expected, before)


def twin(**more: Any) -> dict[str, Any]:
    """A twin of an edge device, as a query shows it."""
    return {"deviceId": "press-01", "capabilities": {"iotEdge": True}, "tags": {"line": 1}, **more}


LEAF = twin(capabilities={"iotEdge": False})
PART = {"deviceId": "press-01", "moduleId": "vision", "tags": {"line": 1}}
TARGETS: dict[str, tuple[str, str, list[bool]]] = {
    "everybody": ("modulesContent", "*", [True, False, False]),
    "nobody": ("modulesContent", "", [False, False, False]),
    "blanks are nobody": ("modulesContent", "  ", [False, False, False]),
    "a condition": ("modulesContent", "tags.line = 1", [True, False, False]),
    "another condition": ("modulesContent", "tags.line = 2", [False, False, False]),
    "a condition with its collection": ("modulesContent", "FROM devices WHERE tags.line = 1", [True, False, False]),
    "a condition on modules is nobody's": ("modulesContent", "FROM devices.modules WHERE tags.line = 1", [False] * 3),
    "settings of devices": ("deviceContent", "tags.line = 1", [True, True, False]),
    "settings of modules": ("moduleContent", "FROM devices.modules WHERE tags.line = 1", [False, False, True]),
    "settings of modules want their collection": ("moduleContent", "tags.line = 1", [False, False, False]),
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets(name: str) -> None:
    """An edge device, a leaf and a module: whom a deployment is for."""
    kind, condition, expected = TARGETS[name]
    body = {"content": {kind: {}}, "targetCondition": condition}
    automatic = layers.read(Configuration(id="a", revision=1, created="", updated="", body=body))
    assert [automatic.fits(each) for each in (twin(), LEAF, PART)] == expected
