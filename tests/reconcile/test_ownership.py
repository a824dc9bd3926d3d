"""Whose an identity is: who comes first, what proves it, and what happens when somebody means harm or a reply is lost."""

import contextlib
import dataclasses
from typing import Any

import pytest
from memory_lab import HOST, ID, KEY, YAML_PATH, Lab, connection, edge_device, self_signed

from edgeherd.device.port import UnreachableError
from edgeherd.hub.port import BusyError, HubError, InvalidError, Owner, ThrottledError, UnavailableError
from edgeherd.model import SECRET_TYPE, IdentityStatus, Key, Origin, Priority
from edgeherd.reconcile.requeue import Requeue
from edgeherd_sim.memory import CrashError
from edgeherd_sim.memory.hub import identity_of

SECRET = ("plant-a", f"{ID}-connection")
OLDER = Key("EdgeDevice", "plant-b", "older")
FIRST, SECOND = "A" * 64, "B" * 64
X509 = {"authentication": "SelfSignedX509", "x509": {"primaryThumbprint": FIRST}}


def register(lab: Lab, **body: Any) -> None:
    """Somebody else registers the id."""
    lab.store.put_device(ID, {"capabilities": {"iotEdge": True}, **body}, None)


def adopting(**hub: Any) -> Lab:
    """The device asks for an identity that is there, and the administrator allows it."""
    lab = Lab(adoptionPolicy="IfExists")
    lab.cluster.put_hub(connection(adoption="Allowed", **hub))
    register(lab)
    return lab


def marked(lab: Lab) -> object:
    """The owner that the twin names."""
    return (lab.store.twin((ID, ""))[1].tags or {}).get("edgeherd")


def tag(lab: Lab, uid: str, name: str = "press-01") -> None:
    """Another cluster marked it."""
    owner = dataclasses.asdict(Owner(uid=uid, namespace="plant-x", name=name))
    lab.store.patch_twin((ID, ""), {"tags": {"edgeherd": owner}}, "*")


OURS = dataclasses.asdict(Owner(uid="u1", namespace="plant-a", name=ID))


# ---- who comes first


