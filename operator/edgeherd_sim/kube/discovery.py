"""What clients ask first: versions, groups and resources, in the old form and the aggregated one."""

from typing import Any

from edgeherd_sim.kube.kinds import Kind, Kinds

Body = dict[str, Any]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
MAJOR, MINOR = "1", "36"

REVIEWS = {
    "authorization.k8s.io": ("SelfSubjectAccessReview", "SelfSubjectRulesReview"),
    "authentication.k8s.io": ("SelfSubjectReview",),
}
"""Questions that are answered at once and never stored."""


def version() -> Body:
    """The answer to `/version`; the build says that this is a simulator."""
    return {
        "major": MAJOR,
        "minor": MINOR,
        "gitVersion": f"v{MAJOR}.{MINOR}.0+edgeherd-simulator",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }


def _review_plural(kind: str) -> str:
    return f"{kind.lower()}s"


def review_kinds() -> dict[tuple[str, str], str]:
    """Group and plural of the reviews, and their kinds."""
    return {(group, _review_plural(kind)): kind for group, kinds in REVIEWS.items() for kind in kinds}


def core_versions(host: str) -> Body:
    """The answer to `/api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    }


def groups(kinds: Kinds) -> Body:
    """The answer to `/apis`."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name, found) for name, found in _all(kinds)]}


def group(kinds: Kinds, name: str) -> Body | None:
    """The answer to `/apis/GROUP`; None for an unknown one."""
    for known, versions in _all(kinds):
        if known == name:
            return {"kind": "APIGroup", "apiVersion": "v1"} | _group(known, versions)
    return None


def _all(kinds: Kinds) -> list[tuple[str, list[str]]]:
    found = {name: versions for name, versions in kinds.groups().items() if name}
    for name in REVIEWS:
        found.setdefault(name, ["v1"])
    return list(found.items())


def _group(name: str, versions: list[str]) -> Body:
    listed = [{"groupVersion": f"{name}/{each}", "version": each} for each in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resources(kinds: Kinds, group_name: str, version_name: str) -> Body | None:
    """The answer to `/api/v1` and `/apis/GROUP/VERSION`; None for an unknown one."""
    entries = [entry for kind in kinds.of_version(group_name, version_name) for entry in _resource(kind)]
    entries += [
        {
            "name": _review_plural(review),
            "singularName": review.lower(),
            "namespaced": False,
            "kind": review,
            "verbs": ["create"],
        }
        for review in (REVIEWS.get(group_name, ()) if version_name == "v1" else ())
    ]
    if not entries:
        return None
    name = f"{group_name}/{version_name}" if group_name else version_name
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}


def _resource(kind: Kind) -> list[Body]:
    found: Body = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    entries = [found]
    for name, verbs in _subresources(kind):
        entries.append(
            {
                "name": f"{kind.plural}/{name}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": list(verbs),
            }
        )
    return entries


def _subresources(kind: Kind) -> list[tuple[str, tuple[str, ...]]]:
    found: list[tuple[str, tuple[str, ...]]] = []
    if kind.stored == ("", "namespaces"):
        found.append(("finalize", ("update",)))
    if kind.status:
        found.append(("status", ("get", "patch", "update")))
    return found


def aggregated(kinds: Kinds, *, core: bool) -> Body:
    """The aggregated answer to `/api` (core) or `/apis`."""
    wanted = [("", ["v1"])] if core else _all(kinds)
    items = []
    for name, versions in wanted:
        listed = [
            {"version": each, "resources": _aggregated_resources(kinds, name, each), "freshness": "Current"}
            for each in versions
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_resources(kinds: Kinds, group_name: str, version_name: str) -> list[Body]:
    found = [_aggregated_resource(kind) for kind in kinds.of_version(group_name, version_name)]
    found += [
        {
            "resource": _review_plural(review),
            "responseKind": {"group": group_name, "version": version_name, "kind": review},
            "scope": "Cluster",
            "singularResource": review.lower(),
            "verbs": ["create"],
        }
        for review in REVIEWS.get(group_name, ())
    ]
    return found


def _aggregated_resource(kind: Kind) -> Body:
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    found: Body = {
        "resource": kind.plural,
        "responseKind": gvk,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    more = [{"subresource": name, "responseKind": gvk, "verbs": list(verbs)} for name, verbs in _subresources(kind)]
    if more:
        found["subresources"] = more
    return found
