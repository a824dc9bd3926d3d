"""The rules of `metadata`, which all kinds share."""

import json
import re
import secrets
from typing import Any

from edgeherd_sim.kube.rules import Problem, not_allowed, required, wrong

Body = dict[str, Any]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_NAME_PART_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
    "is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_ANNOTATIONS_LIMIT = 256 * 1024
_LABEL_NAMES = {"Namespace", "Service"}
_PATH_NAMES = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
_STANDARD_FINALIZERS = {"foregroundDeletion", "orphan", "kubernetes"}


def generate_name(prefix: str) -> str:
    """A name that begins with the prefix, as for `generateName`."""
    return prefix[:58] + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))


def check(kind: str, meta: Body) -> list[Problem]:
    """Why the metadata of an object would be refused."""
    problems = _check_name(kind, meta)
    problems += [
        wrong("metadata.labels", json.dumps(text), words) for text, words in label_problems(meta.get("labels"))
    ]
    problems += _check_annotations(meta.get("annotations") or {})
    problems += _check_owners(meta.get("ownerReferences") or [])
    for number, name in enumerate(meta.get("finalizers") or []):
        problems += [wrong(f"metadata.finalizers[{number}]", json.dumps(name), words) for words in qualified_name(name)]
    return problems


def _check_name(kind: str, meta: Body) -> list[Problem]:
    name = meta.get("name", "")
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    if kind in _PATH_NAMES:
        bad = [part for part in ("/", "%") if part in name]
        return [wrong("metadata.name", json.dumps(name), f"may not contain '{part}'") for part in bad]
    limit, pattern, words = (63, _LABEL, _LABEL_WORDS) if kind in _LABEL_NAMES else (253, _SUBDOMAIN, _SUBDOMAIN_WORDS)
    found = []
    if len(name) > limit:
        found.append(wrong("metadata.name", json.dumps(name), f"must be no more than {limit} characters"))
    if not pattern.fullmatch(name):
        found.append(wrong("metadata.name", json.dumps(name), words))
    return found


def label_problems(labels: Body | None) -> list[tuple[str, str]]:
    """Pairs of a wrong key or value and what is wrong with it."""
    found = []
    for key, value in (labels or {}).items():
        found += [(key, words) for words in qualified_name(key)]
        if len(value) > 63:
            found.append((value, "must be no more than 63 characters"))
        if not _LABEL_VALUE.fullmatch(value):
            found.append((value, _LABEL_VALUE_WORDS))
    return found


def qualified_name(text: str) -> list[str]:
    """What is wrong with a key such as `example.com/name`."""
    prefix, slash, name = text.rpartition("/")
    found = []
    if slash and not prefix:
        found.append("prefix part must be non-empty")
    elif slash and not _SUBDOMAIN.fullmatch(prefix):
        found.append(f"prefix part {_SUBDOMAIN_WORDS}")
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 characters")
    if not _NAME_PART.fullmatch(name):
        found.append(_NAME_PART_WORDS)
    return found


def _check_annotations(annotations: Body) -> list[Problem]:
    found = [
        wrong("metadata.annotations", json.dumps(key), words)
        for key in annotations
        for words in qualified_name(key.lower())
    ]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > _ANNOTATIONS_LIMIT:
        message = f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes"
        found.append(Problem(reason="FieldValueTooLong", field="metadata.annotations", message=message))
    return found


def _check_owners(owners: list[Body]) -> list[Problem]:
    found: list[Problem] = []
    controllers = [owner for owner in owners if owner.get("controller")]
    for number, owner in enumerate(owners):
        field = f"metadata.ownerReferences[{number}]"
        if not owner.get("apiVersion"):
            found.append(wrong(f"{field}.apiVersion", '""', "version must not be empty"))
        found += [
            wrong(f"{field}.{key}", '""', "must not be empty") for key in ("kind", "name", "uid") if not owner.get(key)
        ]
    if len(controllers) > 1:
        field = "metadata.ownerReferences"
        found.append(wrong(field, "[]", "Only one reference can have Controller set to true."))
    return found


def check_change(old: Body, new: Body) -> list[Problem]:
    """Why a change of metadata would be refused."""
    if not old.get("deletionTimestamp"):
        return []
    fresh = [name for name in new.get("finalizers", []) if name not in old.get("finalizers", [])]
    if not fresh:
        return []
    listed = ", ".join(json.dumps(name) for name in fresh)
    words = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
    return [not_allowed("metadata.finalizers", words)]


def finalizer_warnings(meta: Body) -> list[str]:
    """Finalizers that other writers might choose as well."""
    return [
        f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name{_path_words(name)} to avoid accidental '
        "conflicts with other finalizer writers"
        for name in meta.get("finalizers") or ()
        if "/" not in name and name not in _STANDARD_FINALIZERS
    ]


def _path_words(name: str) -> str:
    return " including a path (/)" if "." in name else ""
