"""What the built-in kinds do on a write beyond storing: defaults, rules, and their unknown fields."""

import base64
import json
from typing import Any

from edgeherd_sim.kube import events, rules, workloads
from edgeherd_sim.kube.kinds import Kind
from edgeherd_sim.kube.objects import Body, metadata

_IMMUTABLE = "field is immutable"
RBAC = "rbac.authorization.k8s.io"
_SECRET_KEYS = {
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
}
_SECRET_LIMIT = 1024 * 1024


def is_crd(kind: Kind) -> bool:
    """Whether the kind is that of CRDs."""
    return kind.kind == "CustomResourceDefinition" and not kind.custom


def to_storage(kind: Kind, body: Body) -> Body:
    """The form in which an object is kept."""
    return events.to_core(body) if kind.group == "events.k8s.io" and not kind.custom else body


def from_storage(kind: Kind, body: Body) -> Body:
    """A stored object in the form of the kind."""
    if kind.group == "events.k8s.io" and not kind.custom:
        return events.to_events(body)
    if kind.custom and body["apiVersion"] != kind.api_version:
        return body | {"apiVersion": kind.api_version}
    return body


def prepare_create(kind: Kind, body: Body) -> None:
    """Drop what a creator may not write, set what every new object has."""
    if kind.status:
        body.pop("status", None)
    if kind.custom:
        return
    if kind.kind == "Namespace":
        body.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        body["status"] = {"phase": "Active"}


def prepare_update(kind: Kind, new: Body, old: Body) -> None:
    """Keep what an update may not write."""
    if kind.kind == "Namespace" and not kind.custom:
        new["spec"] = old.get("spec", {})


def default(kind: Kind, body: Body) -> None:
    """Fill in what was left out."""
    if kind.kind == "Secret":
        _default_secret(body)
    elif kind.kind == "Namespace":
        info = metadata(body)
        info["labels"] = {**(info.get("labels") or {}), "kubernetes.io/metadata.name": info.get("name", "")}
    elif kind.kind == "Event":
        events.default(body, core=not kind.group)
    elif kind.kind == "Deployment":
        workloads.default(body)
    elif kind.group == RBAC:
        _default_binding(body)
    elif is_crd(kind):
        rules.default_crd(body)


def _default_binding(body: Body) -> None:
    for subject in body.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", RBAC)
    if isinstance(body.get("roleRef"), dict) and not body["roleRef"].get("apiGroup"):
        body["roleRef"]["apiGroup"] = RBAC


def _default_secret(body: Body) -> None:
    given = body.pop("stringData", None) or {}
    if given:
        body["data"] = {**(body.get("data") or {})} | {
            key: base64.b64encode(value.encode()).decode() for key, value in given.items()
        }
    if not body.get("type"):
        body["type"] = "Opaque"


def check(kind: Kind, new: Body, old: Body | None) -> list[Any]:  # noqa: PLR0911 - one for each kind
    """Why the object would be refused."""
    if is_crd(kind):
        return rules.check_crd(new)
    if kind.kind == "Secret":
        return _check_secret(new, old)
    if kind.kind == "ConfigMap":
        return _check_immutable(new, old, ("data", "binaryData"))
    if kind.kind == "Event":
        return events.check(new, core=not kind.group) if old is None else []
    if kind.kind == "Lease":
        return _check_lease(new)
    if kind.kind == "Deployment":
        return workloads.check(new, old)
    if kind.kind in ("RoleBinding", "ClusterRoleBinding"):
        return _check_binding(kind, new, old)
    return []


def _check_lease(new: Body) -> list[Any]:
    seconds = (new.get("spec") or {}).get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        return [rules.wrong("spec.leaseDurationSeconds", str(seconds), "must be greater than 0")]
    return []


def _check_binding(kind: Kind, new: Body, old: Body | None) -> list[Any]:
    given = new.get("roleRef") or {}
    known = ("Role", "ClusterRole") if kind.kind == "RoleBinding" else ("ClusterRole",)
    problems: list[Any] = []
    if given.get("kind") not in known:
        words = ", ".join(json.dumps(name) for name in known)
        message = f"Unsupported value: {json.dumps(given.get('kind', ''))}: supported values: {words}"
        problems.append(rules.Problem(reason="FieldValueNotSupported", field="roleRef.kind", message=message))
    if not given.get("name"):
        problems.append(rules.required("roleRef.name"))
    if old is not None and old.get("roleRef") != given:
        names = (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name"))
        shown = ", ".join(f"{name}:{json.dumps(given.get(key, ''))}" for name, key in names)
        problems.append(rules.wrong("roleRef", f"rbac.RoleRef{{{shown}}}", "cannot change roleRef"))
    return problems


def _check_secret(new: Body, old: Body | None) -> list[Any]:
    problems: list[Any] = []
    data = new.get("data") or {}
    problems += [rules.required(f"data[{key}]") for key in _SECRET_KEYS.get(new["type"], ()) if key not in data]
    if sum(len(value) for value in data.values()) * 3 // 4 > _SECRET_LIMIT:
        problems.append(
            rules.Problem(
                reason="FieldValueTooLong",
                field="data",
                message=f"Too long: may not be more than {_SECRET_LIMIT} bytes",
            )
        )
    if old is not None and old.get("type") != new["type"]:
        problems.append(rules.wrong("type", json.dumps(new["type"]), _IMMUTABLE))
    return problems + _check_immutable(new, old, ("data",))


def _check_immutable(new: Body, old: Body | None, parts: tuple[str, ...]) -> list[Any]:
    if old is None or not old.get("immutable"):
        return []
    problems = []
    if not new.get("immutable"):
        problems.append(rules.not_allowed("immutable", f"{_IMMUTABLE} when `immutable` is set"))
    problems += [
        rules.not_allowed(part, f"{_IMMUTABLE} when `immutable` is set")
        for part in parts
        if (new.get(part) or {}) != (old.get(part) or {})
    ]
    return problems
