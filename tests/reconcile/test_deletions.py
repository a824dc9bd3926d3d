"""What happens when things are deleted: what holds what, what is told, and what is found again when something got lost."""

import contextlib
import dataclasses
from typing import Any

import pytest
from memory_lab import ID, KEY, NAMESPACE, SSH, YAML_PATH, Lab, connection, self_signed

from edgeherd.cluster.errors import ApiError, ConflictError, ForbiddenError
from edgeherd.device.port import Limits, Result, UnreachableError
from edgeherd.hub.port import UnavailableError
from edgeherd.model import FINALIZER, SECRET_TYPE, EdgeDevice, Key, Priority, Status
from edgeherd.reconcile.requeue import Requeue
from edgeherd_sim.memory import CrashError

HUB_IS_GOING = {"deleted_at": "2026-01-01T00:00:00Z", "finalizers": ("edgeherd.io/in-use",)}


# ---- a HubConnection that is being deleted


async def test_a_new_device_does_not_enter_a_hub_that_is_being_deleted() -> None:
    """It says what to do, holds nothing, goes at once when it is deleted, and is not asked about in the hub."""
    lab = Lab()
    lab.cluster.edit_hub("contoso", **HUB_IS_GOING)
    assert await lab.reconcile() == Requeue(60, Priority.DRIFT)
    assert (lab.steps.taken, lab.told["IdentityReady"]) == (["status", "status"], "Unknown HubDeleting")
    assert lab.condition("Ready").message == (
        "HubConnection 'contoso' is being deleted, so it takes no new EdgeDevice. Delete this one, or wait: it goes on when the "
        "HubConnection has been created anew."
    )
    assert (lab.device.finalizers, lab.device.uses_hub) == ((), False)
    lab.cluster.edit_hub("contoso", finalizers=())
    lab.cluster.put_hub(connection())
    await lab.until_ready()


async def test_one_that_is_in_stays_in() -> None:
    """It is looked after as ever, and so is its own deletion."""
    lab = Lab()
    await lab.until_ready()
    lab.cluster.edit_hub("contoso", **HUB_IS_GOING)
    await lab.reconcile()
    assert (lab.steps.taken, lab.told["Ready"]) == (["get twin", "connect h", "observe"], "True Ready")
    lab.delete()
    await lab.reconcile()
    assert (lab.cluster.devices, lab.store.devices()) == ({}, [])


