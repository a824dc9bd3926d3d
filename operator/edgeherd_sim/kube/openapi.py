"""OpenAPI v3 documents: what kubectl validates, explains and merges by."""

import hashlib
from collections.abc import Mapping
from typing import Any

from edgeherd_sim.kube import models
from edgeherd_sim.kube.kinds import Kind, Kinds
from edgeherd_sim.kube.objects import clone

Body = dict[str, Any]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_OBJECT_META = f"{_META}ObjectMeta"
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "ownerReferences": "uid",
    "conditions": "type",
    "hostAliases": "ip",
}
_MERGE_KEYS_OF = {("V1Container", "ports"): "containerPort", ("V1ServiceSpec", "ports"): "port"}
_MERGED_LISTS = {"finalizers"}
_WRITES = ("post", "put", "patch")
_ACTIONS = {"get": "get", "post": "post", "put": "put", "patch": "patch", "delete": "delete"}


OLD_MEDIA = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
OLD_DOCUMENT = b"\x0a\x032.0\x12\x0f\x0a\x05Empty\x12\x06v0.1.0\x42\x00"
"""An OpenAPI v2 document without any path: kubectl asks for one about kinds that version 3 does not know."""


def index(kinds: Kinds) -> Body:
    """The answer to `/openapi/v3`: the documents, each with a hash that changes with it."""
    paths = {}
    for group, versions in kinds.groups().items():
        for version in versions:
            name = f"apis/{group}/{version}" if group else f"api/{version}"
            stamp = repr(
                [(kind, kind.custom.schema if kind.custom else None) for kind in kinds.of_version(group, version)]
            )
            digest = hashlib.sha256(stamp.encode()).hexdigest().upper()
            paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
    return {"paths": dict(sorted(paths.items()))}


def document(kinds: Kinds, group: str, version: str) -> Body | None:
    """The document of one group and version; None when there is none."""
    served = kinds.of_version(group, version)
    if not served:
        return None
    schemas: dict[str, Body] = {}
    paths: dict[str, Body] = {}
    _built_in(schemas, "V1ObjectMeta")
    _built_in(schemas, "V1ListMeta")
    for kind in served:
        name = _schema_of(schemas, kind)
        paths |= _paths(kind, name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes CRD Swagger" if group else "Kubernetes", "version": "v0.1.0"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def _schema_of(schemas: dict[str, Body], kind: Kind) -> str:
    """Put the schema of a kind and of its list in; the name of the first."""
    gvk = [{"group": kind.group, "version": kind.version, "kind": kind.kind}]
    if kind.custom:
        domain = ".".join(reversed(kind.group.split(".")))
        name = f"{domain}.{kind.version}.{kind.kind}"
        schemas[name] = _custom(kind.custom.schema) | {"x-kubernetes-group-version-kind": gvk}
    else:
        model = models.for_kind(kind.group, kind.kind)
        name = _built_in(schemas, model.name) if model else kind.kind
        schemas[name] = {**schemas.get(name, {"type": "object"}), "x-kubernetes-group-version-kind": gvk}
    schemas[f"{name}List"] = _list(kind, name)
    return name


def _list(kind: Kind, name: str) -> Body:
    return {
        "description": f"{kind.list_kind} is a list of {kind.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The version of the schema."},
            "items": {"description": "The objects.", "type": "array", "items": _reference(name)},
            "kind": {"type": "string", "description": "The kind of the list."},
            "metadata": {"description": "The list's own metadata.", "allOf": [_reference(f"{_META}ListMeta")]},
        },
        "x-kubernetes-group-version-kind": [{"group": kind.group, "version": kind.version, "kind": kind.list_kind}],
    }


def _custom(schema: Mapping[str, Any]) -> Body:
    """A CRD's schema, with the metadata that every object has."""
    found: Body = clone(dict(schema))
    properties = found.setdefault("properties", {})
    known = models.load("V1ConfigMap")
    for key in ("apiVersion", "kind"):
        description = known.fields[key].description if known else ""
        properties[key] = {"type": "string", "description": description}
    properties["metadata"] = {
        "description": "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/"
        "sig-architecture/api-conventions.md#metadata",
        "allOf": [_reference(_OBJECT_META)],
    }
    return found


def _reference(name: str) -> Body:
    return {"$ref": f"#/components/schemas/{name}"}


def _name(model: str) -> str:
    """The name of a model's schema."""
    known = {"V1ObjectMeta": _OBJECT_META, "V1ListMeta": f"{_META}ListMeta"}
    return known.get(model, f"io.k8s.api.{model}")


def _built_in(schemas: dict[str, Body], model_name: str) -> str:
    """Put a model's schema in, and those it refers to."""
    name = _name(model_name)
    if name in schemas:
        return name
    model = models.load(model_name)
    found: Body = {"description": model.description if model else "", "type": "object"}
    schemas[name] = found
    if model is None:
        return name
    properties = {}
    for field in model.fields.values():
        properties[field.name] = _property(schemas, model, field)
    if properties:
        found["properties"] = properties
    required = [field.name for field in model.fields.values() if field.required]
    if required:
        found["required"] = required
    return name


def _property(schemas: dict[str, Body], model: models.Model, field: models.Field) -> Body:
    found = _type(schemas, field.type)
    if "$ref" in found:
        found = {"allOf": [found]}
    if field.description:
        found["description"] = field.description
    merge_key = _MERGE_KEYS_OF.get((model.name, field.name)) or _MERGE_KEYS.get(field.name)
    if found.get("type") == "array" and merge_key and field.type.startswith("List[V1"):
        found |= {"x-kubernetes-patch-merge-key": merge_key, "x-kubernetes-patch-strategy": "merge"}
    elif field.name in _MERGED_LISTS:
        found["x-kubernetes-patch-strategy"] = "merge"
    return found


def _type(schemas: dict[str, Body], type_name: str) -> Body:  # noqa: PLR0911 - one for each type
    container, inner = models.element(type_name)
    if container == "list":
        return {"type": "array", "items": _type(schemas, inner)}
    if container == "dict":
        return {"type": "object", "additionalProperties": _type(schemas, inner)}
    if inner == "bytes":
        return {"type": "string", "format": "byte"}
    if inner == "datetime":
        return {"type": "string", "format": "date-time"}
    scalar = models.scalar(inner)
    if scalar:
        return {"type": scalar} | ({"format": "int32"} if scalar == "integer" else {})
    if inner[:1].isupper() and models.load(inner) is not None:
        return _reference(_built_in(schemas, inner))
    return {}


def _paths(kind: Kind, name: str) -> dict[str, Body]:
    """The paths of a kind: enough for kubectl to see which parameters a write takes."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    base = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    found = {
        base: _operations(kind, name, ("get", "post")),
        f"{base}/{{name}}": _operations(kind, name, ("get", "put", "patch", "delete")),
    }
    if kind.status:
        found[f"{base}/{{name}}/status"] = _operations(kind, name, ("get", "put", "patch"))
    return found


def _operations(kind: Kind, name: str, methods: tuple[str, ...]) -> Body:
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    answer = {"content": {"application/json": {"schema": _reference(name)}}, "description": "OK"}
    found: Body = {}
    for method in methods:
        operation: Body = {
            "responses": {"200": answer},
            "x-kubernetes-action": _ACTIONS[method],
            "x-kubernetes-group-version-kind": gvk,
        }
        if method in _WRITES:
            operation["parameters"] = [
                {"name": parameter, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
                for parameter in ("dryRun", "fieldManager", "fieldValidation")
            ]
        found[method] = operation
    return found
