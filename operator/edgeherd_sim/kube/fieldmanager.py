"""Field managers: who owns which field of an object, as `metadata.managedFields` says, and server-side apply.

The steps are those of the API server's merge library: merge what was applied into the live object, take away what the
manager applied last time and nobody owns now, then let changed fields change hands, or refuse.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from edgeherd_sim.kube import typed
from edgeherd_sim.kube.causes import Cause, compact, quote
from edgeherd_sim.kube.objects import Body, clone
from edgeherd_sim.kube.typed import NOTHING, Fields, Path
from edgeherd_sim.kube.typeschema import TypeSchema

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_MOST_UPDATERS: Final = 10
_UNTRACKED: Final = frozenset(
    [("f:apiVersion",), ("f:kind",), ("f:metadata",)]
    + [
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        )
    ]
)


class ApplyConflict(Exception):  # noqa: N818 - the API's own word for it
    """Other managers own fields that were applied with other values."""

    def __init__(self, message: str, causes: tuple[Cause, ...]) -> None:
        super().__init__(message)
        self.causes = causes


class ApplyError(Exception):
    """What was applied is no object of its kind: 400 or, as the real server has it, 500."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """Who made an entry: entries of one owner are one."""

    manager: str
    operation: str
    subresource: str
    api_version: str
    """Empty for appliers, which have one entry whatever version they speak."""

    def named(self) -> str:
        """The owner as a conflict names it."""
        text = quote(self.manager)
        if self.subresource:
            text += f" with subresource {quote(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == "Update" else text

    def sort_key(self) -> str:
        """The owner's identity as text; conflicts are listed by it."""
        found = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "subresource": self.subresource,
        }
        return json.dumps({key: value for key, value in found.items() if value}, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What an owner owns, in the words of a version, and since when."""

    api_version: str
    fields: Fields
    time: str = ""


_Managed = dict[_Owner, _Entry]


def apply(
    live: Body | None,
    applied: Body,
    *,
    manager: str,
    force: bool,
    schema: TypeSchema,
    now: str,
    subresource: str = "",
) -> Body:
    """Server-side apply: the object afterwards, with its managed fields.

    Raises:
        ApplyConflict: Others own some of the fields, and it is not forced.
        ApplyError: The applied object is not of its type.
    """
    _check_applied(applied, schema)
    managed = _decode((live or {}).get("metadata", {}).get("managedFields"))
    before = _unmanaged(live or {})
    version = applied["apiVersion"]
    if not managed and live is not None:
        owner = _Owner(manager="before-first-apply", operation="Update", subresource=subresource, api_version=version)
        _update(managed, _blank(before, schema), before, owner, schema, now=now)
    try:
        after = _apply(managed, before, applied, _applier(manager, subresource), force=force, schema=schema)
    except ApplyConflict as exc:
        allowed = _last_applied(before, schema) if manager == "kubectl" else NOTHING
        if not {cause.field for cause in exc.causes} <= {typed.shown(path) for path in allowed}:
            raise
        after = _apply(managed, before, applied, _applier(manager, subresource), force=True, schema=schema)
    owner = _applier(manager, subresource)
    if owner in managed and after != before:
        managed[owner] = replace(managed[owner], time=now)
    if manager == "kubectl":
        _renew_last_applied(after, applied)
    return _encoded(after, managed)


def track_update(
    before: Body | None, after: Body, *, manager: str, schema: TypeSchema, now: str, subresource: str = ""
) -> None:
    """Write down in `after` that the manager made it what it is, by a create, update or patch."""
    managed = _given(before, after, subresource)
    after["metadata"].pop("managedFields", None)
    if not managed and before is not None:
        # Nobody's fields were tracked so far, and an update does not start that.
        return
    owner = _Owner(
        manager=manager, operation="Update", subresource=subresource, api_version=after.get("apiVersion", "")
    )
    _update(managed, _unmanaged(before or _blank(after, schema)), _unmanaged(after), owner, schema, now=now)
    _cap(managed)
    encoded = _encode(managed)
    if encoded:
        after["metadata"]["managedFields"] = encoded


def _blank(body: Body, schema: TypeSchema) -> Body:
    """What an object of this type is before anything is set, as far as the body has it at all."""

    def common(one: Any, other: Any) -> Any:
        return {key: common(value, other[key]) for key, value in one.items() if isinstance(other.get(key), dict)}

    return dict(common(schema.blank, body))


def _check_applied(applied: Body, schema: TypeSchema) -> None:
    metadata = applied.get("metadata") or {}
    if metadata.get("managedFields") is not None:
        raise ApplyError(400, "metadata.managedFields must be nil")
    found = list(typed.problems(applied, schema))
    if not found:
        return
    group, _, version = applied["apiVersion"].rpartition("/")
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    text = found[0] if len(found) == 1 else "\n".join(["errors:", *(f"  {line}" for line in found)])
    what = f"{name}; {group}/{version}, Kind={applied['kind']}"
    raise ApplyError(500, f"failed to create typed patch object ({what}): {text}")


def _applier(manager: str, subresource: str) -> _Owner:
    return _Owner(manager=manager, operation="Apply", subresource=subresource, api_version="")


def _apply(managed: _Managed, before: Body, applied: Body, owner: _Owner, *, force: bool, schema: TypeSchema) -> Body:
    """Merge, prune, and change the owners in `managed`, which stays as it was when the apply is refused."""
    after = typed.merge(before, applied, schema)
    last = managed.get(owner)
    wanted = _reset(typed.fields_of(applied, schema), schema, owner.subresource)
    trial = managed | {owner: _Entry(api_version=applied["apiVersion"], fields=wanted, time=last.time if last else "")}
    if last and last.fields:
        after = _prune(after, trial, last.fields, schema)
    _transfer(trial, before, after, owner, schema, force=force)
    if owner in trial:
        trial[owner] = replace(trial[owner], fields=trial[owner].fields - _UNTRACKED)
        if not trial[owner].fields:
            del trial[owner]
    managed.clear()
    managed.update(trial)
    return clone(after) if isinstance(after, dict) else {}


def _prune(merged: Any, managed: _Managed, last: Fields, schema: TypeSchema) -> Any:
    """Without what the manager applied last time, unless somebody owns it now."""
    everything = typed.with_named(typed.fields_of(merged, schema), schema)
    last = typed.with_named(last, schema)
    owned = typed.with_named(frozenset().union(*(entry.fields for entry in managed.values())), schema)
    pruned = typed.without(merged, last, schema)
    pruned = typed.without(
        merged, everything - typed.with_named(typed.fields_of(pruned, schema), schema) - owned, schema
    )
    left = typed.with_named(typed.fields_of(pruned, schema), schema)
    return typed.without(merged, (everything - left) & last, schema)


def _update(managed: _Managed, before: Body, after: Body, owner: _Owner, schema: TypeSchema, *, now: str) -> None:
    """An update takes what it changed from everybody, and adds it to what its manager had."""
    changed = _transfer(managed, before, after, None, schema, force=True, subresource=owner.subresource)
    taken = _reset(changed, schema, owner.subresource) - _UNTRACKED
    if taken:
        had = managed[owner].fields if owner in managed else NOTHING
        managed[owner] = _Entry(api_version=owner.api_version, fields=had | taken, time=now)


def _transfer(
    managed: _Managed,
    before: Body,
    after: Any,
    owner: _Owner | None,
    schema: TypeSchema,
    *,
    force: bool,
    subresource: str = "",
) -> Fields:
    """Take changed and removed fields from their owners; what was changed or added.

    Raises:
        ApplyConflict: It is not forced, and other owners would lose fields.
    """
    subresource = owner.subresource if owner else subresource
    found = typed.compare(before, after if isinstance(after, dict) else {}, schema)
    changed = _reset(frozenset(found.modified | found.added), schema, subresource)
    removed = _reset(frozenset(found.removed), schema, subresource)
    others = [other for other in managed if other != owner]
    conflicts = {other: lost for other in others if (lost := managed[other].fields & changed)}
    if conflicts and not force:
        raise _conflict(conflicts)
    for other in others:
        managed[other] = replace(managed[other], fields=managed[other].fields - changed - removed)
    for other in [other for other, entry in managed.items() if not entry.fields]:
        del managed[other]
    return changed


def _conflict(conflicts: dict[_Owner, Fields]) -> ApplyConflict:
    listed = [
        (other, typed.shown(path))
        for other in sorted(conflicts, key=_Owner.sort_key)
        for path in _in_order(conflicts[other])
    ]
    causes = tuple(
        Cause(reason="FieldManagerConflict", field=path, message=f"conflict with {other.named()}")
        for other, path in listed
    )
    if len(listed) == 1:
        other, path = listed[0]
        return ApplyConflict(f"Apply failed with 1 conflict: conflict with {other.named()}: {path}", causes)
    lines = []
    for other in sorted(conflicts, key=_Owner.sort_key):
        lines.append(f"conflicts with {other.named()}:")
        lines += [f"- {path}" for found, path in listed if found == other]
    return ApplyConflict(f"Apply failed with {len(listed)} conflicts: " + "\n".join(lines), causes)


def _in_order(fields: Iterable[Path]) -> Iterator[Path]:
    """Paths as the server walks them: what is right here, by name, and then deeper."""
    found = sorted(fields)
    yield from (path for path in found if len(path) == 1)
    heads = dict.fromkeys(path[0] for path in found if len(path) > 1)
    for head in heads:
        yield from ((head, *rest) for rest in _in_order(path[1:] for path in found if path[0] == head and path[1:]))


def _reset(fields: Fields, schema: TypeSchema, subresource: str) -> Fields:
    """Without the fields that a write to this (sub)resource cannot change."""
    if subresource == "status":
        ignored = {"f:spec", "f:metadata"}
    elif schema.has_status:
        ignored = {"f:status"}
    else:
        return fields
    return frozenset(path for path in fields if path[0] not in ignored)


def _last_applied(live: Body, schema: TypeSchema) -> Fields:
    """What client-side apply owned and nobody changed since: kubectl may take it over."""
    text = live.get("metadata", {}).get("annotations", {}).get(_LAST_APPLIED, "")
    try:
        last = json.loads(text)
    except ValueError:
        return NOTHING
    if not isinstance(last, dict) or last.get("apiVersion") != live.get("apiVersion"):
        return NOTHING
    found = typed.compare(last, live, schema)
    return typed.fields_of(last, schema) - found.modified - found.added - found.removed


def _renew_last_applied(after: Body, applied: Body) -> None:
    """Keep client-side apply's annotation in step, for a later return to it."""
    annotations = after.get("metadata", {}).get("annotations") or {}
    if annotations.get(_LAST_APPLIED):
        kept = clone(applied)
        kept.get("metadata", {}).get("annotations", {}).pop(_LAST_APPLIED, None)
        annotations[_LAST_APPLIED] = compact(kept) + "\n"


def _unmanaged(body: Body) -> Body:
    if "metadata" not in body:
        return body
    return body | {"metadata": {key: value for key, value in body["metadata"].items() if key != "managedFields"}}


def _given(before: Body | None, after: Body, subresource: str) -> _Managed:
    """The entries to go on from: a client may edit them, but not lose them by silence."""
    had = _decode((before or {}).get("metadata", {}).get("managedFields"))
    if subresource:
        return had
    given = after["metadata"].get("managedFields")
    if given is not None and given in ([], [{}]):
        return {}
    return _decode(given) or had


def _decode(entries: Any) -> _Managed:
    """The entries of an object; none at all when one of them makes no sense."""
    managed: _Managed = {}
    try:
        for entry in entries or ():
            operation, version = entry["operation"], entry["apiVersion"]
            if operation not in {"Apply", "Update"} or entry["fieldsType"] != "FieldsV1":
                return {}
            owner = _Owner(
                manager=entry.get("manager", ""),
                operation=operation,
                subresource=entry.get("subresource", ""),
                api_version=version if operation == "Update" else "",
            )
            fields = frozenset(_paths(entry.get("fieldsV1") or {}, ()))
            managed[owner] = _Entry(api_version=version, fields=fields, time=entry.get("time", ""))
    except (KeyError, TypeError, AttributeError):
        return {}
    return managed


def _paths(tree: Body, path: Path) -> Iterator[Path]:
    """The members of a `fieldsV1` tree: its leaves, and the nodes that have a dot."""
    for element, node in tree.items():
        if element == ".":
            yield path
        elif node:
            yield from _paths(node, (*path, element))
        else:
            yield (*path, element)


def _tree(fields: Fields) -> Body:
    """A `fieldsV1` tree; a node that is a member itself has a dot beside its children."""
    tree: Body = {}
    for path in sorted(fields):
        node = tree
        for depth, element in enumerate(path, start=1):
            if element not in node:
                # A shorter path sorts first; so what is a member of its own is known by now.
                node[element] = {}
                if depth < len(path) and path[:depth] in fields:
                    node[element]["."] = {}
            elif depth < len(path) and not node[element] and path[:depth] in fields:
                node[element]["."] = {}
            node = node[element]
    return tree


def _encode(managed: _Managed) -> list[Body]:
    encoded = []
    for owner, entry in managed.items():
        found = {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": entry.api_version,
            "time": entry.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _tree(entry.fields),
            "subresource": owner.subresource,
        }
        encoded.append({key: value for key, value in found.items() if value or key == "fieldsV1"})
    names = ("operation", "time", "manager", "apiVersion", "subresource")
    return sorted(encoded, key=lambda entry: [entry.get(name, "") for name in names])


def _encoded(body: Body, managed: _Managed) -> Body:
    metadata = dict(body.get("metadata") or {})
    encoded = _encode(managed)
    if encoded:
        metadata["managedFields"] = encoded
    return body | {"metadata": metadata}


def _cap(managed: _Managed) -> None:
    """Merge the oldest updaters into one when there are too many."""
    updaters = [owner for owner in managed if owner.operation == "Update"]
    if len(updaters) <= _MOST_UPDATERS:
        return
    updaters.sort(key=lambda owner: (managed[owner].time, owner.manager, owner.api_version, owner.subresource))
    for owner in updaters[: len(updaters) - _MOST_UPDATERS + 1]:
        entry = managed.pop(owner)
        ancient = _Owner(manager="ancient-changes", operation="Update", subresource="", api_version=entry.api_version)
        had = managed.get(ancient, _Entry(api_version=entry.api_version, fields=NOTHING))
        managed[ancient] = replace(had, fields=had.fields | entry.fields, time=max(had.time, entry.time))