async def test_of_a_deletion_and_an_entry_at_the_same_time_one_sees_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The HubConnection was marked while the device was let in: nothing is created, and the next pass lets go."""
    lab = Lab()
    add = lab.cluster.add_finalizer

    async def meanwhile(device: EdgeDevice) -> EdgeDevice:
        lab.cluster.edit_hub("contoso", **HUB_IS_GOING)
        return await add(device)

    monkeypatch.setattr(lab.cluster, "add_finalizer", meanwhile)
    await lab.reconcile()
    assert lab.steps.taken == ["status", "add finalizer", "remove finalizer", "status"]
    assert (lab.told["Ready"], lab.device.uses_hub, lab.store.devices()) == ("False HubDeleting", False, [])


@pytest.mark.parametrize(
    ("hub", "stays"),
    [
        pytest.param({"device_id_pattern": "other-*"}, False, id="the rules do not allow it any more"),
        pytest.param(HUB_IS_GOING, False, id="the HubConnection is being deleted"),
        pytest.param({}, True, id="it may use the hub"),
    ],
)
async def test_the_finalizer_of_one_that_has_nothing_in_the_hub(hub: dict[str, Any], stays: bool) -> None:
    """A crash came between the finalizer and the creation; who may not go on lets the HubConnection go."""
    lab = Lab()
    lab.edit(finalizers=(FINALIZER,))
    lab.cluster.edit_hub("contoso", **hub)
    await lab.reconcile()
    assert (FINALIZER in lab.device.finalizers) is stays


async def test_a_claimant_in_a_hub_that_is_being_deleted_blocks_nobody() -> None:
    """It cannot have the identity any more."""
    lab = Lab()
    lab.cluster.put_hub(dataclasses.replace(connection(), name="old", uid="h0", **HUB_IS_GOING))
    lab.index.update_hub(lab.cluster.hubs["old"])
    lab.another("older", older=True, hub_name="old")
    await lab.until_ready()


# ---- a deletion that is blocked

FORCE = " To leave the hub as it is, annotate the object with edgeherd.io/force-delete=u1."
NO_HUB = "There is no HubConnection 'contoso'. Ask the platform's administrator, or fix spec.hubRef."


async def test_a_blocked_deletion_is_not_ready() -> None:
    """Ready has the reason of what blocks, and an Event says it once; what the steps said stays, of the generation before."""
    lab = Lab()
    await lab.until_ready()
    del lab.cluster.hubs["contoso"]
    lab.delete()
    assert await lab.reconcile(after=1) == Requeue(60, Priority.DELETE)
    assert lab.told == {
        "Ready": "False HubNotFound",
        "Stalled": "True HubNotFound",
        "Deleting": "True HubNotFound",
        "IdentityReady": "True Registered",
        "SecretReady": "True SecretStored",
        "Reachable": "True Connected",
        "ConfigApplied": "True Applied",
        "DaemonHealthy": "True Running",
        "RuntimeSupported": "False EndOfSupport",
        "Paused": "False NotSuspended",
    }
    assert {lab.condition(type_).message for type_ in ("Ready", "Stalled", "Deleting")} == {NO_HUB + FORCE}
    assert (lab.condition("Ready").observed_generation, lab.condition("IdentityReady").observed_generation) == (2, 1)
    assert (lab.events[-1], lab.cluster.events[-1].message) == ("DeletionBlocked", NO_HUB)
    await lab.reconcile(after=60)
    assert (lab.steps.taken, lab.events.count("DeletionBlocked")) == ([], 1)
    lab.edit(suspend=True)
    lab.cluster.put_hub(connection())
    await lab.reconcile(after=60)
    assert (lab.told["Ready"], lab.told["Deleting"], "Stalled" in lab.told) == ("False Paused", "True Paused", False)
    assert lab.events.count("DeletionBlocked") == 2
    lab.edit(suspend=False)
    assert (await lab.reconcile(after=60), lab.cluster.devices) == (None, {})


UNUSABLE = "The device h still has its configuration: its login, its path or its file cannot be used"
HUB_IS_AWAY = UnavailableError("Timeout", "")


@pytest.mark.parametrize("between", ["nothing", "the operator was restarted", "the status could not be written"])
async def test_what_was_cleaned_is_not_cleaned_again(between: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is asked until it answers; the device was done with the first time."""
    lab = Lab()
    await lab.until_ready()
    lab.delete()
    if between == "the status could not be written":
        monkeypatch.setattr(lab.cluster, "put_status", _refuse)
    lab.steps.begin(5, HUB_IS_AWAY)
    await lab.reconciler.reconcile(KEY)
    assert lab.steps.taken[:5] == ["get twin", "connect h", "observe", "retire", "get identity"]
    if between == "the operator was restarted":
        lab.restart_operator()
    if between != "the status could not be written":
        assert (lab.told["ConfigApplied"], lab.told["Ready"]) == ("False ConfigurationRemoved", "False HubUnavailable")
    lab.put_ssh_secret()
    lab.network.error = UnreachableError("time-out")
    await lab.reconcile(after=15)
    assert lab.steps.taken == [
        "get identity",
        "get twin",
        "delete identity",
        "event IdentityReleased",
        "remove finalizer",
    ]
    assert "DeviceCleanupSkipped" not in lab.events


