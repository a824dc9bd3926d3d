"""What is sent fits: the bounds are those of the CRDs, and any status becomes one that their schemas accept."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from edgeherd import fitting, resource
from edgeherd.fitting import Items, Number, Text
from edgeherd.model import (
    CheckReport,
    Condition,
    DeviceStatus,
    Finding,
    IdentityStatus,
    Origin,
    PlannedChange,
    Status,
)
from edgeherd_sim.kube.structural import StructuralSchema

CRDS = pathlib.Path(__file__).resolve().parents[1] / "crds"
Body = dict[str, Any]


def schema(kind: str) -> Body:
    """The schema of a kind."""
    loaded = YAML(typ="safe").load(CRDS / f"{kind.lower()}.yaml")
    found: Body = loaded["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def bounds(node: Mapping[str, Any], at: str = "") -> dict[str, Text | Number | Items]:
    """The bounds of a schema, by path."""
    match node["type"]:
        case "object":
            found: dict[str, Text | Number | Items] = {}
            for name, child in node["properties"].items():
                found |= bounds(child, f"{at}.{name}" if at else name)
            return found
        case "array":
            key = ".".join(node.get("x-kubernetes-list-map-keys", ()))
            assert node["x-kubernetes-list-type"] == ("map" if key else "set")
            return {at: Items(most=node["maxItems"], key=key), **bounds(node["items"], f"{at}[]")}
        case "integer":
            return {at: Number(least=node["minimum"], most=node["maximum"])}
        case _:
            return {
                at: Text(
                    most=node["maxLength"],
                    least=node.get("minLength", 0),
                    pattern=node.get("pattern", ""),
                    allowed=tuple(node.get("enum", ())),
                    format=node.get("format", ""),
                )
            }


def test_the_bounds_are_those_of_the_crds() -> None:
    """A field that is added, or a bound that is moved, is so in both places; both kinds have the same."""
    ours = {**fitting.TEXTS, **fitting.NUMBERS, **fitting.LISTS}
    device, hub = (bounds(schema(kind)["properties"]["status"]) for kind in ("EdgeDevice", "HubConnection"))
    assert ours == device
    assert hub == {at: bound for at, bound in ours.items() if at in hub}


# ---- any state

SHORT = st.text(max_size=8)
LONG = st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=1), st.sampled_from([70, 300, 1100]))
RIGHT = st.sampled_from(
    [
        *(
            "Ready",
            "Stalled",
            "example.net/Other",
            "True",
            "False",
            "Unknown",
            "2026-01-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
        ),
        *(
            "contoso.azure-devices.net",
            "press-01",
            "sha256:" + "0" * 64,
            "SHA256:" + "A" * 43,
            "Created",
            "Enabled",
            "Disabled",
        ),
        *(
            "ConfigYaml",
            "ConfigToml",
            "Passed",
            "Failed",
            "Add",
            "Change",
            "Remove",
            "None",
            "Daemon",
            "device:hostname",
        ),
        *("a\n", "a..b", "-", "Ready:", "\ud83d", "\U0001f600", "\x00"),
    ]
)
TEXTS = SHORT | LONG | RIGHT
NUMBERS = st.integers() | st.sampled_from([-1, 0, 1, 2**53])


def built(kind: type, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any value of a kind: texts, unless another strategy is given."""
    names = [field.name for field in dataclasses.fields(kind)]
    return st.builds(kind, **{name: fields.get(name, TEXTS) for name in names})


