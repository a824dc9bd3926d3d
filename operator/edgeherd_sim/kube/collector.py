"""What controllers do in a cluster, and kubectl waits for: garbage collection, and the end of namespaces and CRDs."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from edgeherd_sim.kube import crds
from edgeherd_sim.kube.api import NAMESPACES, Address, Api
from edgeherd_sim.kube.deletion import Deletion, delete, drop_finalizer
from edgeherd_sim.kube.failures import Failure
from edgeherd_sim.kube.kinds import CRD_GROUP, Kind
from edgeherd_sim.kube.objects import Body, clone

_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"
_CRDS = (CRD_GROUP, "customresourcedefinitions")
_PAUSE_SECONDS = 0.02


class Collector:
    """Deletes what nobody holds any more."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._store = api.store

    async def run(self) -> None:
        """Clean up after every write that may have left something, for ever."""
        while True:
            await self._store.changed.wait()
            self._store.changed.clear()
            # One round for a burst of writes.
            await asyncio.sleep(_PAUSE_SECONDS)
            self.collect()

    def collect(self) -> None:
        """One round."""
        for body in self._store.objects(_CRDS):
            if body["metadata"].get("deletionTimestamp"):
                self._end_crd(body)
        for body in self._store.objects(NAMESPACES):
            if body["metadata"].get("deletionTimestamp"):
                self._end_namespace(body)
        self._collect_owned()

    def _kinds(self) -> Iterator[Kind]:
        """One kind for each place where objects are kept."""
        seen = set()
        for kind in self._api.kinds:
            if kind.stored not in seen:
                seen.add(kind.stored)
                yield kind

    def _delete(self, kind: Kind, body: Body) -> None:
        info = body["metadata"]
        if info.get("deletionTimestamp"):
            return
        at = Address(kind=kind, namespace=info.get("namespace", ""), name=info["name"])
        with contextlib.suppress(Failure):
            delete(self._api, at, Deletion())

    def _end_crd(self, crd: Body) -> None:
        name = crd["metadata"]["name"]
        resource = crds.stored_as(crd)
        kind = next((kind for kind in self._api.kinds if kind.stored == resource), None)
        if kind is not None:
            for body in self._store.objects(resource):
                self._delete(kind, body)
        if not self._store.objects(resource):
            self._drop_finalizer(self._api.kinds.built_in(*_CRDS), name, "", crds.CLEANUP_FINALIZER)

    def _end_namespace(self, namespace: Body) -> None:
        name = namespace["metadata"]["name"]
        left = False
        for kind in self._kinds():
            if not kind.namespaced:
                continue
            for body in self._store.objects(kind.stored, name):
                self._delete(kind, body)
            left = left or bool(self._store.objects(kind.stored, name))
        if left or namespace["metadata"].get("finalizers"):
            return
        ended = clone(namespace)
        ended["spec"] = {}
        self._store.put(NAMESPACES, ended)
        self._store.remove(NAMESPACES, "", name)

    def _collect_owned(self) -> None:
        alive = {
            body["metadata"]["uid"] for resource in self._store.resources() for body in self._store.objects(resource)
        }
        for kind in list(self._kinds()):
            for body in self._store.objects(kind.stored):
                owners = body["metadata"].get("ownerReferences", [])
                if owners and not any(owner.get("uid") in alive for owner in owners):
                    self._delete(kind, body)
                if body["metadata"].get("deletionTimestamp"):
                    self._end_owner(kind, body)

    def _end_owner(self, kind: Kind, body: Body) -> None:
        """Settle what shall become of the dependents of an object that is being deleted."""
        info = body["metadata"]
        finalizers = info.get("finalizers", [])
        where = (kind, info["name"], info.get("namespace", ""))
        if _ORPHAN in finalizers:
            for owned_kind, owned in self._owned(info["uid"]):
                freed = clone(owned)
                freed["metadata"]["ownerReferences"] = [
                    owner for owner in owned["metadata"]["ownerReferences"] if owner["uid"] != info["uid"]
                ]
                self._store.put(owned_kind.stored, freed)
            self._drop_finalizer(*where, _ORPHAN)
        elif _FOREGROUND in finalizers:
            blocking = False
            for owned_kind, owned in self._owned(info["uid"]):
                self._delete(owned_kind, owned)
                still = self._store.get(
                    owned_kind.stored, owned["metadata"].get("namespace", ""), owned["metadata"]["name"]
                )
                blocking = blocking or (still is not None and _blocks(still, info["uid"]))
            if not blocking:
                self._drop_finalizer(*where, _FOREGROUND)

    def _owned(self, uid: str) -> list[tuple[Kind, Body]]:
        return [
            (kind, body)
            for kind in self._kinds()
            for body in self._store.objects(kind.stored)
            if any(owner.get("uid") == uid for owner in body["metadata"].get("ownerReferences", []))
        ]

    def _drop_finalizer(self, kind: Kind, name: str, namespace: str, finalizer: str) -> None:
        at = Address(kind=kind, namespace=namespace, name=name)
        with contextlib.suppress(Failure):
            drop_finalizer(self._api, at, finalizer)


def _blocks(body: Body, uid: str) -> bool:
    owners: list[Any] = body["metadata"].get("ownerReferences", [])
    return any(owner.get("uid") == uid and owner.get("blockOwnerDeletion") for owner in owners)
