"""Field managers and server-side apply: each step's outcome is what kube-apiserver 1.36.2 answered to it."""

import copy
from typing import Any

import cases
import pytest

from edgeherd_sim.kube import fieldmanager, typeschema
from edgeherd_sim.kube.fieldmanager import ApplyConflict, ApplyError
from edgeherd_sim.kube.patches import merge_patch
from edgeherd_sim.kube.structural import StructuralSchema

Body = dict[str, Any]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0mLrC5mYyW3fZ0Xn5n1o0Jm5d3gk0xGm1l2c3d4e5"
SSH: Body = {"host": "10.0.4.17", "user": "edgeops", "credentialsSecretRef": {"name": "plant-a-ssh"}}
SMALLEST: Body = {"hubRef": {"name": "contoso"}, "ssh": SSH}
OWN_SSH: Body = {"f:credentialsSecretRef": {"f:name": {}}, "f:host": {}, "f:user": {}}
OWN: Body = {"f:hubRef": {"f:name": {}}, "f:ssh": OWN_SSH}
DEVICE_TYPE = typeschema.from_crd(cases.schema("EdgeDevice"))
DEVICE_SCHEMA = StructuralSchema(cases.schema("EdgeDevice"))
CREATED: Body = {
    "f:spec": {
        ".": {},
        "f:adoptionPolicy": {},
        "f:connectionSecret": {},
        "f:driftPolicy": {},
        "f:hubRef": {".": {}, "f:name": {}},
        "f:identity": {".": {}, "f:authentication": {}, "f:status": {}},
        "f:intervalSeconds": {},
        "f:runtime": {".": {}, "f:dialect": {}, "f:operatingSystem": {}},
        "f:ssh": {
            ".": {},
            "f:credentialsSecretRef": {".": {}, "f:name": {}},
            "f:host": {},
            "f:hostKeyPolicy": {},
            "f:port": {},
            "f:user": {},
        },
        "f:suspend": {},
    }
}


class World:
    """One object of one kind on a server that does nothing but keep it."""

    def __init__(self, api_version: str, kind: str) -> None:
        self._head = {"apiVersion": api_version, "kind": kind}
        self._custom = kind == "EdgeDevice"
        self._type = DEVICE_TYPE if self._custom else typeschema.schema_for(api_version, kind)
        self._clock = 0
        self.frozen = False
        self.live: Body | None = None

    def now(self) -> str:
        """Every request a second later than the one before, unless time is frozen."""
        self._clock += not self.frozen
        return f"2026-01-01T00:00:{self._clock:02}Z"

    def apply(self, manager: str, *, force: bool = False, subresource: str = "", **parts: Any) -> None:
        """Server-side apply."""
        new = fieldmanager.apply(
            self.live,
            self._head | {"metadata": {"name": "x"} | parts.pop("metadata", {})} | copy.deepcopy(parts),
            manager=manager,
            force=force,
            schema=self._type,
            now=self.now(),
            subresource=subresource,
        )
        self._keep(new, subresource)

    def create(self, manager: str, **parts: Any) -> None:
        """A plain create."""
        self._write(None, self._head | {"metadata": {"name": "x"}} | copy.deepcopy(parts), manager, "")

    def patch(self, manager: str, patch: Body, subresource: str = "") -> None:
        """A merge patch."""
        self._write(self.live, merge_patch(copy.deepcopy(self.live or {}), patch), manager, subresource)

    def _write(self, before: Body | None, after: Body, manager: str, subresource: str) -> None:
        if self._custom:
            DEVICE_SCHEMA.default(after)
        fieldmanager.track_update(
            before, after, manager=manager, schema=self._type, now=self.now(), subresource=subresource
        )
        self._keep(after, subresource)

    def _keep(self, new: Body, subresource: str) -> None:
        old = self.live or {}
        if self._custom:
            rest = new if subresource != "status" else old | {"metadata": new["metadata"]}
            status = new.get("status") if subresource == "status" else old.get("status")
            new = {key: value for key, value in rest.items() if key != "status"}
            new |= {"status": status} if status is not None else {}
            DEVICE_SCHEMA.default(new)
        self.live = new

    @property
    def stored(self) -> Body:
        """The object."""
        assert self.live is not None
        return self.live

    def owners(self) -> dict[str, Body]:
        """Who owns what: `manager` of an applier, `manager!` of an updater."""
        entries = self.stored["metadata"].get("managedFields", [])
        return {entry["manager"] + "!" * (entry["operation"] == "Update"): entry["fieldsV1"] for entry in entries}


