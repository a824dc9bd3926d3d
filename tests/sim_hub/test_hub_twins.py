"""Twins as the emulated hub keeps them: merge patches, metadata, limits, and what they mirror of their identity."""

import dataclasses
import re
from typing import Any

import pytest

from edgeherd_sim.hub import twindocs, views
from edgeherd_sim.hub.errors import HubError
from edgeherd_sim.hub.model import Twin
from edgeherd_sim.hub.store import Store

BORN, LATER = "2026-11-23T15:00:00Z", "2026-11-23T16:00:00Z"
KEY = ("press-01", "")


def nested(depth: int) -> dict[str, Any]:
    """An object with so many objects in each other."""
    return {"a": nested(depth - 1)} if depth > 1 else {}


def with_tags(tags: dict[str, Any]) -> Twin:
    """A twin that has these tags."""
    return dataclasses.replace(twindocs.fresh(BORN), tags=tags)


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        pytest.param({}, {"a": 1}, {"a": 1}, id="a tag is added"),
        pytest.param({"a": 1, "b": 2}, {"a": 3}, {"a": 3, "b": 2}, id="a tag is changed, its sibling stays"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}, id="null removes a leaf"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {}}, id="an object that became empty stays"),
        pytest.param({"a": 1, "b": 2}, {"a": None}, {"b": 2}, id="null removes a whole tag"),
        pytest.param({"a": 1}, {"a": None}, None, id="after the last tag there are none: null"),
        pytest.param({"a": 1}, {"b": None}, {"a": 1}, id="removing what is not there"),
        pytest.param({"a": 1}, None, None, id="null as a whole removes all"),
        pytest.param({"a": [1, 2]}, {"a": [3]}, {"a": [3]}, id="arrays are replaced whole"),
        pytest.param({"a": {"b": 1}}, {"a": 2}, {"a": 2}, id="a value takes the place of an object"),
        pytest.param({"a": 2}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="an object takes the place of a value"),
        pytest.param(
            {}, {"a": 1, "b": 1.0, "c": True, "d": "ü"}, {"a": 1, "b": 1.0, "c": True, "d": "ü"}, id="all types"
        ),
        pytest.param({"a": 1}, {"$version": 7, "$metadata": {}}, {"a": 1}, id="what the hub added itself is ignored"),
    ],
)
def test_tags_are_merged(before: dict[str, Any], patch: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """A PATCH is a merge patch, except that objects stay when they become empty."""
    twin = with_tags(before)
    patched = twindocs.patched(twin, {"tags": patch}, LATER, 9)
    assert patched == dataclasses.replace(twin, tags=after, revision=9, version=twin.version + 1)
    assert repr(patched.tags) == repr(after)


def test_desired_properties_are_merged() -> None:
    """Desired properties count their versions, and remember when each part was last written."""
    twin = twindocs.fresh(BORN)
    first = twindocs.patched(twin, {"properties": {"desired": {"a": {"b": 1, "c": 2}, "d": 3}}}, BORN, 2)
    second = twindocs.patched(first, {"properties": {"desired": {"a": {"b": 4}, "d": None}}}, LATER, 3)
    old = {"$lastUpdated": BORN, "$lastUpdatedVersion": 2}
    new = {"$lastUpdated": LATER, "$lastUpdatedVersion": 3}
    assert first.desired.metadata == {**old, "a": {**old, "b": old, "c": old}, "d": old}
    assert second.desired.value == {"a": {"b": 4, "c": 2}}
    assert second.desired.metadata == {**new, "a": {**new, "b": new, "c": old}}
    assert [each.desired.version for each in (twin, first, second)] == [1, 2, 3]
    assert (second.reported, second.tags) == (twin.reported, twin.tags)


def test_replace() -> None:
    """A PUT wipes what it does not say."""
    twin = twindocs.patched(with_tags({"a": 1}), {"properties": {"desired": {"b": 2}}}, BORN, 2)
    replaced = twindocs.replaced(twin, {"properties": {"desired": {"c": {"d": 3}}}}, LATER, 3)
    new = {"$lastUpdated": LATER, "$lastUpdatedVersion": 3}
    assert (replaced.tags, replaced.desired.value) == (None, {"c": {"d": 3}})
    assert replaced.desired.metadata == {**new, "c": {**new, "d": new}}
    assert (replaced.desired.version, replaced.version, replaced.revision) == (3, twin.version + 1, 3)
    assert replaced.reported == twin.reported


def test_reports() -> None:
    """What a device reports moves the twin's version, but neither its etag nor the desired properties."""
    twin = twindocs.fresh(BORN)
    reported = twindocs.reported(twin, {"a": {"b": 1}}, LATER)
    at = {"$lastUpdated": LATER}
    assert reported.reported.metadata == {**at, "a": {**at, "b": at}}
    assert (reported.version, reported.etag, reported.desired) == (twin.version + 1, twin.etag, twin.desired)


@pytest.mark.parametrize(
    ("tags", "good"),
    [
        pytest.param({"a": {"b": "x" * 4000, "c": "x" * 4000}}, True, id="tags just below 8 KB"),
        pytest.param({"a": {"b": "x" * 4000, "c": "x" * 4000, "d": "x" * 200}}, False, id="tags above 8 KB"),
        pytest.param({"a": "x" * 4096}, True, id="a value of 4 KB"),
        pytest.param({"a": "x" * 4097}, False, id="a value above 4 KB"),
        pytest.param({"a": "ü" * 2049}, False, id="bytes are counted, not characters"),
        pytest.param(nested(10), True, id="ten objects in each other"),
        pytest.param(nested(11), False, id="eleven objects in each other"),
        pytest.param({"a" * 1024: 1}, True, id="a name of 1024 bytes"),
        pytest.param({"a" * 1025: 1}, False, id="a name of 1025 bytes"),
        *(
            pytest.param({name: 1}, False, id=f"a name with {word}")
            for name, word in (
                ("a.b", "a dot"),
                ("$a", "a dollar sign"),
                ("a#", "a hash"),
                ("a b", "a space"),
                ("a\n", "a line break"),
            )
        ),
        pytest.param({"a": [1, None]}, False, id="a null inside an array"),
        pytest.param({"a": [{"b": None}]}, False, id="a null inside an object of an array"),
        pytest.param({"a": 2**52 - 1}, True, id="the largest integer"),
        pytest.param({"a": 2**52}, False, id="an integer that is too large"),
        pytest.param({"a": -(2**52)}, False, id="an integer that is too small"),
        pytest.param([1], False, id="tags that are a list"),
    ],
)
def test_limits_of_tags(tags: Any, good: bool) -> None:
    """What breaks a limit is refused by PATCH and PUT alike."""
    for change in (twindocs.patched, twindocs.replaced):
        if good:
            assert change(twindocs.fresh(BORN), {"tags": tags}, LATER, 2).tags == tags
        else:
            with pytest.raises(HubError, match="ArgumentInvalid"):
                change(twindocs.fresh(BORN), {"tags": tags}, LATER, 2)


@pytest.mark.parametrize(
    ("values", "good"),
    [
        pytest.param(8, True, id="properties just below 32 KB"),
        pytest.param(9, False, id="properties above 32 KB"),
    ],
)
def test_limits_of_properties(values: int, good: bool) -> None:
    """Desired and reported properties hold four times what tags do."""
    properties = {f"p{number}": "x" * 4000 for number in range(values)}
    twin = twindocs.fresh(BORN)
    if good:
        assert twindocs.patched(twin, {"properties": {"desired": properties}}, LATER, 2).desired.value == properties
        assert twindocs.reported(twin, properties, LATER).reported.value == properties
    else:
        with pytest.raises(HubError, match="32768 bytes"):
            twindocs.patched(twin, {"properties": {"desired": properties}}, LATER, 2)
        with pytest.raises(HubError, match="32768 bytes"):
            twindocs.reported(twin, properties, LATER)


def test_the_sum_is_limited_too() -> None:
    """Small patches cannot add up to more than a twin can hold."""
    twin = twindocs.fresh(BORN)
    for number in range(2):
        twin = twindocs.patched(twin, {"tags": {f"t{number}": "x" * 4000}}, LATER, 2)
    with pytest.raises(HubError, match="8192 bytes"):
        twindocs.patched(twin, {"tags": {"t2": "x" * 4000}}, LATER, 2)


@pytest.fixture
def store() -> Store:
    """A registry with one edge device."""
    store = Store()
    store.put_device("press-01", {"capabilities": {"iotEdge": True}}, None)
    return store


def test_a_new_twin_mirrors_its_identity(store: Store) -> None:
    """A twin shows the identity's state and etag; never keys, never the generation. Without tags it has no such member."""
    identity, twin = store.twin(KEY)
    born = twin.desired.metadata["$lastUpdated"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", born)
    empty = {"$metadata": {"$lastUpdated": born}, "$version": 1}
    assert views.twin(identity, twin) == {
        "deviceId": "press-01",
        "etag": "AAAAAAAAAAE=",
        "deviceEtag": identity.etag,
        "status": "enabled",
        "statusUpdateTime": "0001-01-01T00:00:00Z",
        "connectionState": "Disconnected",
        "lastActivityTime": "0001-01-01T00:00:00Z",
        "cloudToDeviceMessageCount": 0,
        "authenticationType": "sas",
        "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
        "modelId": "",
        "version": 2,
        "properties": {"desired": empty, "reported": empty},
        "capabilities": {"iotEdge": True},
        "deviceScope": identity.device_scope,
    }


def etags_of(store: Store) -> tuple[str, str]:
    """The twin's own etag, and that of its identity."""
    shown = views.twin(*store.twin(KEY))
    return shown["etag"], shown["deviceEtag"]


def test_each_etag_follows_its_own_writes(store: Store) -> None:
    """A write to the identity moves deviceEtag at once and not the etag; a write to the twin does the opposite."""
    first = etags_of(store)
    scope = store.device("press-01").device_scope
    store.put_device("press-01", {"capabilities": {"iotEdge": True}, "deviceScope": scope}, "*")
    second = etags_of(store)
    store.patch_twin(KEY, {"tags": {"a": 1}}, None)
    third = etags_of(store)
    assert second == (first[0], store.device("press-01").etag) != first
    assert third[1] == second[1]
    assert third[0] != second[0]


@pytest.mark.parametrize("spelling", ["*", '"*"', "{}", '"{}"'])
def test_if_match_of_twins(store: Store, spelling: str) -> None:
    """A twin's If-Match may be left out, and takes all four spellings; a stale one is refused."""
    stale = spelling.format(etags_of(store)[0])
    store.patch_twin(KEY, {"tags": {"a": 1}}, stale)
    store.replace_twin(KEY, {"tags": {"b": 2}}, spelling.format(etags_of(store)[0]))
    assert store.twins[KEY].tags == {"b": 2}
    if stale != spelling:
        with pytest.raises(HubError, match="PreconditionFailed"):
            store.patch_twin(KEY, {"tags": {"c": 3}}, stale)
        assert store.twins[KEY].tags == {"b": 2}


@pytest.mark.parametrize("key", [("absent", ""), ("press-01", "absent"), ("absent", "$edgeAgent")])
def test_a_missing_twin(store: Store, key: tuple[str, str]) -> None:
    """A missing module's twin is a missing device to the hub."""
    with pytest.raises(HubError, match="DeviceNotFound"):
        store.patch_twin(key, {}, None)
