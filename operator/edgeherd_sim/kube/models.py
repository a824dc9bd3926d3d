"""The built-in types, read from the source of the `kubernetes` package's models.

The models carry names, types and descriptions of every field. Importing them all costs more memory than the whole
simulator, so the few that are needed are parsed instead, when they are needed.
"""

import ast
import functools
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_UPPER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SCALARS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a model. `type` is a model's name or one of the words of the models' type table."""

    name: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One type, such as `V1Secret`."""

    name: str
    description: str
    fields: Mapping[str, Field]


def element(type_name: str) -> tuple[str, str]:
    """A type's container (`list`, `dict` or nothing) and what is in it."""
    match = re.fullmatch(r"(?:(List)\[(.*)\]|Dict\[str, (.*)\])", type_name)
    if match is None:
        return "", type_name
    return ("list", match[2]) if match[1] else ("dict", match[3])


def scalar(type_name: str) -> str:
    """The JSON type of a scalar; empty for everything else."""
    return _SCALARS.get(type_name, "")


@functools.cache
def _folder() -> Path:
    found = importlib.util.find_spec("kubernetes")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("The kubernetes package is not installed", name="kubernetes")
    return Path(next(iter(found.submodule_search_locations))) / "aio" / "client" / "models"


def _file_name(model: str) -> str:
    words = _UPPER.sub("_", model).lower()
    return re.sub(r"^([a-z]+)_(v\d)", r"\1_\2", words) + ".py"


@functools.cache
def load(model: str) -> Model | None:
    """A model by its name; None when the package has none of that name."""
    path = _folder() / _file_name(model)
    if not path.is_file():
        return None
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == model:
            return _read(node)
    return None


def _read(node: ast.ClassDef) -> Model:
    types: dict[str, str] = {}
    names: dict[str, str] = {}
    described: dict[str, str] = {}
    optional: set[str] = set()
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name) or item.value is None:
            continue
        target = item.target.id
        if target == "openapi_types":
            types = ast.literal_eval(item.value)
        elif target == "attribute_map":
            names = ast.literal_eval(item.value)
        elif isinstance(item.value, ast.Call):
            words = {word.arg: word.value for word in item.value.keywords}
            if "default" in words:
                optional.add(target)
            if "description" in words:
                described[target] = ast.literal_eval(words["description"])
        else:
            optional.add(target)
    required = _without_value(node)
    fields = {
        names[key]: Field(
            name=names[key],
            type=types[key],
            required=key in required or key not in optional,
            description=described.get(key, ""),
        )
        for key in names
    }
    text = (ast.get_docstring(node) or "").split("\n\nAttributes:")[0].strip()
    return Model(name=node.name, description=text, fields=fields)


def _without_value(node: ast.ClassDef) -> set[str]:
    return {
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is None
    }


_NAMES = {
    ("", "Event"): "CoreV1Event",
    ("events.k8s.io", "Event"): "EventsV1Event",
}


def for_kind(group: str, kind: str) -> Model | None:
    """The model of a built-in kind."""
    return load(_NAMES.get((group, kind), f"V1{kind}"))
