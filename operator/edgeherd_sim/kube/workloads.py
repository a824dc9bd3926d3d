"""Deployments are kept, not run; what is left out of them is filled in as the API server does it."""

import json
from typing import Any

from edgeherd_sim.kube.objects import clone
from edgeherd_sim.kube.rules import Problem, required, wrong

Body = dict[str, Any]

_SPEC: Body = {
    "replicas": 1,
    "strategy": {"type": "RollingUpdate"},
    "revisionHistoryLimit": 10,
    "progressDeadlineSeconds": 600,
}
_POD: Body = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
_CONTAINER: Body = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE: Body = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_ROLLING = {"maxUnavailable": "25%", "maxSurge": "25%"}
_READABLE = 0o644
_VOLUMES = ("secret", "configMap", "projected", "downwardAPI")


def default(body: Body) -> None:
    """Fill in what was left out."""
    spec = body.setdefault("spec", {})
    _fill(spec, _SPEC)
    if spec["strategy"].setdefault("type", "RollingUpdate") == "RollingUpdate":
        _fill(spec["strategy"].setdefault("rollingUpdate", {}), _ROLLING)
    pod = spec.setdefault("template", {}).setdefault("spec", {})
    _fill(pod, _POD)
    if "serviceAccountName" in pod:
        pod.setdefault("serviceAccount", pod["serviceAccountName"])
    for container in [*(pod.get("containers") or []), *(pod.get("initContainers") or [])]:
        _default_container(container)
    for volume in pod.get("volumes") or []:
        for source in _VOLUMES:
            if source in volume:
                volume[source].setdefault("defaultMode", _READABLE)
    spec["template"].setdefault("metadata", {})
    body.setdefault("status", {})


def _default_container(container: Body) -> None:
    _fill(container, _CONTAINER)
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    latest = tag in ("", "latest") and "@" not in image
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is not None:
            _fill(probe, _PROBE)
            if "httpGet" in probe:
                _fill(probe["httpGet"], {"path": "/", "scheme": "HTTP"})


def _fill(target: Body, values: Body) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = clone(value)


def check(new: Body, old: Body | None) -> list[Problem]:
    """Why a Deployment would be refused, as far as that is looked at."""
    spec = new["spec"]
    problems = []
    selector = spec.get("selector")
    labels = (spec["template"].get("metadata") or {}).get("labels")
    wanted = (selector or {}).get("matchLabels") or {}
    if selector is None:
        problems.append(required("spec.selector"))
    if selector is None or any((labels or {}).get(key) != value for key, value in wanted.items()):
        shown = json.dumps(labels, separators=(",", ":"))
        problems.append(wrong("spec.template.metadata.labels", shown, "`selector` does not match template `labels`"))
    containers = spec["template"]["spec"].get("containers") or []
    if not containers:
        problems.append(required("spec.template.spec.containers"))
    for number, container in enumerate(containers):
        problems += [
            required(f"spec.template.spec.containers[{number}].{key}")
            for key in ("name", "image")
            if not container.get(key)
        ]
    if old is not None and old["spec"].get("selector") != selector:
        shown = json.dumps(selector, separators=(",", ":"))
        problems.append(wrong("spec.selector", shown, "field is immutable"))
    return problems
