"""Events have two views, `v1` and `events.k8s.io/v1`, of the same objects; they are kept in the first."""

import json
from typing import Any

from edgeherd_sim.kube.meta import qualified_name
from edgeherd_sim.kube.rules import Problem, required, wrong

Body = dict[str, Any]

_CORE_TO_EVENTS = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_EVENTS_TO_CORE = {new: old for old, new in _CORE_TO_EVENTS.items()}
_ALWAYS: Body = {
    "involvedObject": {},
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
"""Fields of a core event that are written out even when they are empty."""


def to_events(body: Body) -> Body:
    """A stored event as `events.k8s.io/v1`."""
    found = _renamed(body, _CORE_TO_EVENTS) | {"apiVersion": "events.k8s.io/v1"}
    for key in ("reportingController", "reportingInstance"):
        if not found.get(key):
            found.pop(key, None)
    return found


def to_core(body: Body) -> Body:
    """An event of `events.k8s.io/v1` as it is stored."""
    return _ALWAYS | _renamed(body, _EVENTS_TO_CORE) | {"apiVersion": "v1"}


def _renamed(body: Body, names: dict[str, str]) -> Body:
    return {names.get(key, key): value for key, value in body.items()}


def default(body: Body, *, core: bool) -> None:
    """Fill in what is always there."""
    if core:
        for key, value in _ALWAYS.items():
            if body.get(key) is None:
                body[key] = dict(value) if isinstance(value, dict) else value


def check(body: Body, *, core: bool) -> list[Problem]:
    """Why a new event would be refused."""
    event = body if core else to_core(body)
    namespace, involved = event["metadata"].get("namespace", ""), event["involvedObject"].get("namespace", "")
    problems = []
    if (involved or "default") != namespace:
        problems.append(wrong("involvedObject.namespace", json.dumps(involved), "does not match event.namespace"))
    if core and not event.get("eventTime"):
        # Events of the old kind may say as little as they like.
        return problems
    if not event.get("eventTime"):
        problems.append(required("eventTime"))
    else:
        problems += _check_reporter(event, "reportingComponent" if core else "reportingController")
    if not core and event.get("type") not in ("Normal", "Warning"):
        shown = event.get("type", "")
        problems.append(wrong("type", json.dumps(shown), f"has invalid value: {shown}"))
    return problems


def _check_reporter(event: Body, name: str) -> list[Problem]:
    reporter = event.get("reportingComponent", "")
    problems = [] if reporter else [required(name)]
    problems += [wrong(name, json.dumps(reporter), words) for words in qualified_name(reporter)]
    return problems + [required(key) for key in ("reportingInstance", "action", "reason") if not event.get(key)]
