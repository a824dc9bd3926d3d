"""Questions about oneself. There is one user, who may do everything."""

from typing import Any

from edgeherd_sim.kube.objects import now

Body = dict[str, Any]

USER = "admin"
GROUPS = ["system:masters", "system:authenticated"]


def answer(kind: str, body: Body) -> Body:
    """The review with its status."""
    found = body | {"metadata": {}}
    if kind == "SelfSubjectAccessReview":
        found["status"] = {"allowed": True}
    elif kind == "SelfSubjectRulesReview":
        found["status"] = {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    else:
        found["metadata"] = {"creationTimestamp": now()}
        found["status"] = {"userInfo": {"username": USER, "uid": USER, "groups": GROUPS}}
    return found
