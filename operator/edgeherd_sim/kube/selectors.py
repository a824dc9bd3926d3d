"""Label and field selectors."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from edgeherd_sim.kube.failures import bad_request

Body = dict[str, Any]
Test = Callable[[Body], bool]

_KEY = r"[A-Za-z0-9./_-]+"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^)]*)\)")
_EQUALS = re.compile(rf"({_KEY})\s*(==|=|!=)\s*([A-Za-z0-9._-]*)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_ORDER = re.compile(rf"({_KEY})\s*(>|<|gt|lt)\s*(-?\d+)")


def labels(text: str) -> Test | None:
    """The test of a label selector; None when it selects everything.

    Raises:
        Failure: 400, it cannot be read.
    """
    if not text.strip():
        return None
    tests = [_requirement(part.strip()) for part in _split(text)]

    def chosen(body: Body) -> bool:
        found = body["metadata"].get("labels") or {}
        return all(test(found) for test in tests)

    return chosen


def _split(text: str) -> list[str]:
    """The requirements: parts between commas that are not in parentheses."""
    return re.findall(r"(?:[^,(]|\([^)]*\))+", text)


def _requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.fullmatch(text):
        key, values = match[1], {value.strip() for value in match[3].split(",")}
        if match[2] == "in":
            return lambda found: key in found and found[key] in values
        return lambda found: found.get(key) not in values
    if match := _EQUALS.fullmatch(text):
        key, wanted = match[1], match[3]
        if match[2] == "!=":
            return lambda found: found.get(key) != wanted
        return lambda found: found.get(key) == wanted
    if match := _ORDER.fullmatch(text):
        key, limit, above = match[1], int(match[3]), match[2] in (">", "gt")
        return lambda found: _ordered(found.get(key), limit, above)
    if match := _EXISTS.fullmatch(text):
        key, absent = match[2], bool(match[1])
        return lambda found: (key in found) is not absent
    raise bad_request(_complaint(text))


def _ordered(value: str | None, limit: int, above: bool) -> bool:
    if value is None or not re.fullmatch(r"-?\d+", value):
        return False
    return int(value) > limit if above else int(value) < limit


def _complaint(text: str) -> str:
    words = text.split()
    if len(words) > 1:
        return f"unable to parse requirement: found '{words[1]}', expected: in, notin, =, ==, !=, gt, lt"
    return f"unable to parse requirement: found '{text}', expected: identifier"


def fields(text: str, supported: frozenset[str]) -> Test | None:
    """The test of a field selector; None when it selects everything.

    Raises:
        Failure: 400, it cannot be read, or names a field that cannot be selected by.
    """
    if not text.strip():
        return None
    terms = [_term(part, supported) for part in text.split(",") if part]

    def chosen(body: Body) -> bool:
        return all((_value(body, path) == wanted) is equal for path, equal, wanted in terms)

    return chosen


def _term(text: str, supported: frozenset[str]) -> tuple[str, bool, str]:
    match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", text)
    if match is None:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{text}'")
    if match[1] not in supported:
        raise bad_request(f"field label not supported: {match[1]}")
    return match[1], match[2] != "!=", match[3]


def _value(body: Body, path: str) -> str:
    found: Any = body
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if path == "type" and found is None:
        return ""
    if isinstance(found, bool):
        return str(found).lower()
    return "" if found is None else str(found)


_COMMON = frozenset({"metadata.name", "metadata.namespace"})
_INVOLVED = tuple(
    f".{part}" for part in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
)
_MORE: dict[tuple[str, str], frozenset[str]] = {
    ("", "Namespace"): frozenset({"status.phase"}),
    ("", "Secret"): frozenset({"type"}),
    ("", "Pod"): frozenset({"spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"}),
    ("", "Event"): frozenset(f"involvedObject{part}" for part in _INVOLVED)
    | {"reason", "type", "reportingComponent", "source"},
    ("events.k8s.io", "Event"): frozenset(f"regarding{part}" for part in _INVOLVED)
    | {"reason", "type", "reportingController"},
    ("apps", "ReplicaSet"): frozenset({"status.replicas"}),
}


def supported(group: str, kind: str, selectable: tuple[str, ...], *, namespaced: bool) -> frozenset[str]:
    """The fields that objects of a kind can be selected by."""
    common = _COMMON if namespaced or not selectable else frozenset({"metadata.name"})
    return common | _MORE.get((group, kind), frozenset()) | frozenset(selectable)
