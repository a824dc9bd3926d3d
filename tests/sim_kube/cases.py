"""Read `tests/crd_cases.yaml`: manifests that an API server must accept or refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml_files

FILE = Path(__file__).resolve().parent.parent / "crd_cases.yaml"
FOLDER = FILE.parent.parent / "crds"
Body = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request: a manifest to create, or a merge patch (to a subresource)."""

    verb: str
    body: Body
    subresource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Requests on a fresh API server; all but the last must succeed, and of that one the rest speaks.

    `message` is a whole sentence of its refusal, `also` are the others; `stored` must be in the object otherwise.
    """

    name: str
    steps: tuple[Step, ...]
    accepted: bool
    message: str = ""
    also: tuple[str, ...] = ()
    stored: Body = field(default_factory=dict)

    @property
    def manifest(self) -> Body:
        """What is created first."""
        return self.steps[0].body


def read(path: Path = FILE) -> tuple[Case, ...]:
    """All cases of the file, in its order."""
    content = yaml_files.read(path)
    return tuple(_case(item, content["bases"]) for item in content["cases"])


def crd(kind: str) -> Body:
    """Our CRD of that kind."""
    return next(found for found in crds() if found["spec"]["names"]["kind"] == kind)


def crds() -> tuple[Body, ...]:
    """Our CRDs."""
    found = [yaml_files.read(path) for path in sorted(FOLDER.glob("*.yaml"))]
    return tuple(body for body in found if body["kind"] == "CustomResourceDefinition")


def schema(kind: str) -> Body:
    """The schema of the only version of our CRD of that kind."""
    found: Body = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396), written here once more so that the product's is not tested with itself."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def holds(stored: Any, wanted: Any) -> bool:
    """Whether an object has all that is wanted; null asks for absence."""
    if not isinstance(wanted, Mapping):
        return bool(stored == wanted)
    return isinstance(stored, Mapping) and all(
        key not in stored if value is None else key in stored and holds(stored[key], value)
        for key, value in wanted.items()
    )


def _case(item: Body, bases: Body) -> Case:
    patches = tuple(
        Step(verb="patch", body=patch, subresource=item.get("subresource", "")) for patch in item.get("patches", ())
    )
    create = Step(verb="create", body=merged(bases[item["base"]], item.get("with", {})))
    return Case(
        name=item["name"],
        steps=(create, *patches),
        accepted=item["accepted"],
        message=item.get("message", ""),
        also=tuple(item.get("also", ())),
        stored=item.get("stored", {}),
    )
