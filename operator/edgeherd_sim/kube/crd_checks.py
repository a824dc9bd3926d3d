"""What the API server asks of a CRD before it takes it: names, versions, columns, and a schema that is structural.

A schema that asks for more than this simulator can judge (some string formats, embedded resources) is refused as well,
with words of our own: a simulator that lets pass what it does not check would be worse than none.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from edgeherd_sim.kube import causes
from edgeherd_sim.kube.causes import Cause, Raw
from edgeherd_sim.kube.objects import Body
from edgeherd_sim.kube.rule_checks import field_at
from edgeherd_sim.kube.schema_checks import check_schema

_LABEL: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NO_LABEL: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and "
    "end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_NO_DOMAIN: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS: Final = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_MOST_SELECTABLE: Final = 8
_NOT_SELECTABLE: Final = (
    "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
)
_APPROVAL: Final = "api-approved.kubernetes.io"


def default_crd(crd: Body) -> None:
    """Fill in what a CRD left out."""
    spec = crd.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    if kind and not names.get("singular"):
        names["singular"] = kind.lower()
    if kind and not names.get("listKind"):
        names["listKind"] = f"{kind}List"
    spec.setdefault("conversion", {"strategy": "None"})
    status = crd.setdefault("status", {})
    stored = _first_stored(spec)
    if stored and not status.get("storedVersions"):
        status["storedVersions"] = stored


def _first_stored(spec: Body) -> list[str]:
    """The versions in which a new CRD's objects are stored."""
    return [version.get("name", "") for version in spec.get("versions") or () if version.get("storage")][:1]


def check_crd(crd: Body) -> list[Cause]:
    """Why the CRD is refused; call `default_crd` first."""
    spec = crd.get("spec") or {}
    return [
        *_check_name(crd, spec),
        *_check_group(spec),
        *_check_scope(spec),
        *_check_schemas_there(spec),
        *_check_versions(spec),
        *_check_names(spec.get("names") or {}, "spec.names"),
        *_check_parts(spec),
        *_check_conversion(spec),
        *_check_stored(crd, spec),
        *_check_approval(crd, spec),
    ]


def _check_name(crd: Body, spec: Body) -> Iterator[Cause]:
    name = (crd.get("metadata") or {}).get("name", "")
    if name != f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}":
        yield causes.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')


def _check_group(spec: Body) -> Iterator[Cause]:
    group = spec.get("group", "")
    if not group:
        yield causes.required("spec.group")
    elif _DOMAIN.fullmatch(group) is None:
        yield causes.invalid("spec.group", group, _NO_DOMAIN)
    elif "." not in group:
        yield causes.invalid("spec.group", group, "should be a domain with at least one dot")


def _check_scope(spec: Body) -> Iterator[Cause]:
    scope = spec.get("scope", "")
    if not scope:
        yield causes.required("spec.scope")
    elif scope not in {"Cluster", "Namespaced"}:
        yield causes.unsupported("spec.scope", scope, ("Cluster", "Namespaced"))
    if spec.get("preserveUnknownFields"):
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        yield causes.invalid("spec.preserveUnknownFields", value=True, why=why)


def _check_schemas_there(spec: Body) -> Iterator[Cause]:
    for index, version in enumerate(spec.get("versions") or ()):
        if not _schema_of(version):
            yield causes.required(f"spec.versions[{index}].schema.openAPIV3Schema")


def _schema_of(version: Body) -> Body:
    found: Body = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    return found


