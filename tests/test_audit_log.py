"""What an audit log is read for."""

import json
import pathlib

from rights import AuditLog, granted

USER = "system:serviceaccount:edgeherd-system:edgeherd"


def entry(verb: str, ref: dict[str, str] | None, decision: str = "allow", user: str = USER) -> bytes:
    """A line of the log, as kube-apiserver 1.36 writes it at level Metadata."""
    said = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "stage": "ResponseComplete",
        "verb": verb,
        "user": {"username": user, "groups": ["system:serviceaccounts", "system:authenticated"]},
        **({"objectRef": ref} if ref else {}),
        "responseStatus": {"metadata": {}, "code": 403 if decision == "forbid" else 200},
        "annotations": {"authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": ""},
    }
    return json.dumps(said).encode() + b"\n"


DEVICE = {"resource": "edgedevices", "namespace": "plant-a", "apiGroup": "edgeherd.io", "apiVersion": "v1alpha1"}
SECRET = {"resource": "secrets", "namespace": "plant-a", "name": "x", "apiVersion": "v1"}


def test_a_log_says_what_a_user_asked_for_and_what_was_denied(tmp_path: pathlib.Path) -> None:
    """By verb, group, resource and subresource; discovery and other users do not count, nor a line that is being written."""
    log = AuditLog(tmp_path / "audit.log")
    assert (log.size, log.asked(USER), log.denied(USER)) == (0, set(), set())
    log.path.write_bytes(entry("list", DEVICE))
    since = log.size
    with log.path.open("ab") as stream:
        stream.write(entry("patch", {**DEVICE, "subresource": "status", "name": "press-01"}))
        stream.write(entry("get", None))
        stream.write(entry("get", SECRET, "forbid"))
        stream.write(entry("list", SECRET, user="system:serviceaccount:other:other"))
        stream.write(entry("delete", SECRET)[:-20])
    assert log.asked(USER) == {"list edgeherd.io/edgedevices", "patch edgeherd.io/edgedevices/status"}
    assert log.asked(USER, since=since) == {"patch edgeherd.io/edgedevices/status"}
    assert log.denied(USER, since=since) == {"get secrets"}


def test_roles_are_read_right_by_right() -> None:
    """Every verb on every resource of a rule; what is no role grants nothing."""
    rules = [{"apiGroups": ["", "x.io"], "resources": ["a", "b/status"], "verbs": ["get"]}]
    bodies = [{"kind": "Role", "rules": rules}, {"kind": "ServiceAccount"}]
    assert granted(bodies) == {"get a", "get b/status", "get x.io/a", "get x.io/b/status"}