@pytest.fixture
def device() -> World:
    """An EdgeDevice to come."""
    return World("edgeherd.io/v1alpha1", "EdgeDevice")


@pytest.fixture
def config() -> World:
    """A ConfigMap to come."""
    return World("v1", "ConfigMap")


def condition(kind: str, status: str = "True") -> Body:
    """A condition of a type."""
    time = "2026-01-01T00:00:00Z"
    return {"type": kind, "status": status, "reason": "R", "message": "m", "lastTransitionTime": time}


def own_conditions(*kinds: str) -> Body:
    """The fields of whole conditions."""
    names = ("lastTransitionTime", "message", "reason", "status", "type")
    return {f'k:{{"type":"{kind}"}}': {".": {}, **{f"f:{name}": {} for name in names}} for kind in kinds}


def conditions(world: World) -> list[str]:
    """The types of the stored conditions, in their order."""
    return [item["type"] for item in world.stored["status"].get("conditions", [])]


def test_who_creates_owns_the_defaults_too_but_not_the_status(device: World) -> None:
    """A create sets all that is stored; a status is not its business."""
    device.create("creator", spec=SMALLEST)
    assert device.owners() == {"creator!": CREATED}


def test_who_applies_owns_what_he_wrote_and_no_defaults(device: World) -> None:
    """Structures are not owned as such, only what is in them."""
    device.apply("git", spec=SMALLEST | {"suspend": True}, metadata={"labels": {"a": "b"}})
    assert device.owners() == {"git": {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": OWN | {"f:suspend": {}}}}


def test_an_entry_is_spelled_as_the_api_spells_it(device: World) -> None:
    """All that an entry says beside its fields."""
    device.apply("op", subresource="status", status={"observedGeneration": 1}, spec=SMALLEST)
    assert device.stored["metadata"]["managedFields"] == [
        {
            "manager": "op",
            "operation": "Apply",
            "apiVersion": "edgeherd.io/v1alpha1",
            "time": "2026-01-01T00:00:01Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:status": {"f:observedGeneration": {}}},
            "subresource": "status",
        }
    ]


def test_another_value_is_a_conflict(device: World) -> None:
    """The conflict names field and owner, and nothing is changed."""
    device.create("creator", spec=SMALLEST)
    before = copy.deepcopy(device.stored)
    with pytest.raises(ApplyConflict) as caught:
        device.apply("git", spec={"suspend": True})
    owner = 'conflict with "creator" using edgeherd.io/v1alpha1'
    assert str(caught.value) == f"Apply failed with 1 conflict: {owner}: .spec.suspend"
    assert [(cause.reason, cause.field, cause.message) for cause in caught.value.causes] == [
        ("FieldManagerConflict", ".spec.suspend", owner)
    ]
    assert device.stored == before


def test_several_conflicts_are_listed_by_owner(device: World) -> None:
    """One paragraph for each owner, one line for each field."""
    device.apply("a", spec=SMALLEST | {"suspend": True})
    device.apply("b", spec={"intervalSeconds": 60})
    with pytest.raises(ApplyConflict) as caught:
        device.apply("c", spec={"suspend": False, "intervalSeconds": 70, "ssh": {"host": "h"}})
    assert str(caught.value) == (
        'Apply failed with 3 conflicts: conflicts with "a":\n- .spec.suspend\n- .spec.ssh.host\n'
        'conflicts with "b":\n- .spec.intervalSeconds'
    )


def test_force_takes_fields_over(device: World) -> None:
    """The former owner keeps all else."""
    device.create("creator", spec=SMALLEST)
    device.apply("git", force=True, spec={"suspend": True})
    left = {key: value for key, value in CREATED["f:spec"].items() if key != "f:suspend"}
    assert device.owners() == {"git": {"f:spec": {"f:suspend": {}}}, "creator!": {"f:spec": left}}


def test_the_same_value_is_shared(device: World) -> None:
    """Two owners of one value; the field goes when the last of them has let go."""
    device.apply("git", spec=SMALLEST | {"deletionPolicy": "Retain"})
    device.apply("two", spec={"deletionPolicy": "Retain"})
    seen = [device.owners()]
    device.apply("git", spec=SMALLEST)
    seen.append({"stored": device.stored["spec"].get("deletionPolicy")})
    device.apply("two", spec={})
    assert [*seen, device.owners(), device.stored["spec"].get("deletionPolicy")] == [
        {"git": {"f:spec": OWN | {"f:deletionPolicy": {}}}, "two": {"f:spec": {"f:deletionPolicy": {}}}},
        {"stored": "Retain"},
        {"git": {"f:spec": OWN}, "two": {"f:spec": {}}},
        None,
    ]


def test_a_field_that_is_applied_no_longer_falls_back_to_its_default(device: World) -> None:
    """What nobody owns any more is removed, and then defaulted."""
    device.apply("git", spec=SMALLEST | {"intervalSeconds": 60})
    device.apply("git", spec=SMALLEST)
    assert (device.stored["spec"]["intervalSeconds"], device.owners()) == (900, {"git": {"f:spec": OWN}})


def test_who_applies_nothing_owns_nothing(device: World) -> None:
    """The entry disappears; the object does not."""
    device.create("creator", spec=SMALLEST)
    device.apply("git", force=True, spec={"suspend": False})
    device.apply("git")
    assert (set(device.owners()), "spec" in device.stored) == ({"creator!"}, True)


def test_items_of_a_set_have_owners(device: World) -> None:
    """A host key stays as long as somebody lists it."""
    device.apply("git", spec=SMALLEST | {"ssh": SSH | {"hostKeys": [f"{KEY}0", f"{KEY}1"]}})
    device.apply("b", spec={"ssh": {"hostKeys": [f"{KEY}2", f"{KEY}1"]}})
    merged = device.stored["spec"]["ssh"]["hostKeys"]
    device.apply("git", spec=SMALLEST)
    left = device.stored["spec"]["ssh"]["hostKeys"]
    device.apply("b", spec={})
    assert (merged, left, device.stored["spec"]["ssh"].get("hostKeys")) == (
        [f"{KEY}0", f"{KEY}2", f"{KEY}1"],
        [f"{KEY}2", f"{KEY}1"],
        None,
    )


def test_keys_of_a_map_have_owners(device: World) -> None:
    """Two managers write variables into one map; the map goes with the last one's."""

    def agent(**env: str) -> Body:
        return {"runtime": {"agent": {"image": "a", "env": env}}}

    device.apply("git", spec=SMALLEST | agent(A="1", B="2"))
    device.apply("b", spec=agent(C="3"))
    device.apply("git", spec=SMALLEST | agent(A="1"))
    seen = [device.stored["spec"]["runtime"]["agent"]["env"]]
    device.apply("git", spec=SMALLEST | {"runtime": {"agent": {"image": "a"}}})
    seen.append(device.stored["spec"]["runtime"]["agent"]["env"])
    device.apply("b", spec={"runtime": {"agent": {"image": "a"}}})
    assert [*seen, device.stored["spec"]["runtime"]["agent"]] == [{"A": "1", "C": "3"}, {"C": "3"}, {"image": "a"}]


def test_an_emptied_map_stays_with_its_owner(device: World) -> None:
    """Who wrote the map itself keeps it when the last key of others has gone."""
    device.create("t", spec=SMALLEST | {"runtime": {"agent": {"image": "i", "env": {}}}})
    device.apply("git", spec={"runtime": {"agent": {"env": {"B": "1"}}}})
    device.apply("git", spec={"suspend": False})
    assert device.stored["spec"]["runtime"]["agent"] == {"image": "i", "env": {}}


def test_two_managers_write_conditions_of_their_own(device: World) -> None:
    """Each condition has its owner; a foreign one with other words is a conflict."""
    device.create("t", spec=SMALLEST)
    first = {"observedGeneration": 1, "conditions": [condition("Ready"), condition("Paused", "False")]}
    device.apply("op", subresource="status", status=first)
    device.apply("x", subresource="status", status={"conditions": [condition("Extra")]})
    with pytest.raises(ApplyConflict) as caught:
        device.apply(
            "x", subresource="status", status={"conditions": [condition("Extra"), condition("Ready", "False")]}
        )
    assert str(caught.value) == (
        'Apply failed with 1 conflict: conflict with "op" with subresource "status": '
        '.status.conditions[type="Ready"].status'
    )
    assert (conditions(device), device.owners()) == (
        ["Ready", "Paused", "Extra"],
        {
            "op": {"f:status": {"f:conditions": own_conditions("Ready", "Paused"), "f:observedGeneration": {}}},
            "x": {"f:status": {"f:conditions": own_conditions("Extra")}},
            "t!": CREATED,
        },
    )


def test_a_status_that_is_not_applied_any_more_falls_back(device: World) -> None:
    """Conditions go with their owner, and `observedGeneration` back to its default."""
    device.create("t", spec=SMALLEST)
    device.apply("op", subresource="status", status={"observedGeneration": 2, "conditions": [condition("Ready")]})
    device.apply("op", subresource="status", status={"conditions": [condition("New")]})
    seen = (conditions(device), device.stored["status"]["observedGeneration"])
    device.apply("op", subresource="status", status={})
    assert (seen, device.stored["status"], device.owners()["op"]) == (
        (["New"], -1),
        {"observedGeneration": -1},
        {"f:status": {}},
    )


def test_conditions_keep_an_order_that_both_lists_allow(device: World) -> None:
    """The applied order wins; what others own stays where it was in between."""
    device.create("t", spec=SMALLEST)
    orders = []
    for manager, kinds in (("op", "ABC"), ("x", "DE"), ("op", "CFA"), ("x", "EGD")):
        device.apply(manager, subresource="status", status={"conditions": [condition(kind) for kind in kinds]})
        orders.append("".join(conditions(device)))
    assert orders == ["ABC", "ABCDE", "CDEFA", "CEFAGD"]


def test_the_spec_of_a_status_write_is_nobodys(device: World) -> None:
    """Fields that a subresource cannot change are not owned through it, nor the other way round."""
    device.apply("git", spec=SMALLEST, status={"observedGeneration": 9})
    device.apply("op", subresource="status", spec={"suspend": True}, status={"observedGeneration": 1})
    assert (device.owners(), device.stored["spec"]["suspend"], device.stored["status"]) == (
        {"git": {"f:spec": OWN}, "op": {"f:status": {"f:observedGeneration": {}}}},
        False,
        {"observedGeneration": 1},
    )


def test_updates_take_what_they_change(device: World) -> None:
    """Owners change with the values; what is removed has none."""
    device.create("t", spec=SMALLEST)
    device.patch("u", {"spec": {"suspend": True, "deletionPolicy": "Retain"}})
    device.patch("v", {"spec": {"deletionPolicy": None}, "metadata": {"finalizers": ["x/y", "x/z"]}})
    device.patch("w", {"metadata": {"finalizers": ["x/z"]}})
    left = {key: value for key, value in CREATED["f:spec"].items() if key != "f:suspend"}
    assert device.owners() == {
        "t!": {"f:spec": left},
        "u!": {"f:spec": {"f:suspend": {}}},
        "v!": {"f:metadata": {"f:finalizers": {".": {}, 'v:"x/z"': {}}}},
    }


def test_the_times_are_those_of_the_last_change(config: World) -> None:
    """An update without a change, and an apply of what is there, leave the times alone."""
    config.create("t", data={"x": "1"})
    config.patch("t", {"data": {"x": "1"}})
    config.apply("t", data={"x": "1"})
    entries = config.stored["metadata"]["managedFields"]
    assert [(entry["operation"], entry.get("time")) for entry in entries] == [
        ("Apply", None),
        ("Update", "2026-01-01T00:00:01Z"),
    ]


def test_what_was_there_before_managers_were_tracked_has_an_owner(config: World) -> None:
    """Clearing the entries stops the tracking; the next apply finds one owner of everything."""
    config.create("t", data={"x": "1"})
    config.patch("t", {"metadata": {"managedFields": [{}]}})
    untracked = config.owners()
    with pytest.raises(ApplyConflict, match=r'conflict with "before-first-apply" using v1: .data.x'):
        config.apply("a", data={"x": "2", "y": "1"})
    config.apply("a", data={"x": "1", "y": "1"})
    assert (untracked, config.owners()) == (
        {},
        {"a": {"f:data": {"f:x": {}, "f:y": {}}}, "before-first-apply!": {"f:data": {".": {}, "f:x": {}}}},
    )


def test_kubectl_may_go_on_from_client_side_apply(config: World) -> None:
    """What client-side apply wrote and nobody touched is no conflict for kubectl; its annotation is kept in step."""
    name = "kubectl.kubernetes.io/last-applied-configuration"
    last = '{"apiVersion":"v1","data":{"x":"1","y":"1"},"kind":"ConfigMap","metadata":{"annotations":{},"name":"x"}}\n'
    config.create("kubectl-client-side-apply", data={"x": "1", "y": "1"}, metadata={"annotations": {name: last}})
    config.apply("kubectl", data={"x": "2", "y": "1"})
    kept = config.stored["metadata"]["annotations"][name]
    config.patch("z", {"data": {"x": "9"}})
    with pytest.raises(ApplyConflict, match=r'conflict with "z" using v1: .data.x'):
        config.apply("kubectl", data={"x": "3"})
    assert kept == '{"apiVersion":"v1","data":{"x":"2","y":"1"},"kind":"ConfigMap","metadata":{"name":"x"}}\n'


def test_many_updaters_become_one(config: World) -> None:
    """Beyond ten, the oldest share an entry; of one second, the first by name."""
    config.frozen = True
    config.create("m0", data={"k0": "1"})
    for index in range(1, 13):
        config.patch(f"m{index}", {"data": {f"k{index}": "1"}})
    owners = config.owners()
    assert (sorted(owners), owners["ancient-changes!"]) == (
        sorted(["ancient-changes!", *(f"m{index}!" for index in (2, 3, 4, 5, 6, 7, 8, 9, 12))]),
        {"f:data": {".": {}, "f:k0": {}, "f:k1": {}, "f:k10": {}, "f:k11": {}}},
    )


def test_structures_of_built_in_kinds_are_there_before_they_are_written() -> None:
    """The creator of a Lease owns the fields of its spec, but not the spec."""
    lease = World("coordination.k8s.io/v1", "Lease")
    lease.create("t", spec={"holderIdentity": "a", "leaseDurationSeconds": 15})
    assert lease.owners() == {"t!": {"f:spec": {"f:holderIdentity": {}, "f:leaseDurationSeconds": {}}}}


def test_ports_are_told_apart_by_number_and_protocol() -> None:
    """A key with a default has it when it is left out."""
    deployment = World("apps/v1", "Deployment")
    container = {"name": "c", "ports": [{"containerPort": 80}], "args": ["1"]}
    deployment.apply("a", spec={"template": {"spec": {"containers": [container]}}})
    owned = deployment.owners()["a"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert owned == {
        'k:{"name":"c"}': {
            ".": {},
            "f:args": {},
            "f:name": {},
            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
        }
    }


TYPED = "failed to create typed patch object (/x; edgeherd.io/v1alpha1, Kind=EdgeDevice): "
ERRORS: list[tuple[str, Body, int, str]] = [
    ("an unknown field", {"spec": {"foo": 1}}, 500, f"{TYPED}.spec.foo: field not declared in schema"),
    ("a string for a bool", {"spec": {"suspend": "x"}}, 500, f"{TYPED}.spec.suspend: expected boolean, got &{{x}}"),
    ("a string for a structure", {"spec": {"ssh": "x"}}, 500, f"{TYPED}.spec.ssh: expected map, got &{{x}}"),
    (
        "a string for a list",
        {"status": {"conditions": "x"}},
        500,
        f"{TYPED}.status.conditions: expected list, got &{{x}}",
    ),
    (
        "a number for a string",
        {"spec": {"runtime": {"agent": {"env": {"A": 1}}}}},
        500,
        f"{TYPED}.spec.runtime.agent.env.A: expected string, got &value.valueUnstructured{{Value:1}}",
    ),
    (
        "a condition without its key",
        {"status": {"conditions": [{"status": "True"}]}},
        500,
        (
            f'{TYPED}.status.conditions: element 0: associative list with keys has an element that omits all key fields ["type"] '
            "(and doesn't have default values for any key fields)"
        ),
    ),
    (
        "a condition that is null",
        {"status": {"conditions": [None]}},
        500,
        f"{TYPED}.status.conditions: element 0: associative list with keys may not have a null element",
    ),
    (
        "a condition twice",
        {"status": {"conditions": [condition("A"), condition("A")]}},
        500,
        f'{TYPED}.status.conditions: duplicate entries for key [type="A"]',
    ),
    (
        "a host key twice",
        {"spec": {"ssh": {"hostKeys": [KEY, KEY]}}},
        500,
        f'{TYPED}.spec.ssh.hostKeys: duplicate entries for key [="{KEY}"]',
    ),
    ("managed fields", {"metadata": {"managedFields": []}}, 400, "metadata.managedFields must be nil"),
]


@pytest.mark.parametrize(("parts", "status", "message"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_what_is_no_object_of_its_kind_cannot_be_applied(device: World, parts: Body, status: int, message: str) -> None:
    """The real server answers most of these with 500, and so does this one."""
    with pytest.raises(ApplyError) as caught:
        device.apply("git", **copy.deepcopy(parts))
    assert (caught.value.status, caught.value.message) == (status, message)
