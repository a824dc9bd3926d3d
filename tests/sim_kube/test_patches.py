"""Patches of the three kinds, against what kube-apiserver 1.36.2 answered to them."""

from typing import Any

import pytest

from edgeherd_sim.kube import typeschema
from edgeherd_sim.kube.patches import PatchError, json_patch, merge_patch, strategic_merge

Operation = dict[str, Any]
REFUSED = (422, "the server rejected our request due to an error in our request")
BODY: dict[str, Any] = {"metadata": {"finalizers": ["x/z", "x/y"]}, "data": {"a": "1"}, "n": 1}

ACCEPTED: list[tuple[str, list[Operation], dict[str, Any]]] = [
    ("nothing at all", [], {}),
    ("add a field", [{"op": "add", "path": "/data/b", "value": "2"}], {"data": {"a": "1", "b": "2"}}),
    ("replace what is not there", [{"op": "replace", "path": "/data/b", "value": "2"}], {"data": {"a": "1", "b": "2"}}),
    ("add without a value is null", [{"op": "add", "path": "/data/b"}], {"data": {"a": "1", "b": None}}),
    ("what is missing tests as null", [{"op": "test", "path": "/data/b", "value": None}], {}),
    ("a true test", [{"op": "test", "path": "/n", "value": 1}], {}),
    (
        "append to a list",
        [{"op": "add", "path": "/metadata/finalizers/-", "value": "q"}],
        {"metadata": {"finalizers": ["x/z", "x/y", "q"]}},
    ),
    (
        "remove from the end of a list",
        [{"op": "remove", "path": "/metadata/finalizers/-1"}],
        {"metadata": {"finalizers": ["x/z"]}},
    ),
    (
        "move and copy",
        [
            {"op": "move", "from": "/data/a", "path": "/data/b"},
            {"op": "copy", "from": "/data/b", "path": "/data/c"},
        ],
        {"data": {"b": "1", "c": "1"}},
    ),
    ("a slash in a name", [{"op": "add", "path": "/data/x~1y", "value": "z"}], {"data": {"a": "1", "x/y": "z"}}),
]