@pytest.mark.parametrize("restart", [False, True])
async def test_what_was_given_up_is_told_once(restart: bool, caplog: pytest.LogCaptureFixture) -> None:
    """In an Event, in the log, in a count, and on the condition for as long as the object is there."""
    heard: list[tuple[Key, str]] = []
    lab = Lab()
    await lab.until_ready()
    lab.listen(lambda key, reason: heard.append((key, reason)))
    lab.network.error = UnreachableError("time-out")
    lab.delete()
    lab.time.wait(60)
    lab.steps.begin(4, HUB_IS_AWAY)
    await lab.reconciler.reconcile(KEY)
    assert heard == [(KEY, "DeviceCleanupSkipped"), (KEY, "DeletionBlocked")]
    if restart:
        lab.restart_operator()
    lab.steps.begin(1, HUB_IS_AWAY)
    await lab.reconciler.reconcile(KEY)
    assert (lab.steps.taken, lab.told["ConfigApplied"]) == (["get identity"], "False DeviceCleanupSkipped")
    text = "The device h still has its configuration: it cannot be reached. Its identity is deleted all the same."
    assert lab.condition("ConfigApplied").message == text
    assert caplog.messages.count(text) == 1
    assert await lab.reconcile(after=15) is None
    assert lab.events.count("DeviceCleanupSkipped") == 1


async def test_what_was_given_up_is_told_though_the_status_gets_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is through and is not looked at again, so there is no other pass to tell it."""
    lab = Lab()
    await lab.until_ready()
    lab.network.error = UnreachableError("time-out")
    lab.delete()
    lab.time.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(lab.cluster, "put_status", _away)
        with pytest.raises(ApiError, match="no answer"):
            await lab.reconcile()
    assert await lab.reconcile(after=15) is None
    assert (lab.events.count("DeviceCleanupSkipped"), lab.store.devices()) == (1, [])


async def _away(*_: object) -> None:
    raise ApiError(0, "no answer")


async def test_a_file_that_was_not_written_is_left() -> None:
    """It still has the connection string, whatever the reason."""
    lab = Lab()
    await lab.until_ready()
    lab.memory.answers = [Result.READ_ONLY]
    lab.delete()
    assert await lab.reconcile() is None
    told = [event.message for event in lab.cluster.events if event.reason == "DeviceCleanupSkipped"]
    assert told == [f"{UNUSABLE} (ConfigUnwritable). Its identity is deleted all the same."]


# ---- a namespace that is deleted


JUMP = {**SSH, "jumpHost": {**SSH, "host": "hop"}}
FIRST_USE = {"host": "h", "user": "u", "hostKeyPolicy": "TrustOnFirstUse", "credentialsSecretRef": {"name": "ssh"}}


@pytest.mark.parametrize("twins", [True, False], ids=["with a mark in the twin", "without"])
@pytest.mark.parametrize("ssh", [SSH, JUMP, FIRST_USE], ids=["a pinned key", "a jump host", "a key of first use"])
async def test_a_namespace_that_is_deleted_loses_its_secrets_first(ssh: dict[str, Any], twins: bool) -> None:
    """What worked the last time is known: identity and configuration go, and the host key is no other than it was."""
    lab = Lab(ssh=ssh)
    lab.network.keys = {"h": "ssh-ed25519 A"}
    lab.hub.twins = twins
    await lab.until_ready()
    before = lab.network.logins[-1]
    lab.cluster.put_hub(connection(allowedCIDRs=["10.0.0.0/8"]))
    lab.cluster.delete_namespace("plant-a")
    assert await lab.reconcile() is None
    assert (lab.cluster.devices, lab.cluster.secrets.keys(), lab.store.devices()) == ({}, {(NAMESPACE, "hub")}, [])
    assert b"SharedAccessKey=" not in lab.memory.files[YAML_PATH]
    limits = Limits(networks=("10.0.0.0/8",))
    jump = before.jump and dataclasses.replace(before.jump, limits=limits)
    assert lab.network.logins[-1] == dataclasses.replace(before, limits=limits, jump=jump)


@pytest.mark.parametrize("twins", [True, False], ids=["with a mark in the twin", "without"])
async def test_what_nobody_remembers_is_named(twins: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The operator was restarted in between: what it leaves behind is in the log, as no Event is taken there any more."""
    lab = Lab()
    lab.hub.twins = twins
    await lab.until_ready()
    lab.restart_operator()
    lab.cluster.delete_namespace("plant-a")
    seen = []
    put = lab.cluster.put_status

    async def watched(device: EdgeDevice, status: Status) -> EdgeDevice:
        seen.append({c.type: f"{c.status} {c.reason}" for c in status.conditions})
        return await put(device, status)

    lab.cluster.put_status = watched  # type: ignore[method-assign]
    assert await lab.reconcile() is None
    left = [
        f"DeviceCleanupSkipped: {UNUSABLE} (SshSecretNotFound). Its identity is deleted all the same.",
        (
            f"IdentityNotReleased: The hub's device '{ID}' was left alone: neither its keys nor its twin's tag show that it is this "
            "EdgeDevice's. Delete it in the hub if nobody needs it."
        ),
    ][: 1 if twins else 2]
    told = [(record.reason, record.message) for record in caplog.records if record.levelname == "WARNING"]  # type: ignore[attr-defined]
    reasons, texts = zip(*(text.split(": ", 1) for text in left), strict=True)
    assert [message for reason, message in told if not message.startswith("the API server refuses the Event")] == [
        *texts
    ]
    assert [reason for reason, message in told if message.startswith("the API server refuses the Event")][
        : len(left)
    ] == [*reasons]
    assert [(said["Ready"], said["Deleting"]) for said in seen] == [(f"False {r}", f"True {r}") for r in reasons]
    assert (seen[-1]["ConfigApplied"], seen[-1]["IdentityReady"]) == (
        "False DeviceCleanupSkipped",
        "True Registered" if twins else "False IdentityNotReleased",
    )
    assert (lab.cluster.devices, len(lab.store.devices())) == ({}, 0 if twins else 1)


