"""Deletions: at once where nothing holds an object, by a mark where finalizers do."""

from dataclasses import dataclass

from edgeherd_sim.kube import builtin, crds
from edgeherd_sim.kube.api import NAMESPACES, Address, Api, lets_go
from edgeherd_sim.kube.failures import conflict
from edgeherd_sim.kube.kinds import Kind
from edgeherd_sim.kube.objects import Body, clone, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """How a deletion is meant."""

    uid: str | None = None
    version: str | None = None
    propagation: str | None = None
    dry_run: bool = False


def delete(api: Api, at: Address, deletion: Deletion) -> tuple[Body, bool]:
    """Delete an object, or mark it when finalizers hold it; whether it is gone is the second value.

    Raises:
        Failure: it is not there, or not the one that the client means.
    """
    kind, live = at.kind, api.get(at)
    _check_preconditions(at, live, deletion)
    marked = clone(live)
    _mark(kind, marked, deletion.propagation)
    if lets_go(kind, marked):
        if not deletion.dry_run:
            api.forget(kind, live)
        return live, True
    if deletion.dry_run or marked == live:
        return live, False
    return api.store.put(kind.stored, marked), False


def _check_preconditions(at: Address, live: Body, deletion: Deletion) -> None:
    info = live["metadata"]
    if deletion.uid and deletion.uid != info["uid"]:
        why = (
            f"the UID in the precondition ({deletion.uid}) does not match the UID in record ({info['uid']}). "
            "The object might have been deleted and then recreated"
        )
    elif deletion.version and deletion.version != info["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({deletion.version}) does not match the ResourceVersion in "
            f"record ({info['resourceVersion']}). The object might have been modified"
        )
    else:
        return
    raise conflict(at.kind.group, at.kind.kind, at.name, why)


def _mark(kind: Kind, body: Body, propagation: str | None) -> None:
    """Set the deletion marks on a copy of a stored object."""
    info = body["metadata"]
    for choice, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        finalizers = info.get("finalizers", [])
        if propagation == choice and finalizer not in finalizers:
            info["finalizers"] = [*finalizers, finalizer]
    if info.get("deletionTimestamp"):
        return
    is_crd = builtin.is_crd(kind)
    if is_crd and crds.CLEANUP_FINALIZER not in info.get("finalizers", []):
        info["finalizers"] = [*info.get("finalizers", []), crds.CLEANUP_FINALIZER]
    info["deletionTimestamp"] = now()
    if not is_crd and kind.stored != NAMESPACES:
        info["deletionGracePeriodSeconds"] = 0
    if "generation" in info:
        info["generation"] += 1
    if kind.stored == NAMESPACES:
        body["status"] = {**body.get("status", {}), "phase": "Terminating"}


def drop_finalizer(api: Api, at: Address, finalizer: str) -> None:
    """Take a finalizer off an object; it goes when that was the last one and it is being deleted.

    Raises:
        Failure: 404.
    """
    freed = clone(api.get(at))
    info = freed["metadata"]
    info["finalizers"] = [name for name in info.get("finalizers", []) if name != finalizer]
    if not info["finalizers"]:
        del info["finalizers"]
    api.store.put(at.kind.stored, freed)
    if lets_go(at.kind, freed):
        api.forget(at.kind, freed)
