"""The one door to the rules: schemas, patches and field managers, in the terms of this half."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeherd_sim.kube import crd_checks, fieldmanager, patches, typeschema
from edgeherd_sim.kube.failures import Failure
from edgeherd_sim.kube.kinds import Kind
from edgeherd_sim.kube.structural import StructuralSchema
from edgeherd_sim.kube.typeschema import TypeSchema

Body = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A cause found by this half; the rules have their own of the same shape."""

    reason: str
    field: str
    message: str


def required(field: str, why: str = "") -> Problem:
    """The field is missing."""
    return Problem(reason="FieldValueRequired", field=field, message="Required value" + (f": {why}" if why else ""))


def wrong(field: str, value: str, why: str) -> Problem:
    """The field has a value that it cannot have; `value` as the message shall show it."""
    return Problem(reason="FieldValueInvalid", field=field, message=f"Invalid value: {value}: {why}")


def not_allowed(field: str, why: str) -> Problem:
    """The field may not be set so."""
    return Problem(reason="FieldValueForbidden", field=field, message=f"Forbidden: {why}")


def types_of(kind: Kind) -> TypeSchema:
    """What field managers and merges need to know of a kind."""
    return kind.custom.types if kind.custom else typeschema.schema_for(kind.api_version, kind.kind)


def compile_custom(schema: Mapping[str, Any]) -> tuple[StructuralSchema, TypeSchema]:
    """Both views of a CRD's schema."""
    return StructuralSchema(schema), typeschema.from_crd(schema)


def apply(
    kind: Kind, live: Body | None, applied: Body, *, manager: str, force: bool, now: str, subresource: str
) -> Body:
    """Server-side apply.

    Raises:
        Failure: 409, other managers own fields of it.
    """
    try:
        return fieldmanager.apply(
            live,
            applied,
            manager=manager,
            force=force,
            schema=types_of(kind),
            now=now,
            subresource=subresource,
        )
    except fieldmanager.ApplyConflict as exc:
        causes = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in exc.causes]
        raise Failure(409, "Conflict", str(exc), {"causes": causes}) from exc
    except fieldmanager.ApplyError as exc:
        raise Failure(exc.status, "BadRequest" if exc.status == 400 else "", exc.message) from exc


def track_update(kind: Kind, before: Body | None, after: Body, *, manager: str, now: str, subresource: str) -> None:
    """Write down in `metadata.managedFields` who changed what."""
    fieldmanager.track_update(before, after, manager=manager, schema=types_of(kind), now=now, subresource=subresource)


def patched(kind: Kind, live: Body, patch: Any, media: str) -> Body:
    """The object after a JSON, merge or strategic merge patch.

    Raises:
        Failure: the patch does not fit.
    """
    try:
        if media == "application/json-patch+json":
            return patches.json_patch(live, patch)
        if media == "application/merge-patch+json":
            return patches.merge_patch(live, patch)
        return patches.strategic_merge(live, patch, types_of(kind))
    except patches.PatchError as exc:
        if exc.status == 422:
            raise Failure(422, "Invalid", str(exc), {}) from exc
        raise Failure(exc.status, "BadRequest", str(exc)) from exc


def default_crd(crd: Body) -> None:
    """Fill in what a CRD left out."""
    crd_checks.default_crd(crd)


def check_crd(crd: Body) -> list[Any]:
    """Why the CRD would be refused."""
    return list(crd_checks.check_crd(crd))