@pytest.mark.parametrize(
    ("changes", "hub", "blocks"),
    [
        pytest.param({}, {}, True, id="an older one that may use the hub"),
        pytest.param({"suspend": True}, {}, False, id="one that is suspended and never had it"),
        pytest.param({"hub_name": HOST}, {}, False, id="one whose hubRef is not there, but is called like the host"),
        pytest.param({"deleted_at": "2026-01-01T00:00:00Z", "finalizers": ("x",)}, {}, False, id="one that is going"),
        pytest.param(
            {},
            {"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}},
            False,
            id="one whose namespace may not use the hub",
        ),
        pytest.param(
            {}, {"deviceIdPattern": "press-*", "allowedNamespaces": {"from": "All"}}, True, id="one whose id is allowed"
        ),
        pytest.param({"suspend": True, "status": "has it"}, {}, True, id="one that is suspended and has it"),
    ],
)
async def test_only_who_may_have_it_blocks(changes: dict[str, Any], hub: dict[str, Any], blocks: bool) -> None:
    """Squatting is no claim. The message does not name another tenant's object."""
    lab = Lab()
    lab.cluster.put_namespace("plant-a", {"team": "a"})
    lab.cluster.put_namespace("plant-b", {"team": "b"})
    lab.cluster.put_hub(connection(**hub))
    if changes.get("status") == "has it":
        has = IdentityStatus(hub_host_name=HOST, device_id=ID, generation_id="g", origin=Origin.CREATED)
        changes = {**changes, "status": dataclasses.replace(lab.device.status, identity=has)}
    lab.another("older", older=True, **changes)
    await lab.reconcile()
    assert (lab.told["IdentityReady"] == "False IdentityConflict") is blocks
    if blocks:
        assert "plant-b" not in lab.condition("IdentityReady").message


async def test_one_of_the_same_namespace_is_named() -> None:
    """It is the team's own."""
    lab = Lab()
    lab.another("older", older=True, namespace="plant-a")
    await lab.reconcile()
    assert lab.condition("IdentityReady").message.startswith("EdgeDevice 'older' names the same device id")


async def test_who_has_it_keeps_it() -> None:
    """An older object that wakes up does not push aside the one that has the identity."""
    lab = Lab()
    lab.another("older", older=True, suspend=True)
    await lab.until_ready()
    lab.cluster.edit_device("plant-b", "older", suspend=False)
    await lab.reconcile()
    assert lab.told["Ready"] == "True Ready"


async def test_who_is_gone_blocks_nobody() -> None:
    """Its deletion may have fallen into a gap of the watch."""
    lab = Lab()
    lab.another("older", older=True)
    await lab.reconcile()
    assert lab.told["IdentityReady"] == "False IdentityConflict"
    del lab.cluster.devices["plant-b", "older"]
    await lab.until_ready()
    assert lab.index.older_claimants(lab.device) == ()


# ---- adoption takes keys over


async def test_before_an_adoption_the_api_server_is_asked() -> None:
    """The watch has shown nobody else yet; a younger one does not get an older one's keys."""
    lab = adopting()
    older = lab.another("older", older=True)
    lab.index.delete(older.key)
    await lab.reconcile()
    assert (lab.told["IdentityReady"], SECRET in lab.cluster.secrets) == ("False IdentityConflict", False)
    assert marked(lab) is None


async def test_one_that_has_the_identity_is_not_robbed() -> None:
    """Whatever its age, and though nothing but its status says so."""
    lab = adopting()
    has = IdentityStatus(hub_host_name=HOST, device_id=ID, generation_id="g", origin=Origin.ADOPTED)
    younger = lab.another("younger", older=False, status=dataclasses.replace(lab.device.status, identity=has))
    lab.index.delete(younger.key)
    await lab.reconcile()
    assert (lab.told["IdentityReady"], SECRET in lab.cluster.secrets) == ("False IdentityConflict", False)


async def test_an_adoption_marks_first() -> None:
    """The mark is there before a key is; so another cluster sees it, and it is this one's after a crash."""
    lab = adopting()
    await lab.reconcile()
    steps = lab.steps.taken
    assert steps.index("tag twin") < steps.index(f"create {ID}-connection")
    assert (marked(lab), lab.device.status.identity.origin, steps.count("tag twin")) == (OURS, Origin.ADOPTED, 1)


async def test_a_crash_after_the_mark_leaves_an_adopted_identity() -> None:
    """It is retained by default: it must not become one that we created."""
    lab = adopting()
    lab.steps.begin(5, CrashError(), after=True)
    with pytest.raises(CrashError):
        await lab.reconciler.reconcile(KEY)
    assert lab.steps.taken[-1] == "tag twin"
    lab.restart_operator()
    await lab.until_ready()
    assert lab.device.status.identity.origin is Origin.ADOPTED


async def test_what_another_cluster_has_is_not_adopted() -> None:
    """Its mark says so; the message says what to do if that cluster is gone."""
    lab = adopting()
    tag(lab, "uid-elsewhere")
    await lab.reconcile()
    assert lab.told["IdentityReady"] == "False IdentityConflict"
    assert "remove the tag" in lab.condition("IdentityReady").message
    lab.store.patch_twin((ID, ""), {"tags": {"edgeherd": None}}, "*")
    await lab.until_ready()


async def test_two_clusters_adopt_at_once() -> None:
    """The twin changed since it was read: the second one looks again, and sees the mark."""
    lab = adopting()
    mark = lab.hub.mark

    async def late(device_id: str, owner: Owner, *, etag: str) -> bool:
        tag(lab, "uid-elsewhere")
        return await mark(device_id, owner, etag=etag)

    lab.hub.mark = late  # type: ignore[method-assign]
    assert await lab.reconcile() == Requeue(1, Priority.CHANGE)
    assert (lab.told["IdentityReady"], SECRET in lab.cluster.secrets) == ("False HubChanging", False)


async def test_a_twin_that_cannot_be_read_now_is_no_permission() -> None:
    """Nothing is adopted while nobody can say whose it is."""
    lab = adopting()
    lab.steps.begin(4, UnavailableError("Timeout", ""))
    await lab.reconciler.reconcile(KEY)
    assert (lab.told["IdentityReady"], SECRET in lab.cluster.secrets) == ("Unknown HubUnavailable", False)


async def test_where_twins_are_not_allowed_an_adoption_goes_without_a_mark() -> None:
    """The credential may be for the registry alone."""
    lab = adopting()
    lab.hub.twins = False
    await lab.until_ready()
    assert (lab.device.status.identity.origin, marked(lab)) == (Origin.ADOPTED, None)


async def test_a_mark_that_was_removed_comes_back() -> None:
    """With one write; then nothing is written any more."""
    lab = Lab()
    await lab.until_ready()
    lab.store.patch_twin((ID, ""), {"tags": {"edgeherd": None, "line": 7}}, "*")
    await lab.reconcile()
    assert (lab.steps.taken, marked(lab)) == (["get twin", "tag twin", "connect h", "observe"], OURS)
    assert (lab.store.twin((ID, ""))[1].tags or {})["line"] == 7
    await lab.reconcile()
    assert lab.steps.taken == ["get twin", "connect h", "observe"]


# ---- what proves it


@pytest.mark.parametrize(
    ("rotated", "twins", "restarted", "follows"),
    [
        pytest.param("primaryKey", False, True, True, id="one key is still ours"),
        pytest.param("both", True, True, True, id="the mark says so"),
        pytest.param("both", False, True, False, id="nothing shows that it is ours"),
    ],
)
async def test_keys_that_were_changed_in_the_hub(rotated: str, twins: bool, restarted: bool, follows: bool) -> None:
    """The hub wins where it is certain whose the identity is; otherwise a human decides."""
    lab = Lab()
    lab.hub.twins = twins
    await lab.until_ready()
    lab.store.rotate((ID, ""), rotated)
    if restarted:
        lab.restart_operator()
    await lab.reconcile()
    found = identity_of(lab.store, ID)
    assert found is not None
    assert found.keys is not None
    stored = lab.cluster.secrets[SECRET].data["primaryKey"].decode()
    assert (stored == found.keys.primary) is follows
    assert (lab.told["IdentityReady"] == "False IdentityConflict") is not follows


@pytest.mark.parametrize(("restarted", "comes_back"), [(False, True), (True, False)])
async def test_a_secret_that_was_deleted(restarted: bool, comes_back: bool) -> None:
    """Without the right to see twins, only who saw the keys last can tell that they are ours."""
    lab = Lab()
    lab.hub.twins = False
    await lab.until_ready()
    lab.cluster.delete_secret(*SECRET)
    if restarted:
        lab.restart_operator()
    await lab.reconcile()
    assert (SECRET in lab.cluster.secrets) is comes_back


async def test_a_status_alone_proves_nothing() -> None:
    """Somebody who may write the status names another's generation: no key is handed out, nothing is deleted."""
    lab = Lab()
    register(lab)
    victim = identity_of(lab.store, ID)
    assert victim is not None
    forged = IdentityStatus(
        hub_host_name=HOST, device_id=ID, generation_id=victim.generation_id, etag=victim.etag, origin=Origin.CREATED
    )
    lab.edit(status=dataclasses.replace(lab.device.status, identity=forged))
    await lab.reconcile()
    assert (lab.told["IdentityReady"], SECRET in lab.cluster.secrets) == ("False IdentityConflict", False)
    lab.delete()
    assert await lab.reconcile() is None
    assert (identity_of(lab.store, ID), lab.events[-1]) == (victim, "IdentityNotReleased")


async def test_a_deletion_without_its_secret_goes_by_the_mark() -> None:
    """A namespace's Secrets are often gone before its EdgeDevices."""
    lab = Lab()
    await lab.until_ready()
    lab.cluster.delete_secret(*SECRET)
    lab.restart_operator()
    lab.delete()
    assert await lab.reconcile() is None
    assert lab.store.devices() == []


# ---- X.509


async def test_a_creation_whose_reply_is_lost_is_ours_all_the_same() -> None:
    """The log stays in the status until the identity is known; it is no conflict with oneself, and no orphan."""
    lab = Lab(identity=X509)
    lab.steps.begin(5, UnavailableError("ConnectionError", ""), after=True)
    await lab.reconciler.reconcile(KEY)
    assert (lab.steps.taken[4], lab.told["IdentityReady"]) == ("create identity", "Unknown HubUnavailable")
    assert lab.device.status.identity == IdentityStatus(hub_host_name=HOST, device_id=ID, origin=Origin.CREATED)
    lab.hub.twins = False
    await lab.until_ready()
    lab.delete()
    assert await lab.reconcile() is None
    assert lab.store.devices() == []


async def test_a_creation_whose_reply_is_lost_leaves_no_orphan() -> None:
    """The EdgeDevice goes before the next pass; there is no Secret yet, but there is the log."""
    lab = Lab(identity=X509)
    lab.hub.twins = False
    lab.steps.begin(5, UnavailableError("ConnectionError", ""), after=True)
    await lab.reconciler.reconcile(KEY)
    assert len(lab.store.devices()) == 1
    lab.delete()
    assert await lab.reconcile() is None
    assert lab.store.devices() == []


@pytest.mark.parametrize("twins", [True, False])
async def test_a_kill_between_log_and_creation_deletes_nobody_elses(twins: bool) -> None:
    """Somebody registers the id meanwhile, with other thumbprints."""
    lab = Lab(identity=X509)
    lab.hub.twins = twins
    lab.steps.begin(4, CrashError(), after=True)
    with pytest.raises(CrashError):
        await lab.reconciler.reconcile(KEY)
    assert lab.steps.taken[-1] == "status"
    theirs = {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": SECOND, "secondaryThumbprint": None}}
    register(lab, authentication=theirs)
    lab.restart_operator()
    lab.delete()
    assert await lab.reconcile() is None
    assert [device.device_id for device in lab.store.devices()] == [ID]


async def test_a_certificate_that_is_gone_does_not_hold_up_a_deletion() -> None:
    """The mark tells whose the identity is."""
    reference = {"certificateSecretRef": {"name": "cert"}}
    lab = Lab(identity={"authentication": "SelfSignedX509", "x509": reference})
    lab.cluster.put_secret("plant-a", "cert", self_signed(), type_="kubernetes.io/tls")
    await lab.until_ready()
    lab.cluster.delete_secret("plant-a", "cert")
    lab.delete()
    assert await lab.reconcile() is None
    assert lab.store.devices() == []


@pytest.mark.parametrize(
    "refusal", [BusyError("BudgetSpent", ""), InvalidError("ArgumentInvalid", ""), ThrottledError("Throttled", "")]
)
async def test_a_creation_that_was_refused_claims_nothing(refusal: HubError) -> None:
    """Nothing was created, so the log must not stay: thumbprints are known to anybody."""
    lab = Lab(identity=X509)
    lab.steps.begin(5, refusal)
    await lab.reconciler.reconcile(KEY)
    assert (lab.steps.taken[4], lab.device.status.identity) == ("create identity", IdentityStatus())
    other = {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": FIRST, "secondaryThumbprint": None}}
    register(lab, authentication=other)
    await lab.reconcile(after=60)
    assert lab.told["IdentityReady"] == "False IdentityConflict"


async def test_a_log_does_not_beat_the_mark_of_another() -> None:
    """The reply was lost, and nothing was created; somebody else registered the same certificate and marked it."""
    lab = Lab(identity=X509)
    lab.steps.begin(5, UnavailableError("ConnectionError", ""))
    await lab.reconciler.reconcile(KEY)
    theirs = {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": FIRST, "secondaryThumbprint": None}}
    register(lab, authentication=theirs)
    tag(lab, "uid-elsewhere")
    await lab.reconcile(after=60)
    assert (lab.told["IdentityReady"], marked(lab) == OURS) == ("False IdentityConflict", False)
    lab.delete()
    assert await lab.reconcile() is None
    assert len(lab.store.devices()) == 1


@pytest.mark.parametrize("identity", [{"authentication": "SelfSignedX509", "x509": {"primaryThumbprint": SECOND}}, {}])
async def test_another_certificate_is_no_conflict_with_oneself(identity: dict[str, Any]) -> None:
    """Also without the right to see twins: what the hub has is what our Secret has, or keys from now on."""
    lab = Lab(identity=X509)
    lab.hub.twins = False
    await lab.until_ready()
    lab.restart_operator()
    wanted = edge_device(identity=identity)
    lab.edit(x509=wanted.x509)
    await lab.until_ready()
    lab.restart_operator()
    lab.delete()
    assert await lab.reconcile() is None
    assert lab.store.devices() == []


# ---- copies, and crashes at the wrong moment


@pytest.mark.parametrize("twins", [True, False])
async def test_a_copy_of_the_secret_deletes_nothing(twins: bool) -> None:
    """A manifest was copied with its Secret to another namespace, and is removed again: the owner keeps the identity."""
    lab = Lab()
    lab.hub.twins = twins
    await lab.until_ready()
    copy = lab.another("copy", older=False, finalizers=("edgeherd.io/identity",))
    data = lab.cluster.secrets[SECRET].data
    lab.cluster.put_secret("plant-b", copy.secret_name, data, type_=SECRET_TYPE)
    lab.cluster.put_secret("plant-b", "ssh", {"password": b"pw"}, type_="kubernetes.io/basic-auth")
    lab.cluster.delete_device("plant-b", "copy")
    assert await lab.reconciler.reconcile(copy.key) is None
    assert (len(lab.store.devices()), lab.events[-1]) == (1, "IdentityNotReleased")


async def test_what_was_created_is_on_record_before_the_device_is_asked() -> None:
    """The rest of the pass fails, and the Secret goes before the EdgeDevice: the identity goes all the same."""
    lab = Lab()
    lab.network.error = UnreachableError("time-out")
    lab.steps.begin(10, CrashError())
    with pytest.raises(CrashError):
        await lab.reconciler.reconcile(KEY)
    lab.cluster.delete_secret(*SECRET)
    lab.restart_operator()
    lab.delete()
    assert await lab.reconcile() is None
    assert lab.store.devices() == []


@pytest.mark.parametrize("at", range(2, 8))
async def test_a_renewal_is_on_record_before_it_is_made(at: int) -> None:
    """The hub's other key was changed at the same time: whenever the operator is killed, one key is still the Secret's."""
    lab = Lab()
    lab.hub.twins = False
    await lab.until_ready()
    lab.store.rotate((ID, ""), "primaryKey")
    lab.edit(renew_key="Secondary")
    lab.steps.begin(at, CrashError(), after=True)
    with contextlib.suppress(CrashError):
        await lab.reconciler.reconcile(KEY)
    lab.steps.begin()
    lab.restart_operator()
    await lab.until_ready()
    found = identity_of(lab.store, ID)
    assert found is not None
    assert found.keys is not None
    assert lab.cluster.secrets[SECRET].data["primaryKey"].decode() == found.keys.primary


@pytest.mark.parametrize("deleted", [False, True])
async def test_keys_in_place_of_a_certificate_are_no_conflict_with_oneself(deleted: bool) -> None:
    """The operator is killed when the keys are on record and the hub has the thumbprint still; no twin may be read."""
    files = {"primaryThumbprint": "A" * 64, "certificatePath": "/etc/c.pem", "privateKeyPath": "/etc/k.pem"}
    lab = Lab(identity={"authentication": "SelfSignedX509", "x509": files})
    lab.hub.twins = False
    await lab.until_ready()
    lab.edit(x509=None)
    lab.steps.begin(3, CrashError(), after=True)
    with pytest.raises(CrashError):
        await lab.reconciler.reconcile(KEY)
    assert lab.steps.taken[-1] == "update press-01-connection"
    lab.steps.begin()
    lab.restart_operator()
    if deleted:
        lab.delete()
        assert (await lab.reconcile(), lab.store.devices()) == (None, [])
        return
    await lab.until_ready()
    assert "SecretRestored" not in lab.events
    assert not {"primaryThumbprint", "secondaryThumbprint"} & set(lab.cluster.secrets[SECRET].data)


async def test_what_is_remembered_is_not_a_namesakes() -> None:
    """The object was deleted and made anew between two passes, and nothing proves the identity to be the new one's."""
    lab = Lab()
    lab.hub.twins = False
    await lab.until_ready()
    lab.cluster.delete_secret(*SECRET)
    del lab.cluster.devices["plant-a", ID]
    lab.cluster.put_device(edge_device(uid="u2"))
    await lab.reconcile()
    assert (lab.told["IdentityReady"], SECRET in lab.cluster.secrets) == ("False IdentityConflict", False)


# ---- a HubConnection that is made anew for another hub


async def test_a_hub_connection_for_another_hub_moves_nothing() -> None:
    """No identity is made there, and none is believed to be gone; the message says what to do."""
    lab = Lab()
    await lab.until_ready()
    other = connection(hostName="fabrikam.azure-devices.net")
    lab.cluster.put_hub(other)
    key = "HostName=fabrikam.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0"
    lab.cluster.put_secret("edgeherd-system", "hub", {"connectionString": key.encode()})
    await lab.reconcile()
    assert (lab.told["IdentityReady"], lab.told["Stalled"]) == ("False HubChanged", "True HubChanged")
    assert not {"get identity", "create identity", "connect h"} & set(lab.steps.taken)
    lab.delete()
    assert await lab.reconcile() == Requeue(60, Priority.DELETE)
    assert (lab.told["Deleting"], len(lab.store.devices())) == ("True HubChanged", 1)
    lab.edit(deletion_policy="Retain")
    assert await lab.reconcile() is None


async def test_a_twin_that_cannot_be_read_is_not_written_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub throttles reads of twins: a fleet at rest must not answer that with a write each. The mark comes with the first look."""
    lab = Lab()
    await lab.until_ready()
    lab.store.patch_twin((ID, ""), {"tags": {"edgeherd": None}}, "*")

    async def throttled(_: str) -> None:
        raise ThrottledError("ThrottlingException", "")

    with monkeypatch.context() as patch:
        patch.setattr(lab.hub, "twin", throttled)
        await lab.reconcile(after=300)
        assert lab.steps.taken == ["get identity", "connect h", "observe"]
    await lab.reconcile(after=300)
    assert "tag twin" in lab.steps.taken


async def test_the_key_that_the_device_still_has_is_not_renewed() -> None:
    """Another key is in use and a new one was asked for at once, and SSH is down: the device must keep its connection to the hub."""
    lab = Lab()
    await lab.until_ready()
    before = identity_of(lab.store, ID)
    assert before is not None
    assert before.keys is not None
    lab.edit(key_in_use="Secondary", renew_key="Primary")
    lab.network.error = UnreachableError("time-out")
    await lab.reconcile(after=60)
    assert before.keys.primary.encode() in lab.memory.files[YAML_PATH]
    assert (identity_of(lab.store, ID), lab.device.renew_key) == (before, "Primary")
    lab.network.error = None
    await lab.until_ready()
    await lab.reconcile(after=1)
    after = identity_of(lab.store, ID)
    assert after is not None
    assert after.keys is not None
    assert (after.keys.primary != before.keys.primary, after.keys.secondary) == (True, before.keys.secondary)
    assert before.keys.secondary.encode() in lab.memory.files[YAML_PATH]
    assert lab.device.renew_key == ""