@pytest.mark.parametrize("changes", ["another host", "another object", "forgotten"])
async def test_a_login_is_remembered_for_the_host_and_the_object_it_was_for(changes: str) -> None:
    """Whoever edits the spec before must not have somebody else's Secret sent elsewhere."""
    lab = Lab()
    await lab.until_ready()
    if changes == "another host":
        lab.edit(ssh=dataclasses.replace(lab.device.ssh, host="elsewhere"))
    if changes == "another object":
        lab.edit(uid="u2")
    if changes == "forgotten":
        lab.dependencies.ssh.forget(KEY)
    lab.cluster.delete_namespace("plant-a")
    before = len(lab.network.logins)
    await lab.reconcile()
    assert len(lab.network.logins) == before


async def test_a_certificates_identity_goes_too() -> None:
    """The Secret with the certificate is gone, and no twin may be read: its thumbprint was seen by this operator."""
    lab = Lab(identity={"authentication": "SelfSignedX509", "x509": {"certificateSecretRef": {"name": "tls"}}})
    lab.hub.twins = False
    lab.cluster.put_secret("plant-a", "tls", self_signed(), type_="kubernetes.io/tls")
    await lab.until_ready()
    lab.cluster.delete_namespace("plant-a")
    assert await lab.reconcile() is None
    assert (lab.cluster.devices, lab.store.devices()) == ({}, [])


# ---- an identity is never orphaned


