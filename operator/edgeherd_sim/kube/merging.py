"""What of a written object is taken, and what of the one that was there stays."""

from edgeherd_sim.kube import builtin
from edgeherd_sim.kube.kinds import Kind
from edgeherd_sim.kube.objects import Body, clone

_SERVERS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


def merged(kind: Kind, old: Body, new: Body, subresource: str) -> Body:
    """The object to store: the parts of the new one that this write may change, and the rest of the old."""
    if subresource == "status":
        return _only_status(old, new)
    if subresource == "finalize":
        return {**clone(old), "spec": new.get("spec", {})}
    result: Body = dict(new)
    if kind.status:
        result.pop("status", None)
        if "status" in old:
            result["status"] = clone(old["status"])
    info = {key: value for key, value in new["metadata"].items() if key not in _SERVERS}
    before = old["metadata"]
    info |= {key: before[key] for key in _SERVERS if key in before}
    if info.get("managedFields") is None and "managedFields" in before:
        info["managedFields"] = clone(before["managedFields"])
    result["metadata"] = info
    builtin.prepare_update(kind, result, old)
    return result


def _only_status(old: Body, new: Body) -> Body:
    result: Body = clone(old)
    result.pop("status", None)
    if "status" in new:
        result["status"] = new["status"]
    if new["metadata"].get("managedFields") is not None:
        result["metadata"]["managedFields"] = new["metadata"]["managedFields"]
    return result


def bump(kind: Kind, old: Body, new: Body, subresource: str) -> None:
    """A new generation when the wish has changed."""
    if not kind.has_generation or subresource == "status":
        return
    skipped = {"metadata", "status"} if kind.status else {"metadata"}
    before = {key: value for key, value in old.items() if key not in skipped}
    after = {key: value for key, value in new.items() if key not in skipped}
    if before != after:
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def same(old: Body, new: Body) -> bool:
    """Whether nothing changed but, at most, the times of the managers' entries."""
    return _timeless(old) == _timeless(new)


def _timeless(body: Body) -> Body:
    info = body["metadata"]
    managed = [
        {key: value for key, value in entry.items() if key != "time"} for entry in info.get("managedFields") or []
    ]
    return body | {"metadata": info | {"managedFields": managed}}