@pytest.mark.parametrize(("operations", "changed"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_a_json_patch_does_what_it_does_on_the_real_server(
    operations: list[Operation], changed: dict[str, Any]
) -> None:
    """RFC 6902, as tolerant as the API server is."""
    assert json_patch(BODY, operations) == BODY | changed


WRONG: list[tuple[str, Any, tuple[int, str]]] = [
    ("a false test", [{"op": "test", "path": "/data/a", "value": "2"}], REFUSED),
    ("true is not 1", [{"op": "test", "path": "/n", "value": True}], REFUSED),
    ("remove what is not there", [{"op": "remove", "path": "/data/zz"}], REFUSED),
    ("add below what is not there", [{"op": "add", "path": "/data/q/r", "value": "1"}], REFUSED),
    ("an index beyond the list", [{"op": "add", "path": "/metadata/finalizers/7", "value": "q"}], REFUSED),
    ("remove beyond the list", [{"op": "remove", "path": "/metadata/finalizers/-5"}], REFUSED),
    ("an unknown operation", [{"op": "bogus", "path": "/data/a"}], REFUSED),
    ("no path", [{"op": "add", "value": "x"}], REFUSED),
    ("move from nowhere", [{"op": "move", "from": "/data/nope", "path": "/data/b"}], REFUSED),
    (
        "no list",
        {"op": "add"},
        (400, "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
    ),
    (
        "a string",
        "x",
        (400, "error decoding patch: json: cannot unmarshal string into Go value of type []handlers.jsonPatchOp"),
    ),
]


@pytest.mark.parametrize(("operations", "answer"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_json_patch_that_does_not_fit_is_refused(operations: Any, answer: tuple[int, str]) -> None:
    """One failing operation refuses the whole patch."""
    with pytest.raises(PatchError) as caught:
        json_patch(BODY, operations)
    assert (caught.value.status, caught.value.message) == answer


def test_patches_leave_their_input_alone() -> None:
    """The stored object never changes under a patch, not even under one that fails half-way."""
    body = {"data": {"a": ["1"]}}
    json_patch(body, [{"op": "add", "path": "/data/a/-", "value": "2"}])
    merge_patch(body, {"data": {"a": None}})
    with pytest.raises(PatchError):
        json_patch(body, [{"op": "remove", "path": "/data"}, {"op": "remove", "path": "/data"}])
    assert body == {"data": {"a": ["1"]}}


def test_null_removes_in_a_merge_patch() -> None:
    """RFC 7396: objects merge, null removes, lists are replaced, and new objects hold no nulls."""
    patch = {"data": {"a": None, "b": {"c": 1, "d": None}}, "metadata": {"finalizers": ["q"]}}
    assert merge_patch(BODY, patch) == BODY | {"data": {"b": {"c": 1}}, "metadata": {"finalizers": ["q"]}}


@pytest.mark.parametrize(("patch", "kind"), [([1], "array"), ("x", "string"), (5, "number"), (True, "bool")])
def test_a_merge_patch_is_an_object(patch: Any, kind: str) -> None:
    """Anything else is no patch."""
    with pytest.raises(PatchError) as caught:
        merge_patch(BODY, patch)
    assert (caught.value.status, caught.value.message) == (
        400,
        f"error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}",
    )


def container(**fields: Any) -> dict[str, Any]:
    """A Deployment's spec with one container `c`."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", **fields}]}}}}


def env(*names: str) -> list[dict[str, str]]:
    """Variables in that order."""
    return [{"name": name, "value": "1"} for name in names]


STRATEGIC: list[tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        "finalizers are a set, and the patch's come first",
        "Deployment",
        {"metadata": {"finalizers": ["a/b"]}},
        {"metadata": {"finalizers": ["c/d"]}},
        {"metadata": {"finalizers": ["c/d", "a/b"]}},
    ),
    (
        "items leave a set by name",
        "Deployment",
        {"metadata": {"finalizers": ["c/d", "a/b"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"]}},
        {"metadata": {"finalizers": ["c/d"]}},
    ),
    (
        "the patch says the order",
        "Deployment",
        {"metadata": {"finalizers": ["c/d"]}},
        {"metadata": {"$setElementOrder/finalizers": ["c/d", "e/f"], "finalizers": ["e/f"]}},
        {"metadata": {"finalizers": ["c/d", "e/f"]}},
    ),
    (
        "a new variable comes first",
        "Deployment",
        container(env=env("C", "A", "B"), args=["1"]),
        container(env=env("D")),
        container(env=env("D", "C", "A", "B"), args=["1"]),
    ),
    (
        "a variable is deleted, and arguments are replaced",
        "Deployment",
        container(env=env("A", "B"), args=["1"]),
        container(env=[{"name": "A", "$patch": "delete"}], args=["2", "3"]),
        container(env=env("B"), args=["2", "3"]),
    ),
    (
        "a list is replaced by directive",
        "Deployment",
        container(image="i"),
        {"spec": {"template": {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}}},
        {"spec": {"template": {"spec": {"containers": [{"name": "z"}]}}}},
    ),
    (
        "only the retained keys stay",
        "Deployment",
        {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}},
        {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate", "rollingUpdate": None}}},
        {"spec": {"strategy": {"type": "Recreate"}}},
    ),
    (
        "a map is replaced by directive",
        "ConfigMap",
        {"data": {"a": "1"}},
        {"data": {"$patch": "replace", "z": "1"}},
        {"data": {"z": "1"}},
    ),
]


@pytest.mark.parametrize(
    ("kind", "body", "patch", "result"), [row[1:] for row in STRATEGIC], ids=[row[0] for row in STRATEGIC]
)
def test_a_strategic_merge_patch_knows_keys_and_directives(
    kind: str, body: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]
) -> None:
    """Lists with keys merge item by item; `$patch` and its like are obeyed and never stored."""
    version = "apps/v1" if kind == "Deployment" else "v1"
    assert strategic_merge(body, patch, typeschema.schema_for(version, kind)) == result


def test_an_item_without_its_key_is_refused() -> None:
    """Without the merge key nobody can tell which item is meant."""
    with pytest.raises(PatchError, match=r"map: .* does not contain declared merge key: name"):
        strategic_merge(container(), container(env=[{"value": "1"}]), typeschema.schema_for("apps/v1", "Deployment"))