async def test_a_secret_that_cannot_be_taken_over_stops_the_creation() -> None:
    """It was left without an owner; that it may not be had is known before there is an identity."""
    lab = Lab()
    keys = {"primaryKey": b"QUFB" * 16, "secondaryKey": b"QkJC" * 16}
    lab.cluster.put_secret("plant-a", f"{ID}-connection", keys, type_=SECRET_TYPE)
    lab.steps.begin(
        4, ForbiddenError(403, "secrets is forbidden: cannot set an ownerRef on a resource you can't delete")
    )
    await lab.reconciler.reconcile(KEY)
    assert lab.steps.taken[2:4] == ["get identity", f"update {ID}-connection"]
    assert (lab.told["SecretReady"], lab.store.devices()) == ("False KubernetesRefused", [])
    await lab.until_ready()
    secret = lab.cluster.secrets["plant-a", f"{ID}-connection"]
    assert (secret.owner_uids, secret.data["primaryKey"]) == (("u1",), keys["primaryKey"])


FAILURES = (
    ForbiddenError(403, "no"),
    ApiError(0, "The API server did not answer."),
    HUB_IS_AWAY,
    UnreachableError("time-out"),
    CrashError(),
)
FIRST_PASS = 15
"""So many side effects has a first pass: see `test_from_nothing_to_ready` in test_device.py."""


@pytest.mark.parametrize("after", [False, True], ids=["before it is done", "after"])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("secrets", ["there", "gone"])
@pytest.mark.parametrize("at", range(1, FIRST_PASS + 1))
async def test_whatever_fails_in_the_first_pass_a_deletion_leaves_nothing(
    at: int, secrets: str, failure: BaseException, after: bool
) -> None:
    """Nor does the deletion wait for ever. Where all Secrets are gone too, the mark in the twin proves whose it is."""
    lab = Lab()
    lab.steps.begin(at, failure, after=after)
    with contextlib.suppress(CrashError, ApiError):
        await lab.reconciler.reconcile(KEY)
    is_marked = "tag twin" in lab.steps.taken[: at - (not after)]
    lab.restart_operator()
    if secrets == "gone":
        lab.cluster.delete_namespace("plant-a")
    else:
        lab.delete()
    for _ in range(3):
        with contextlib.suppress(ConflictError):
            await lab.reconcile(after=60)
    left = [device.device_id for device in lab.store.devices()]
    assert (lab.cluster.devices, left) == ({}, [] if secrets == "there" or is_marked else left)


async def _refuse(*_: Any) -> Any:
    raise ForbiddenError(403, "edgedevices/status is forbidden")


async def test_a_device_that_another_cluster_has_taken_over_is_left_as_it_is() -> None:
    """EdgeDevice and Secret were restored in a new cluster, and the old one is cleaned up: no line must stop for it."""
    lab = Lab()
    await lab.until_ready()
    lab.store.patch_twin((ID, ""), {"tags": {"edgeherd": {"uid": "u9", "namespace": "plant-a", "name": ID}}}, "*")
    before, changes = dict(lab.memory.files), len(lab.memory.changes)
    lab.delete()
    lab.steps.begin(1, HUB_IS_AWAY)
    assert await lab.reconciler.reconcile(KEY) == Requeue(15, Priority.DELETE)
    assert (lab.steps.taken[0], lab.told["Deleting"]) == ("get twin", "True HubUnavailable")
    assert await lab.reconcile(after=15) is None
    assert (lab.memory.files, len(lab.memory.changes), len(lab.store.devices())) == (before, changes, 1)
    assert "connect h" not in lab.steps.taken
    told = [event.message for event in lab.cluster.events if event.reason == "DeviceCleanupSkipped"]
    assert told == [
        "The device h is left as it is: its identity belongs to another EdgeDevice now, as the twin's tag 'edgeherd' says."
    ]


async def test_a_device_that_was_moved_to_another_hub_is_left_as_it_is() -> None:
    """It is provisioned under the same id, and not by us."""
    lab = Lab()
    await lab.until_ready()
    lab.memory.files[YAML_PATH] = lab.memory.files[YAML_PATH].replace(b"contoso.azure", b"fabrikam.azure")
    before = dict(lab.memory.files)
    lab.delete()
    assert (await lab.reconcile(), lab.memory.files, lab.store.devices()) == (None, before, [])