def several(items: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Few of them, some of them twice, or many."""
    few = st.lists(items, max_size=4).map(lambda found: tuple(found + found[:1]))
    return few | st.builds(lambda item, times: (item,) * times, items, st.sampled_from([20, 70]))


STATUSES: st.SearchStrategy[Status] = built(
    Status,
    observed_generation=NUMBERS,
    conditions=several(built(Condition, observed_generation=NUMBERS, message=TEXTS | st.just("m" * 32769))),
    identity=built(IdentityStatus, origin=st.none() | st.sampled_from(Origin)),
    device=built(DeviceStatus, applied_generation=st.none() | NUMBERS),
    plan=several(built(PlannedChange)),
    check=st.none() | built(CheckReport, errors=several(built(Finding)), warnings=several(TEXTS)),
)
SCHEMAS = {kind: StructuralSchema(schema(kind)) for kind in ("EdgeDevice", "HubConnection")}
SPECS: dict[str, Body] = {
    "EdgeDevice": {"hubRef": {"name": "c"}, "ssh": {"host": "h", "user": "u", "credentialsSecretRef": {"name": "s"}}},
    "HubConnection": {
        "hostName": "c",
        "auth": {"connectionStringSecretRef": {"name": "hub"}},
        "allowedNamespaces": {"from": "All"},
    },
}


def complaints(kind: str, status: Body) -> list[Any]:
    """What an API server would say to a status."""
    live: Body = {"apiVersion": "edgeherd.io/v1alpha1", "kind": kind, "metadata": {"name": "n"}, "spec": SPECS[kind]}
    SCHEMAS[kind].default(live)
    new = {**live, "status": status}
    return [*SCHEMAS[kind].prune(new), *SCHEMAS[kind].validate(new, live, "status")]


def test_a_status_that_does_not_fit_is_complained_of() -> None:
    """Or the test below would say nothing. The third complaint is that no rules were checked."""
    change = {"path": "p", "action": "Add", "restart": "None"}
    assert complaints("EdgeDevice", {"plan": [change]}) == []
    assert len(complaints("EdgeDevice", {"plan": [change, change], "lastHandledReconcileAt": "x" * 257})) == 3


@settings(max_examples=60, deadline=None)
@given(STATUSES)
def test_any_status_is_accepted(status: Status) -> None:
    """Whatever a pass comes to; and what was made to fit once stays as it is, so that no pass writes it again."""
    body = resource.status_body(status)
    assert complaints("EdgeDevice", body) == []
    fitted = fitting.fit(status)
    assert resource.status_body(fitted) == body
    assert fitting.fit(fitted) == fitted
    hub = {"conditions": body["conditions"], "observedGeneration": fitting.fit_generation(status.observed_generation)}
    assert complaints("HubConnection", hub) == []
    assert not any("\ud800" <= character <= "\udfff" for character in repr(body))


METADATA = {"namespace": "a", "name": "n", "uid": "u", "generation": 1, "resourceVersion": "1", "creationTimestamp": ""}


@settings(max_examples=60, deadline=None)
@given(STATUSES)
def test_a_fitted_status_is_read_as_it_was_written(status: Status) -> None:
    """So the next pass knows what this one knew, and sees no difference."""
    fitted = fitting.fit(status)
    body = {"metadata": METADATA, "spec": SPECS["EdgeDevice"], "status": resource.status_body(fitted)}
    assert resource.edge_device(body).status == fitted


@pytest.mark.parametrize("kept", [Status(), Status(conditions=(Condition(type="Ready", status="True", reason="R_1,a:b", message="m" * 32768, last_transition_time="2026-01-01T00:00:00.5+01:00"),), secret_name="a.b", plan=tuple(PlannedChange(path=f"p{number}", action="Add", restart="None") for number in range(64)))])  # fmt: skip
def test_what_fits_is_left_alone(kept: Status) -> None:
    """To the last character."""
    assert fitting.fit(kept) == kept


def change(path: str, after: str) -> PlannedChange:
    """One that is held back."""
    return PlannedChange(path=path, action="Add", restart="Daemon", after=after)


def test_two_changes_of_one_path_are_two() -> None:
    """Each can be read; a number tells them apart."""
    plan = (change("p", "1"), change("p", "2"), change("p (2)", "3"), change("q" * 600, "4"), change("q" * 600, "5"))
    long = "q" * 509 + "..."
    shown = {change.path: change.after for change in fitting.fit(Status(plan=plan)).plan}
    assert shown == {"p": "1", "p (2)": "2", "p (2) (2)": "3", long: "4", fitting.cut(long, 507) + " (2)": "5"}


# ---- annotations


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("x" * 256, "x" * 256),
        (
            "x" * 257,
            "x" * 184 + " sha256:" + "15eb95a462ee20bd91a415ae2d4aed341288186ddaa2b37908f7d592f0c3f85f",
        ),
    ],
)
def test_a_request_fits_the_status_that_answers_it(value: str, expected: str) -> None:
    """A long one is known again, and told from another."""
    assert fitting.request(value) == expected
    assert fitting.request(expected) == expected


# ---- Events


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x" * 1024, "x" * 1024),
        ("x" * 1025, "x" * 1021 + "..."),
        ("\u00e4" * 512, "\u00e4" * 512),
        ("\u00e4" * 513, "\u00e4" * 510 + "..."),
        ("\ud83d", "\ufffd"),
    ],
)
def test_the_message_of_an_event(text: str, expected: str) -> None:
    """Bytes count, and no character is cut in two."""
    assert fitting.event_message(text) == expected


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("press-01", "press-01."),
        ("x" * 60, "x" * 50 + "."),
        ("x" * 49 + "-y", "x" * 49 + "."),
        ("x" * 49 + ".y", "x" * 49 + "."),
        ("x" * 47 + "---y", "x" * 47 + "."),
    ],
)
def test_what_the_name_of_an_event_begins_with(name: str, prefix: str) -> None:
    """It is a DNS name, wherever the object's name is cut."""
    assert fitting.event_prefix(name) == prefix