def _check_versions(spec: Body) -> Iterator[Cause]:
    versions = spec.get("versions") or []
    for index, version in enumerate(versions):
        yield from _check_label(f"spec.versions[{index}].name", version.get("name", ""))
    names = [version.get("name", "") for version in versions]
    if len(set(names)) != len(names):
        yield causes.invalid("spec.versions", _rendered(versions), "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        why = "must have exactly one version marked as storage version"
        yield causes.invalid("spec.versions", _rendered(versions), why)
    if versions:
        # The server also keeps the first version's name in a field of its own, which it checks again.
        yield from _check_label("spec.version", names[0])


def _check_label(field: str, text: str) -> Iterator[Cause]:
    if _LABEL.fullmatch(text) is None:
        yield causes.invalid(field, text, _NO_LABEL)


def _rendered(versions: Sequence[Body]) -> Raw:
    """Versions as the server's messages show them; what all versions share it has moved elsewhere by then."""
    items = []
    for version in versions:
        warning = version.get("deprecationWarning")
        parts = {
            "Name": causes.quote(version.get("name", "")),
            "Served": causes.compact(bool(version.get("served"))),
            "Storage": causes.compact(bool(version.get("storage"))),
            "Deprecated": causes.compact(bool(version.get("deprecated"))),
            "DeprecationWarning": causes.compact(warning),
        } | dict.fromkeys(("Schema", "Subresources", "AdditionalPrinterColumns", "SelectableFields"), "null")
        items.append("{" + ",".join(f'"{key}":{text}' for key, text in parts.items()) + "}")
    return Raw(f"[{','.join(items)}]")


def _check_names(names: Body, field: str) -> Iterator[Cause]:
    for key in ("plural", "singular", "kind", "listKind"):
        if not names.get(key):
            yield causes.required(f"{field}.{key}")
    for key in ("plural", "singular"):
        if names.get(key):
            yield from _check_label(f"{field}.{key}", names[key])
    for key in ("kind", "listKind"):
        text = names.get(key, "")
        if text and _LABEL.fullmatch(text.lower()) is None:
            yield causes.invalid(
                f"{field}.{key}", text, f"may have mixed case, but should otherwise match: {_NO_LABEL}"
            )
    for key in ("shortNames", "categories"):
        for index, text in enumerate(names.get(key) or ()):
            yield from _check_label(f"{field}.{key}[{index}]", text)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield causes.invalid(f"{field}.listKind", names["listKind"], "kind and listKind may not be the same")


def _check_parts(spec: Body) -> Iterator[Cause]:
    """Schemas, columns and selectable fields of every version; once, where all versions have the same."""
    versions = spec.get("versions") or []
    for part, shared, check in (
        ("schema", "spec.validation", _check_version_schema),
        ("additionalPrinterColumns", "spec.additionalPrinterColumns", _check_columns),
        ("selectableFields", "spec.selectableFields", _check_selectable),
    ):
        having = [version for version in versions if version.get(part)]
        if having and len(having) == len(versions) and all(version[part] == versions[0][part] for version in having):
            having = having[:1]
            fields = [shared]
        else:
            fields = [f"spec.versions[{index}].{part}" for index, item in enumerate(versions) if item.get(part)]
        for version, field in zip(having, fields, strict=True):
            yield from check(version, field)


def _check_version_schema(version: Body, field: str) -> Iterator[Cause]:
    schema = _schema_of(version)
    if schema:
        has_status = "status" in (version.get("subresources") or {})
        yield from check_schema(schema, f"{field}.openAPIV3Schema", has_status=has_status)


def _check_columns(version: Body, field: str) -> Iterator[Cause]:
    for index, column in enumerate(version["additionalPrinterColumns"]):
        here = f"{field}[{index}]"
        kinds = f"must be one of {','.join(_COLUMN_TYPES)}"
        if not column.get("name"):
            yield causes.required(f"{here}.name")
        if not column.get("type"):
            yield causes.required(f"{here}.type", kinds)
        elif column["type"] not in _COLUMN_TYPES:
            yield causes.invalid(f"{here}.type", column["type"], kinds)
        if column.get("format", "") not in {"", *_COLUMN_FORMATS}:
            yield causes.invalid(f"{here}.format", column["format"], f"must be one of {','.join(_COLUMN_FORMATS)}")
        path = column.get("jsonPath", "")
        if not path:
            yield causes.required(f"{here}.JSONPath")
        elif not path.startswith("."):
            yield causes.invalid(f"{here}.JSONPath", path, "must be a simple json path starting with .")


def _check_selectable(version: Body, field: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, item in enumerate(version["selectableFields"]):
        here = f"{field}[{index}].jsonPath"
        path = item.get("jsonPath", "")
        if not path:
            yield causes.required(here)
            continue
        try:
            schema = field_at(_schema_of(version), path, brackets=False)
        except ValueError as exc:
            yield causes.invalid(here, path, f"is an invalid path: {exc}")
            continue
        if path.split(".")[1] == "metadata":
            yield causes.invalid(here, path, "must not point to fields in metadata")
        if schema.get("type") not in {"string", "boolean", "integer"}:
            yield causes.invalid(here, path, _NOT_SELECTABLE)
        if path in seen:
            yield causes.duplicate(here, path)
        seen.add(path)
    if len(seen) > _MOST_SELECTABLE:
        yield causes.too_many(field, len(seen), _MOST_SELECTABLE)


def _check_conversion(spec: Body) -> Iterator[Cause]:
    conversion: Mapping[str, Any] = spec.get("conversion") or {}
    strategy = conversion.get("strategy", "")
    if not strategy:
        yield causes.required("spec.conversion.strategy")
    elif strategy == "Webhook":
        why = "required when strategy is set to Webhook"
        if not (conversion.get("webhook") or {}).get("clientConfig"):
            yield causes.required("spec.conversion.webhookClientConfig", why)
        if not (conversion.get("webhook") or {}).get("conversionReviewVersions"):
            yield causes.required("spec.conversion.conversionReviewVersions")
        if conversion.get("webhook"):
            yield causes.forbidden("spec.conversion.strategy", "this simulator calls no webhooks")
    elif strategy != "None":
        yield causes.unsupported("spec.conversion.strategy", strategy, ("None", "Webhook"))


def _check_stored(crd: Body, spec: Body) -> Iterator[Cause]:
    # A new CRD has no status yet.
    stored = (crd.get("status") or {}).get("storedVersions") or _first_stored(spec)
    names = [version.get("name", "") for version in spec.get("versions") or ()]
    field = "status.storedVersions"
    if not stored:
        yield causes.invalid(field, None, "must have at least one stored version")
        return
    for version in spec.get("versions") or ():
        if version.get("storage") and version.get("name") not in stored:
            yield causes.invalid(field, stored, f"must have the storage version {version.get('name', '')}")
    for index, name in enumerate(stored):
        if name not in names:
            why = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions "
                f"until a storage migration ensures no data remains persisted in {name} and removes {name} from "
                "status.storedVersions"
            )
            yield causes.invalid(f"{field}[{index}]", name, why)


def _check_approval(crd: Body, spec: Body) -> Iterator[Cause]:
    group = spec.get("group", "")
    annotations = (crd.get("metadata") or {}).get("annotations") or {}
    protected = group.endswith((".k8s.io", ".kubernetes.io")) or group in {"k8s.io", "kubernetes.io"}
    if protected and not annotations.get(_APPROVAL):
        why = (
            f'protected groups must have approval annotation "{_APPROVAL}", see '
            "https://github.com/kubernetes/enhancements/pull/1111"
        )
        yield causes.required(f"metadata.annotations[{_APPROVAL}]", why)
