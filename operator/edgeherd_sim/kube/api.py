"""What a write does: the way of an object from a request into the store, for every kind.

Nothing here waits: each operation is atomic because the event loop does nothing else meanwhile.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any

from edgeherd_sim.kube import builtin, crds, decoding, merging, meta, rules
from edgeherd_sim.kube.failures import (
    Failure,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    stale,
)
from edgeherd_sim.kube.kinds import Kind, Kinds
from edgeherd_sim.kube.objects import Body, clone, metadata, now
from edgeherd_sim.kube.store import Store

NAMESPACES = ("", "namespaces")
APPLY = "application/apply-patch+yaml"
STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a write is meant; `warnings` collects what the client shall be told."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False
    duplicates: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One object, or one to be."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Api:
    """The writes of the API, and single reads."""

    def __init__(self, store: Store, kinds: Kinds) -> None:
        self.store = store
        self.kinds = kinds
        self._thin: set[str] = set()

    def get(self, at: Address) -> Body:
        """The stored object.

        Raises:
            Failure: 404.
        """
        found = self.store.get(at.kind.stored, at.namespace, at.name)
        if found is None:
            raise not_found(at.kind.group, at.kind.plural, at.name)
        return found

    def create(self, at: Address, body: Any, options: Options) -> Body:
        """Store a new object.

        Raises:
            Failure: it is refused.
        """
        kind, body = at.kind, decoding.copied(body)
        options.warnings.extend(
            decoding.decode(kind, body, duplicates=options.duplicates, validation=options.validation)
        )
        info = metadata(body)
        self._place(at, info)
        if not info.get("name") and info.get("generateName"):
            info["name"] = meta.generate_name(info["generateName"])
        if info.pop("resourceVersion", "") and not options.dry_run:
            raise Failure(500, "", "resourceVersion should not be set on objects to be created")
        self._begin(at, body)
        self._check(kind, body, None)
        rules.track_update(kind, None, body, manager=options.manager, now=now(), subresource="")
        return self._store_new(at, body, options)

    def _begin(self, at: Address, body: Body) -> None:
        """Give a new object what the server gives it."""
        info = metadata(body)
        self._check_namespace(at, info.get("name", ""))
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            info.pop(key, None)
        info["uid"] = str(uuid.uuid4())
        info["creationTimestamp"] = now()
        if at.kind.has_generation:
            info["generation"] = 1
        self._default(at.kind, body)
        builtin.prepare_create(at.kind, body)

    def _store_new(self, at: Address, body: Body, options: Options) -> Body:
        kind, info = at.kind, body["metadata"]
        if self.store.get(kind.stored, at.namespace, info["name"]) is not None:
            raise already_exists(kind.group, kind.plural, info["name"])
        options.warnings.extend(meta.finalizer_warnings(info))
        if kind.custom:
            # The default of a status that was dropped is seen by readers, and stored by the next write only.
            had_status = "status" in body
            self._default(kind, body)
            if not had_status and "status" in body and not options.dry_run:
                self._thin.add(info["uid"])
        return self._put(kind, body, options)

    def _put(self, kind: Kind, body: Body, options: Options) -> Body:
        if builtin.is_crd(kind):
            crds.establish(body, self.kinds, now())
        body = builtin.to_storage(kind, body)
        if options.dry_run:
            return body
        stored = self.store.put(kind.stored, body)
        if builtin.is_crd(kind):
            crds.serve(stored, self.kinds)
        return stored

    def replace(self, at: Address, body: Any, options: Options) -> Body:
        """Store an object in place of the one that is there.

        Raises:
            Failure: it is refused.
        """
        kind = at.kind
        live = self.store.get(kind.stored, at.namespace, at.name)
        if live is None and kind.create_on_update and not at.subresource:
            return self.create(at, body, options)
        if live is None:
            raise not_found(kind.group, kind.plural, at.name)
        old = builtin.from_storage(kind, live)
        body = decoding.copied(body)
        options.warnings.extend(
            decoding.decode(kind, body, duplicates=options.duplicates, validation=options.validation)
        )
        self._check_version(kind, old, self._named(at, body))
        uid = body["metadata"].get("uid")
        if uid and uid != old["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise conflict(kind.group, kind.plural, at.name, why)
        return self._change(at, old, body, options)

    def patch(self, at: Address, media: str, patch: Any, options: Options) -> tuple[Body, bool]:
        """Change an object by a patch; whether server-side apply created it is the second value.

        Raises:
            Failure: it is refused.
        """
        kind = at.kind
        live = self.store.get(kind.stored, at.namespace, at.name)
        if media == APPLY:
            return self._apply(at, live, patch, options)
        if live is None:
            raise not_found(kind.group, kind.plural, at.name)
        old = builtin.from_storage(kind, live)
        body = decoding.copied(rules.patched(kind, clone(old), patch, media))
        shown = patch if media == STRATEGIC else None
        options.warnings.extend(decoding.decode_patched(kind, at.name, body, shown, validation=options.validation))
        info = self._named(at, body)
        self._check_version(kind, old, info, patched=True)
        if info.get("uid") != old["metadata"]["uid"]:
            problem = rules.wrong("metadata.uid", f'"{info.get("uid", "")}"', "field is immutable")
            raise invalid(kind.group, kind.kind, at.name, [problem])
        return self._change(at, old, body, options), False

    def _named(self, at: Address, body: Body) -> Body:
        """The metadata of a body that is meant for this address.

        Raises:
            Failure: 400, it is meant for another one.
        """
        info = metadata(body)
        self._place(at, info)
        if info.get("name") != at.name:
            message = f"the name of the object ({info.get('name', '')}) does not match the name on the URL ({at.name})"
            raise bad_request(message)
        return info

    def _change(self, at: Address, old: Body, body: Body, options: Options) -> Body:
        """Store what an update or a patch made of an object."""
        new = self._prepared(at, old, body)
        rules.track_update(at.kind, old, new, manager=options.manager, now=now(), subresource=at.subresource)
        return self._save(at, old, new, options)

    def _prepared(self, at: Address, old: Body, body: Body) -> Body:
        kind = at.kind
        new = merging.merged(kind, old, body, at.subresource)
        self._default(kind, new)
        merging.bump(kind, old, new, at.subresource)
        self._check(kind, new, old, at.subresource)
        return new

    def _save(self, at: Address, old: Body, new: Body, options: Options) -> Body:
        """Store what differs, and let go of what was held by its last finalizer."""
        kind, uid = at.kind, old["metadata"]["uid"]
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        fresh = [
            name for name in new["metadata"].get("finalizers", ()) if name not in old["metadata"].get("finalizers", ())
        ]
        options.warnings.extend(meta.finalizer_warnings({"finalizers": fresh}))
        if merging.same(old, new) and uid not in self._thin:
            return builtin.to_storage(kind, old)
        if not options.dry_run:
            self._thin.discard(uid)
        stored = self._put(kind, new, options)
        if lets_go(kind, new) and not options.dry_run:
            self.forget(kind, stored)
        return stored

    def forget(self, kind: Kind, body: Body) -> None:
        """Take a stored object out."""
        info = body["metadata"]
        self.store.remove(kind.stored, info.get("namespace", ""), info["name"])
        self._thin.discard(info["uid"])
        if builtin.is_crd(kind):
            self.kinds.remove_custom(info["name"])
            self.store.end_watches(crds.stored_as(body))

    def _apply(self, at: Address, live: Body | None, applied: Any, options: Options) -> tuple[Body, bool]:
        """Server-side apply."""
        kind = at.kind
        if live is None and at.subresource:
            raise not_found(kind.group, kind.plural, at.name)
        body = decoding.copied(applied)
        decoding.check_applied(kind, body)
        old = None if live is None else clone(builtin.from_storage(kind, live))
        given = body["metadata"].get("uid")
        if old is None and given:
            why = f"uid mismatch: the provided object specified uid {given}, and no existing object was found"
            raise conflict(kind.group, kind.plural, at.name, why)
        if old is not None:
            self._check_version(kind, old, {"name": at.name, **body["metadata"]}, patched=True)
        new = rules.apply(
            kind, old, body, manager=options.manager, force=options.force, now=now(), subresource=at.subresource
        )
        new["metadata"].setdefault("name", at.name)
        self._named(at, new)
        managed = new["metadata"].get("managedFields")
        if old is None:
            self._begin(at, new)
            self._check(kind, new, None)
            new["metadata"]["managedFields"] = managed
            new["metadata"].pop("resourceVersion", None)
            return self._store_new(at, new, options), True
        prepared = self._prepared(at, old, new)
        prepared["metadata"]["managedFields"] = managed
        return self._save(at, old, prepared, options), False

    def _place(self, at: Address, info: Body) -> None:
        if not at.kind.namespaced:
            if info.pop("namespace", ""):
                raise bad_request("namespace is not allowed on this type")
            return
        if info.setdefault("namespace", at.namespace) != at.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")

    def _check_namespace(self, at: Address, name: str) -> None:
        """Nothing is created in a namespace that is not there, or on its way out."""
        if not at.kind.namespaced:
            return
        found = self.store.get(NAMESPACES, "", at.namespace)
        if found is None:
            raise not_found("", "namespaces", at.namespace)
        if found["metadata"].get("deletionTimestamp"):
            cause = rules.Problem(
                reason="NamespaceTerminating",
                field="metadata.namespace",
                message=f"namespace {at.namespace} is being terminated",
            )
            why = f"unable to create new content in namespace {at.namespace} because it is being terminated"
            raise forbidden(at.kind.group, at.kind.plural, name, why, [cause])

    def _check_version(self, kind: Kind, old: Body, info: Body, *, patched: bool = False) -> None:
        version = info.get("resourceVersion", "")
        if not version and not kind.unconditional_update and not patched:
            problem = rules.wrong("metadata.resourceVersion", "0", "must be specified for an update")
            raise invalid(kind.group, kind.plural, info["name"], [problem])
        if version and version != old["metadata"]["resourceVersion"]:
            raise stale(kind.group, kind.plural, info["name"])

    def _default(self, kind: Kind, body: Body) -> None:
        if kind.custom:
            kind.custom.structural.default(body)
        else:
            builtin.default(kind, body)

    def _check(self, kind: Kind, new: Body, old: Body | None, subresource: str = "") -> None:
        problems: list[Any] = list(meta.check(kind.kind, new["metadata"]))
        if old is not None:
            problems += meta.check_change(old["metadata"], new["metadata"])
        if kind.custom:
            problems += kind.custom.structural.validate(new, old, subresource)
        else:
            problems += builtin.check(kind, new, old)
        if problems:
            raise invalid(kind.group, kind.kind, new["metadata"].get("name", ""), problems)


def lets_go(kind: Kind, body: Body) -> bool:
    """Whether nothing holds an object that is being deleted."""
    info = body["metadata"]
    if not info.get("deletionTimestamp") or info.get("finalizers"):
        return False
    return kind.stored != NAMESPACES or not body.get("spec", {}).get("finalizers")
