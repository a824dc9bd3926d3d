"""The printer columns of the built-in kinds."""

from collections.abc import Callable
from typing import Any

from edgeherd_sim.kube.durations import age
from edgeherd_sim.kube.kinds import Kind

Body = dict[str, Any]
_Column = tuple[str, str, int, Callable[[Body], Any]]


def _get(body: Body, path: str, default: Any = "") -> Any:
    found: Any = body
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return default if found is None else found


def _age(body: Body) -> str:
    return age(_get(body, "metadata.creationTimestamp"))


def _text(path: str, default: Any = "") -> Callable[[Body], Any]:
    return lambda body: _get(body, path, default)


def _created(body: Body) -> Any:
    return _get(body, "metadata.creationTimestamp")


def _selector(path: str) -> Callable[[Body], str]:
    def shown(body: Body) -> str:
        labels = _get(body, path, {})
        return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"

    return shown


def _data(body: Body) -> int:
    return len(_get(body, "data", {})) + len(_get(body, "binaryData", {}))


def _containers(field: str) -> Callable[[Body], str]:
    def shown(body: Body) -> str:
        return ",".join(item.get(field, "") for item in _get(body, "spec.template.spec.containers", []))

    return shown


def _event_age(field: str) -> Callable[[Body], str]:
    def shown(body: Body) -> str:
        fallback = _get(body, "eventTime") or _get(body, "metadata.creationTimestamp")
        series = _get(body, "series.lastObservedTime")
        return age((series if field == "lastTimestamp" else "") or _get(body, field) or fallback)

    return shown


def _event_object(body: Body) -> str:
    kind, name = _get(body, "involvedObject.kind").lower(), _get(body, "involvedObject.name")
    return f"{kind}/{name}" if name else kind


def _event_source(body: Body) -> str:
    component, host = _get(body, "source.component"), _get(body, "source.host")
    found = ", ".join(part for part in (component, host) if part)
    instance = ", ".join(part for part in (_get(body, "reportingComponent"), _get(body, "reportingInstance")) if part)
    return found or instance


def _event_count(body: Body) -> int:
    return int(_get(body, "series.count", 0) or _get(body, "count", 0) or 1)


def _role(body: Body) -> str:
    return f"{_get(body, 'roleRef.kind')}/{_get(body, 'roleRef.name')}"


def _subjects(kind: str) -> Callable[[Body], str]:
    def shown(body: Body) -> str:
        found = [subject for subject in _get(body, "subjects", []) if subject.get("kind") == kind]
        if kind == "ServiceAccount":
            return ", ".join(f"{subject.get('namespace', '')}/{subject['name']}" for subject in found)
        return ", ".join(subject["name"] for subject in found)

    return shown


def _ready(body: Body) -> str:
    return f"{_get(body, 'status.readyReplicas', 0)}/{_get(body, 'spec.replicas', 1)}"


def _pod_ready(body: Body) -> str:
    states = _get(body, "status.containerStatuses", [])
    ready = sum(bool(state.get("ready")) for state in states)
    return f"{ready}/{len(_get(body, 'spec.containers', []))}"


def _ports(body: Body) -> str:
    ports = _get(body, "spec.ports", [])
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


_NAME_AND_CREATED: tuple[_Column, ...] = (("Created At", "date", 0, _created),)
_AGE: _Column = ("Age", "string", 0, _age)
_TEMPLATE: tuple[_Column, ...] = (
    ("Containers", "string", 1, _containers("name")),
    ("Images", "string", 1, _containers("image")),
    ("Selector", "string", 1, _selector("spec.selector.matchLabels")),
)
_BINDING: tuple[_Column, ...] = (
    ("Role", "string", 0, _role),
    _AGE,
    ("Users", "string", 1, _subjects("User")),
    ("Groups", "string", 1, _subjects("Group")),
    ("ServiceAccounts", "string", 1, _subjects("ServiceAccount")),
)

_COLUMNS: dict[str, tuple[_Column, ...]] = {
    "Namespace": (("Status", "string", 0, _text("status.phase")), _AGE),
    "Secret": (("Type", "string", 0, _text("type")), ("Data", "string", 0, _data), _AGE),
    "ConfigMap": (("Data", "string", 0, _data), _AGE),
    "ServiceAccount": (_AGE,),
    "Event": (
        ("Last Seen", "string", 0, _event_age("lastTimestamp")),
        ("Type", "string", 0, _text("type")),
        ("Reason", "string", 0, _text("reason")),
        ("Object", "string", 0, _event_object),
        ("Subobject", "string", 1, _text("involvedObject.fieldPath")),
        ("Source", "string", 1, _event_source),
        ("Message", "string", 0, lambda body: _get(body, "message").strip()),
        ("First Seen", "string", 1, _event_age("firstTimestamp")),
        ("Count", "string", 1, _event_count),
        ("Name", "string", 1, _text("metadata.name")),
    ),
    "Lease": (("Holder", "string", 0, _text("spec.holderIdentity")), _AGE),
    "Deployment": (
        ("Ready", "string", 0, _ready),
        ("Up-to-date", "string", 0, _text("status.updatedReplicas", 0)),
        ("Available", "string", 0, _text("status.availableReplicas", 0)),
        _AGE,
        *_TEMPLATE,
    ),
    "ReplicaSet": (
        ("Desired", "integer", 0, _text("spec.replicas", 1)),
        ("Current", "integer", 0, _text("status.replicas", 0)),
        ("Ready", "integer", 0, _text("status.readyReplicas", 0)),
        _AGE,
        *_TEMPLATE,
    ),
    "Pod": (
        ("Ready", "string", 0, _pod_ready),
        ("Status", "string", 0, _text("status.phase")),
        ("Restarts", "string", 0, lambda _: 0),
        _AGE,
        ("IP", "string", 1, _text("status.podIP", "<none>")),
        ("Node", "string", 1, _text("spec.nodeName", "<none>")),
        ("Nominated Node", "string", 1, _text("status.nominatedNodeName", "<none>")),
        ("Readiness Gates", "string", 1, lambda _: "<none>"),
    ),
    "Service": (
        ("Type", "string", 0, _text("spec.type", "ClusterIP")),
        ("Cluster-IP", "string", 0, _text("spec.clusterIP", "<none>")),
        ("External-IP", "string", 0, lambda _: "<none>"),
        ("Port(s)", "string", 0, _ports),
        _AGE,
        ("Selector", "string", 1, _selector("spec.selector")),
    ),
    "NetworkPolicy": (("Pod-Selector", "string", 0, _selector("spec.podSelector.matchLabels")), _AGE),
    "PodDisruptionBudget": (
        ("Min Available", "string", 0, lambda body: str(_get(body, "spec.minAvailable", "N/A"))),
        ("Max Unavailable", "string", 0, lambda body: str(_get(body, "spec.maxUnavailable", "N/A"))),
        ("Allowed Disruptions", "integer", 0, _text("status.disruptionsAllowed", 0)),
        _AGE,
    ),
    "ClusterRoleBinding": _BINDING,
    "RoleBinding": _BINDING,
}


def _of(kind: Kind) -> tuple[_Column, ...]:
    return _COLUMNS.get(kind.kind, _NAME_AND_CREATED)


def definitions(kind: Kind) -> list[Body]:
    """The columns after the name."""
    return [
        {"name": name, "type": type_, "format": "", "description": "", "priority": priority}
        for name, type_, priority, _ in _of(kind)
    ]


def cells(kind: Kind, body: Body) -> list[Any]:
    """The cells after the name."""
    return [shown(body) for _, _, _, shown in _of(kind)]
