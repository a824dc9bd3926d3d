"""CustomResourceDefinitions: what they say becomes a kind at once."""

from typing import Any

from edgeherd_sim.kube import rules
from edgeherd_sim.kube.kinds import CUSTOM_VERBS, Custom, Kind, Kinds

Body = dict[str, Any]

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


def stored_as(crd: Body) -> tuple[str, str]:
    """Where the objects of a CRD are kept."""
    return crd["spec"]["group"], crd["spec"]["names"]["plural"]


def condition(kind: str, status: str, reason: str, message: str, now: str) -> Body:
    """One condition of a CRD."""
    return {"type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message}


def establish(crd: Body, kinds: Kinds, now: str) -> None:
    """Write the status of a new or changed CRD: accepted names, stored versions, conditions."""
    status = crd.setdefault("status", {})
    names = crd["spec"]["names"]
    storage = [version["name"] for version in crd["spec"]["versions"] if version.get("storage")]
    stored = [*status.get("storedVersions", [])]
    status["storedVersions"] = stored + [name for name in storage if name not in stored]
    taken = _taken(crd, kinds)
    old = {item["type"]: item for item in status.get("conditions", [])}
    if taken:
        fresh = [
            condition("NamesAccepted", "False", taken[0], taken[1], now),
            condition("Established", "False", "NotAccepted", "not all names are accepted", now),
        ]
        status.setdefault("acceptedNames", {"plural": "", "kind": ""})
    else:
        fresh = [
            condition("NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
            condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now),
        ]
        status["acceptedNames"] = dict(names)
    for item in fresh:
        before = old.get(item["type"])
        if before and before["status"] == item["status"]:
            item["lastTransitionTime"] = before["lastTransitionTime"]
        old[item["type"]] = item
    status["conditions"] = list(old.values())


def _taken(crd: Body, kinds: Kinds) -> tuple[str, str] | None:
    """Which of the names another resource of the group has already."""
    group, names, own = crd["spec"]["group"], crd["spec"]["names"], crd["metadata"]["name"]
    others = [kind for kind in kinds if kind.group == group and (not kind.custom or kind.custom.crd != own)]
    used = {name for kind in others for name in (kind.plural, kind.singular, *kind.short_names)}
    for reason, name in (
        ("PluralConflict", names["plural"]),
        ("SingularConflict", names.get("singular", "")),
        *(("ShortNamesConflict", name) for name in names.get("shortNames", [])),
    ):
        if name in used:
            return reason, f'"{name}" is already in use'
    for kind in others:
        if names["kind"] in (kind.kind, kind.list_kind):
            return "KindConflict", f'"{names["kind"]}" is already in use'
    return None


def serve(crd: Body, kinds: Kinds) -> None:
    """Serve the kinds of an established CRD, in place of what it served before."""
    kinds.remove_custom(crd["metadata"]["name"])
    spec = crd["spec"]
    conditions = {item["type"]: item["status"] for item in crd.get("status", {}).get("conditions", [])}
    if conditions.get("Established") != "True":
        return
    for version in spec["versions"]:
        if version.get("served"):
            kinds.add(_kind(crd, version))


def _kind(crd: Body, version: Body) -> Kind:
    spec, names = crd["spec"], crd["spec"]["names"]
    schema = version["schema"]["openAPIV3Schema"]
    structural, types = rules.compile_custom(schema)
    return Kind(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        verbs=CUSTOM_VERBS,
        status="status" in version.get("subresources", {}),
        list_kind=names.get("listKind") or f"{names['kind']}List",
        has_generation=True,
        unconditional_update=False,
        custom=Custom(
            schema=schema,
            structural=structural,
            types=types,
            columns=tuple(version.get("additionalPrinterColumns", ())),
            selectable=tuple(field["jsonPath"].removeprefix(".") for field in version.get("selectableFields", ())),
            deprecation=_deprecation(crd, version),
            crd=crd["metadata"]["name"],
        ),
    )


def _deprecation(crd: Body, version: Body) -> str:
    """The warning of a deprecated version."""
    if not version.get("deprecated"):
        return ""
    spec = crd["spec"]
    given = version.get("deprecationWarning")
    return given or f"{spec['group']}/{version['name']} {spec['names']['kind']} is deprecated"
