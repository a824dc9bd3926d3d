"""Whole passes over an EdgeDevice: the order of the steps, what shows where, and how long something may last."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from memory_lab import HOST, ID, KEY, NAMESPACE, YAML_PATH, Lab, connection, edge_device

from edgeherd.cluster.errors import ApiError
from edgeherd.device.port import JumpHostError, LoginRefusedError, OddAnswerError, SudoRefusedError, UnreachableError
from edgeherd.hub.port import RefusedError, ThrottledError, Twin, UnavailableError
from edgeherd.model import FINALIZER, SECRET_TYPE, IdentityStatus, Origin, Priority, Status
from edgeherd.reconcile import requeue
from edgeherd.reconcile.device import CONDITIONS, STEPS
from edgeherd.reconcile.requeue import Requeue
from edgeherd.reconcile.step import Context, Done, Step, TooEarlyError
from edgeherd.reconcile.steps.configuration import ConfigurationStep
from edgeherd.reconcile.steps.connection import ConnectionStep
from edgeherd.reconcile.steps.health import HealthStep
from edgeherd.reconcile.steps.identity import IdentityStep
from edgeherd.reconcile.steps.secret import SecretStep
from edgeherd_sim.memory import CrashError, MemoryDevice

PENDING = "Unknown Pending"
ALL_TRUE = {
    "Ready": "True Ready",
    "IdentityReady": "True Registered",
    "SecretReady": "True SecretStored",
    "Reachable": "True Connected",
    "ConfigApplied": "True Applied",
    "DaemonHealthy": "True Running",
    "Paused": "False NotSuspended",
    "RuntimeSupported": "False EndOfSupport",  # 1.1, a year later
}


# ---- the list


def test_the_steps_in_their_order() -> None:
    """Each hands on what the next ones need, so there is one order."""
    assert (IdentityStep, SecretStep, ConnectionStep, ConfigurationStep, HealthStep) == STEPS
    assert CONDITIONS == ("IdentityReady", "SecretReady", "Reachable", "ConfigApplied", "DaemonHealthy")


@pytest.mark.parametrize("step", STEPS[1:])
async def test_a_step_that_comes_too_early_says_so(step: type[Step]) -> None:
    """What no step has handed on is a bug, not an empty value."""
    with pytest.raises(TooEarlyError):
        await step(Lab().dependencies).reconcile(Context(edge_device()))


async def test_from_nothing_to_ready() -> None:
    """Keys are in the cluster before the identity is in the hub; one write with one restart; then only looks."""
    lab = Lab()
    lab.network.keys = {}
    assert await lab.reconcile() == Requeue(1.0, Priority.CHANGE)
    assert lab.steps.taken == [
        "status",
        "add finalizer",
        "get identity",
        f"create {ID}-connection",
        "status",
        "create identity",
        "tag twin",
        "status",
        f"update {ID}-connection",
        "connect h",
        "observe",
        "restart",
        "event IdentityCreated",
        "event ConfigApplied",
        "status",
    ]
    assert lab.told == {
        **ALL_TRUE,
        "Ready": "False DaemonRestarted",
        "Reconciling": "True ProgressingWithRetry",
        "DaemonHealthy": "False DaemonRestarted",
    }
    await lab.reconcile(after=1)
    assert (lab.steps.taken, lab.told) == (["get twin", "connect h", "observe", "status", "event Ready"], ALL_TRUE)
    due = await lab.reconcile(after=900)
    assert due is not None
    assert (lab.steps.taken, due.priority) == (["get twin", "connect h", "observe"], Priority.DRIFT)
    assert 0.9 * 900 <= due.after <= 1.1 * 900


async def test_a_pass_reads_the_connection_secret_once() -> None:
    """What the first step read is handed on, and so is what it wrote."""
    lab = Lab()
    read: list[str] = []
    secret = lab.cluster.secret

    async def counted(namespace: str, name: str) -> Any:
        read.append(name)
        return await secret(namespace, name)

    lab.cluster.secret = counted  # type: ignore[method-assign]
    for _ in range(3):
        read.clear()
        await lab.reconcile(after=1)
        assert read.count(f"{ID}-connection") == 1


# ---- where a trouble shows


def _foreign_secret(lab: Lab) -> None:
    lab.cluster.put_secret("plant-a", f"{ID}-connection", {}, type_="Opaque")


def _no_ssh_secret(lab: Lab) -> None:
    lab.cluster.delete_secret("plant-a", "ssh")


def _no_hub(lab: Lab) -> None:
    lab.cluster.delete_hub("contoso")


def _refuses(error: Exception, what: str) -> Callable[[Lab], None]:
    def prepare(lab: Lab) -> None:
        lab.steps.error, lab.steps.at = error, _STEP_OF[what]

    return prepare


_STEP_OF = {"get identity": 3, "connect": 10}
"""Which side effect of the first pass it is: see `test_from_nothing_to_ready`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something is not right, and what the first pass says of it."""

    sentence: str
    prepare: Callable[[Lab], None] = lambda _: None
    memory: Callable[[], MemoryDevice | None] = lambda: None
    spec: dict[str, Any] = dataclasses.field(default_factory=dict)
    reason: str
    shows: dict[str, str]


def _seen(*, upto: str) -> dict[str, str]:
    """All True up to a condition, Pending from there on."""
    at = CONDITIONS.index(upto)
    return {type_: ALL_TRUE[type_] if number < at else PENDING for number, type_ in enumerate(CONDITIONS)}


def _answers(*answers: Any) -> Callable[[], MemoryDevice]:
    return lambda: MemoryDevice(files={YAML_PATH: Lab().memory.files[YAML_PATH]}, answers=list(answers))


_PROXY = {"proxy": {"httpsProxy": "http://proxy:3128", "credentialsSecretRef": {"name": "login"}}}
_REGISTRY = {"agent": {"image": "reg.example/a:1", "registryAuthSecretRef": {"name": "login"}}}

TROUBLES = (
    Trouble(
        sentence="a connection Secret that is somebody else's shows on SecretReady, and nobody asked the hub",
        prepare=_foreign_secret,
        reason="SecretConflict",
        shows={**_seen(upto="IdentityReady"), "SecretReady": "False SecretConflict"},
    ),
    Trouble(
        sentence="a proxy's Secret that is missing is no trouble of the connection",
        spec={"runtime": _PROXY},
        reason="RuntimeSecretNotFound",
        shows={**_seen(upto="ConfigApplied"), "ConfigApplied": "False RuntimeSecretNotFound"},
    ),
    Trouble(
        sentence="nor is a registry's",
        spec={"runtime": _REGISTRY},
        reason="RuntimeSecretNotFound",
        shows={**_seen(upto="ConfigApplied"), "ConfigApplied": "False RuntimeSecretNotFound"},
    ),
    Trouble(
        sentence="the SSH Secret is missing",
        prepare=_no_ssh_secret,
        reason="SshSecretNotFound",
        shows={**_seen(upto="Reachable"), "Reachable": "False SshSecretNotFound"},
    ),
    Trouble(
        sentence="its namespace may not use the hub",
        prepare=lambda lab: (
            lab.cluster.edit_hub("contoso", namespace_selector={"matchLabels": {"plant": "b"}}) and None
        ),
        reason="HubNotAllowed",
        shows={**_seen(upto="IdentityReady"), "IdentityReady": "False HubNotAllowed"},
    ),
    Trouble(
        sentence="the HubConnection's Secret is missing, so nothing can be seen",
        prepare=lambda lab: lab.cluster.delete_secret(NAMESPACE, "hub"),
        reason="HubSecretNotFound",
        shows={**_seen(upto="IdentityReady"), "IdentityReady": "Unknown HubSecretNotFound"},
    ),
    Trouble(
        sentence="there is no HubConnection, so nothing can be seen",
        prepare=_no_hub,
        reason="HubNotFound",
        shows={**_seen(upto="IdentityReady"), "IdentityReady": "Unknown HubNotFound"},
    ),
    Trouble(
        sentence="the hub does not answer",
        prepare=_refuses(UnavailableError("Timeout", ""), "get identity"),
        reason="HubUnavailable",
        shows={**_seen(upto="IdentityReady"), "IdentityReady": "Unknown HubUnavailable"},
    ),
    Trouble(
        sentence="the hub refuses the credential",
        prepare=_refuses(RefusedError("IotHubUnauthorizedAccess", ""), "get identity"),
        reason="HubRefusedCredential",
        shows={**_seen(upto="IdentityReady"), "IdentityReady": "Unknown HubRefusedCredential"},
    ),
    Trouble(
        sentence="the hub throttles",
        prepare=_refuses(ThrottledError("ThrottlingException", ""), "get identity"),
        reason="HubThrottled",
        shows={**_seen(upto="IdentityReady"), "IdentityReady": "Unknown HubThrottled"},
    ),
    Trouble(
        sentence="nobody answers at the address",
        prepare=_refuses(UnreachableError("time-out"), "connect"),
        reason="DeviceUnreachable",
        shows={**_seen(upto="Reachable"), "Reachable": "False DeviceUnreachable"},
    ),
    Trouble(
        sentence="the login is refused",
        prepare=_refuses(LoginRefusedError("no"), "connect"),
        reason="SshLoginRefused",
        shows={**_seen(upto="Reachable"), "Reachable": "False SshLoginRefused"},
    ),
    Trouble(
        sentence="a connection that breaks half-way is the connection's trouble",
        memory=_answers(UnreachableError("it broke")),
        reason="DeviceUnreachable",
        shows={**_seen(upto="ConfigApplied"), "Reachable": "False DeviceUnreachable"},
    ),
    Trouble(
        sentence="and so is one to the jump host",
        memory=_answers(JumpHostError(UnreachableError("it broke"))),
        reason="DeviceUnreachable",
        shows={**_seen(upto="ConfigApplied"), "Reachable": "False DeviceUnreachable"},
    ),
    Trouble(
        sentence="a user who may not become root is the configuration's",
        memory=_answers(SudoRefusedError()),
        reason="SudoRefused",
        shows={**_seen(upto="ConfigApplied"), "ConfigApplied": "False SudoRefused"},
    ),
    Trouble(
        sentence="and so is an answer that makes no sense",
        memory=_answers(OddAnswerError("x")),
        reason="DeviceAnswerInvalid",
        shows={**_seen(upto="ConfigApplied"), "ConfigApplied": "False DeviceAnswerInvalid"},
    ),
)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.sentence)
async def test_a_trouble_shows_on_the_condition_that_it_is_about(trouble: Trouble) -> None:
    """And on Ready; what comes after it is unknown."""
    lab = Lab(trouble.memory(), **trouble.spec)
    trouble.prepare(lab)
    due = await lab.reconcile()
    assert due is not None
    assert due.after <= 60, "nobody tells when it is mended"
    told = lab.told
    assert {type_: told[type_] for type_ in CONDITIONS} == trouble.shows
    assert told["Ready"] == f"False {trouble.reason}"
    assert ("Stalled" in told) != ("Reconciling" in told)


@pytest.mark.parametrize(
    "happened", ["it was deleted", "it was edited", "its note was removed", "the key in use was switched"]
)
async def test_a_connection_secret_that_somebody_touched_is_restored(happened: str) -> None:
    """With the same keys, and an Event says so; what the operator writes by itself is no such news."""
    lab = Lab()
    await lab.until_ready()
    where = ("plant-a", f"{ID}-connection")
    before = lab.cluster.secrets[where]
    match happened:
        case "it was deleted":
            lab.cluster.delete_secret(*where)
        case "it was edited":
            lab.cluster.secrets[where] = dataclasses.replace(before, data={**before.data, "primaryKey": b"x"})
        case "its note was removed":
            lab.cluster.secrets[where] = dataclasses.replace(before, annotations={})
        case _:
            lab.edit(key_in_use="Secondary")
    await lab.reconcile(after=1)
    after = lab.cluster.secrets[where]
    what = {"it was deleted": "was gone", "the key in use was switched": ""}.get(happened, "had been changed")
    text = f"Secret '{ID}-connection' {what}; it was written again with the credentials that the hub has."
    told = [event.message for event in lab.cluster.events if event.reason == "SecretRestored"]
    assert told == ([text] if what else [])
    assert [after.data[key] for key in ("primaryKey", "secondaryKey")] == [
        before.data[key] for key in ("primaryKey", "secondaryKey")
    ]
    assert lab.dependencies.secret_versions.of(KEY) == after.resource_version


async def test_what_a_step_waits_for_is_named() -> None:
    """The first step has none before it."""
    lab = Lab()
    _foreign_secret(lab)
    await lab.reconcile()
    assert lab.condition("IdentityReady").message == "Waits for SecretReady."


async def test_the_api_servers_refusal_is_not_the_devices() -> None:
    """The controller tries again; the status is left alone."""
    lab = Lab()
    lab.steps.begin(4, ApiError(500, "no"))
    with pytest.raises(ApiError):
        await lab.reconciler.reconcile(KEY)
    assert lab.told["Ready"] == "Unknown Progressing"


async def test_a_bug_shows_where_the_user_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the step's condition and on Ready, without a word of the exception; it is raised on, for the log."""

    async def broken(self: Step, context: Context) -> Done:
        raise ZeroDivisionError(f"hush {self} {context}")

    lab = Lab()
    monkeypatch.setattr(SecretStep, "reconcile", broken)
    with pytest.raises(ZeroDivisionError):
        await lab.reconcile()
    assert lab.told == {
        **_seen(upto="SecretReady"),
        "SecretReady": "Unknown InternalError",
        "Ready": "False InternalError",
        "Reconciling": "True ProgressingWithRetry",
        "Paused": "False NotSuspended",
    }
    assert lab.condition("Ready").message == (
        "An error in edgeherd itself; the operator's log has the traceback. It is tried again."
    )
    assert lab.events == ["IdentityCreated"]


# ---- how long something may last


async def test_a_healthy_device_may_be_out_of_sight_for_a_while() -> None:
    """Its status is written when the grace is over, not before; and at once when all is well again."""
    lab = Lab()
    await lab.until_ready()
    lab.network.error = UnreachableError("time-out")
    for seconds in (0, requeue.GRACE_SECONDS - 1):
        assert await lab.reconcile(after=seconds) == Requeue(30, Priority.DRIFT)
        assert (lab.told, "status" in lab.steps.taken) == (ALL_TRUE, False)
    await lab.reconcile(after=1)
    assert (lab.told["Ready"], lab.told["Reachable"]) == ("False DeviceUnreachable", "False DeviceUnreachable")
    lab.network.error = None
    await lab.reconcile(after=1)
    assert lab.told == ALL_TRUE
    lab.network.error = UnreachableError("time-out")
    await lab.reconcile(after=1)
    assert lab.told == ALL_TRUE, "the grace begins anew"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A look at a device that keeps the pass waiting, and when the next one is due."""

    sentence: str
    seconds: float
    ends: str
    """'well', 'in vain', or 'restarted'."""
    due: Requeue


LOOKS = (
    Look(sentence="one that never answers rests ten times as long", seconds=60, ends="in vain", due=Requeue(600, Priority.DRIFT, slow=True)),
    Look(sentence="but not for ever", seconds=300, ends="in vain", due=Requeue(1200, Priority.DRIFT, slow=True)),
    Look(sentence="one that is refused in time is tried as always", seconds=7, ends="in vain", due=Requeue(30, Priority.DRIFT)),
    Look(sentence="one that takes its time to say that it is well is slow too", seconds=120, ends="well", due=Requeue(1200, Priority.DRIFT, slow=True)),
    Look(sentence="its own interval may be longer than the rest", seconds=20, ends="well", due=Requeue(900, Priority.DRIFT, slow=True)),
    Look(sentence="a restart takes its time and is what was wanted", seconds=120, ends="restarted", due=Requeue(1, Priority.CHANGE)),
)  # fmt: skip


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.sentence)
async def test_a_device_rests_in_proportion_to_what_it_cost(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """And when it answers in time again, all is as if it always had."""
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    lab = Lab()
    if look.ends != "restarted":
        await lab.until_ready()
        lab.edit(requested_at="somebody looks on, so there is no grace")
    lab.network.error = UnreachableError("time-out") if look.ends == "in vain" else None
    lab.network.meanwhile = lambda: lab.time.wait(look.seconds)
    assert await lab.reconcile() == look.due
    lab.network.error, lab.network.meanwhile = None, lambda: None
    for _ in range(3):
        due = await lab.reconcile(after=1)
    assert due == Requeue(900, Priority.DRIFT)


async def test_who_waits_for_a_busy_hub_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others make a hub busy; nobody rests for it."""
    lab = Lab()
    await lab.until_ready()
    ask = lab.hub.twin

    async def busy(device_id: str) -> Twin | None:
        lab.time.wait(60)
        return await ask(device_id)

    monkeypatch.setattr(lab.hub, "twin", busy)
    due = await lab.reconcile()
    assert due is not None
    assert (due.slow, due.after <= 990) == (False, True)


async def test_a_deletion_that_hangs_is_slow_and_stays_a_deletion() -> None:
    """It is tried for a minute, in a place among the slow ones."""
    lab = Lab()
    await lab.until_ready()
    lab.delete()
    lab.network.error = UnreachableError("time-out")
    lab.network.meanwhile = lambda: lab.time.wait(25)
    assert await lab.reconcile() == Requeue(10, Priority.DELETE, slow=True)


async def test_within_the_grace_a_slow_device_is_tried_as_often_as_any() -> None:
    """Nobody was told yet that it is away: it may not stay Ready for minutes."""
    lab = Lab()
    await lab.until_ready()
    lab.network.error = UnreachableError("time-out")
    lab.network.meanwhile = lambda: lab.time.wait(25)
    assert await lab.reconcile() == Requeue(30, Priority.DRIFT, slow=True)


@pytest.mark.parametrize("what", ["a change of the spec", "a wish"])
async def test_who_waits_at_the_screen_gets_no_grace(what: str) -> None:
    """Somebody wants to know now."""
    lab = Lab()
    await lab.until_ready()
    lab.network.error = UnreachableError("time-out")
    lab.edit(**({"enabled": True, "interval_seconds": 60} if what == "a change of the spec" else {"requested_at": "1"}))
    await lab.reconcile()
    assert lab.told["Ready"] == "False DeviceUnreachable"


async def test_a_device_that_stays_out_of_reach_is_stalled() -> None:
    """After ten minutes of failed connections, and it stays so for a new operator; it is still looked at."""
    lab = Lab()
    lab.network.error = UnreachableError("time-out")
    await lab.reconcile()
    await lab.reconcile(after=requeue.DEADLINE_SECONDS - 1)
    assert "Stalled" not in lab.told
    assert await lab.reconcile(after=1) == Requeue(requeue.STALLED_SECONDS, Priority.DRIFT)
    assert (lab.told["Stalled"], "Reconciling" in lab.told) == ("True DeviceUnreachable", False)
    lab.restart_operator()
    await lab.reconcile(after=60)
    assert lab.steps.taken == ["get twin", "connect h"], "nothing is written"
    lab.network.error = None
    await lab.until_ready()
    assert lab.told == ALL_TRUE


@pytest.mark.parametrize("before", ["no Secret", "a login that is refused"])
async def test_the_deadline_counts_failed_connections_only(before: str) -> None:
    """Reachable was False for an hour for another reason: the first connection that fails is not the last straw."""
    lab = Lab()
    if before == "no Secret":
        _no_ssh_secret(lab)
    else:
        lab.network.error = LoginRefusedError("no")
    await lab.reconcile()
    await lab.reconcile(after=3600)
    assert lab.told["Reachable"].startswith("False")
    lab.put_ssh_secret()
    lab.network.error = UnreachableError("time-out")
    assert await lab.reconcile(after=1) == Requeue(30, Priority.DRIFT)
    assert (lab.told["Reachable"], "Stalled" in lab.told) == ("False DeviceUnreachable", False)
    await lab.reconcile(after=requeue.DEADLINE_SECONDS)
    assert lab.told["Stalled"] == "True DeviceUnreachable"


async def test_a_daemon_on_its_way_is_looked_at_at_longer_intervals() -> None:
    """Half as long as it took so far, from 1 s up to 30."""
    lab = Lab()
    await lab.reconcile()
    lab.memory.odd = {"modules": ()}
    seen = [await lab.reconcile(after=seconds) for seconds in (0, 10, 10, 100)]
    assert seen == [Requeue(after, Priority.CHANGE) for after in (1.0, 5.0, 10.0, 30.0)]


# ---- suspend, and the way back


async def test_a_suspended_device_is_left_alone() -> None:
    """Its conditions stay as they were; nothing is looked at."""
    lab = Lab()
    await lab.until_ready()
    lab.edit(suspend=True)
    assert await lab.reconcile() is None
    taken = ["status", "event Suspended"]
    assert (lab.steps.taken, lab.told) == (taken, {**ALL_TRUE, "Paused": "True Suspended"})
    await lab.reconcile()
    assert lab.steps.taken == []


async def test_a_deletion_goes_through_the_steps_from_the_end() -> None:
    """The device first, then the identity; the finalizer last."""
    lab = Lab()
    await lab.until_ready()
    lab.delete()
    assert await lab.reconcile() is None
    assert lab.steps.taken == [
        "get twin",
        "connect h",
        "observe",
        "retire",
        "get identity",
        "get twin",
        "delete identity",
        "event ConfigurationRemoved",
        "event IdentityReleased",
        "remove finalizer",
    ]
    assert (lab.cluster.devices, lab.store.devices()) == ({}, [])
    assert b"SharedAccessKey=" not in lab.memory.files[YAML_PATH]


async def test_every_step_is_asked_to_undo_from_the_last_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have nothing to undo too, so that the order is written once."""
    asked: list[type[Step]] = []
    for step in STEPS:

        async def delete(self: Step, context: Context) -> None:
            del context
            asked.append(type(self))

        monkeypatch.setattr(step, "delete", delete)
    lab = Lab()
    await lab.until_ready()
    lab.delete()
    await lab.reconcile()
    assert asked == list(reversed(STEPS))


async def test_an_unreachable_device_holds_its_deletion_up_for_a_minute() -> None:
    """Then the identity goes all the same, and an Event says what was left."""
    lab = Lab()
    await lab.until_ready()
    lab.network.error = UnreachableError("time-out")
    lab.delete()
    assert await lab.reconcile() == Requeue(10, Priority.DELETE)
    assert lab.told["Deleting"] == "True DeviceUnreachable"
    assert await lab.reconcile(after=59) == Requeue(10, Priority.DELETE)
    assert await lab.reconcile(after=1) is None
    assert (lab.cluster.devices, lab.store.devices()) == ({}, [])
    assert lab.events[-2:] == ["DeviceCleanupSkipped", "IdentityReleased"]


async def test_a_hub_that_cannot_be_asked_holds_a_deletion_up() -> None:
    """The device is not touched before it is known that the identity can go."""
    lab = Lab()
    await lab.until_ready()
    _no_hub(lab)
    lab.delete()
    assert await lab.reconcile() == Requeue(60, Priority.DELETE)
    assert lab.steps.taken == ["event DeletionBlocked", "status"]
    assert lab.told["Deleting"] == "True HubNotFound"
    assert lab.condition("Deleting").message.endswith("annotate the object with edgeherd.io/force-delete=u1.")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"force_delete": "u1"}, ["event DeletionForced", "remove finalizer"], id="by force"),
        pytest.param({"deletion_policy": "Retain"}, ["event IdentityRetained", "remove finalizer"], id="retained"),
        pytest.param({"suspend": True}, ["event DeletionBlocked", "status"], id="suspended"),
        pytest.param(
            {"suspend": True, "deletion_policy": "Retain"}, ["event IdentityRetained", "remove finalizer"], id="both"
        ),
    ],
)
async def test_what_precedes_the_steps_of_a_deletion(changes: dict[str, Any], expected: list[str]) -> None:
    """No step is asked; hub and device are as they were."""
    lab = Lab()
    await lab.until_ready()
    lab.edit(**changes)
    lab.delete()
    await lab.reconcile()
    assert (lab.steps.taken, len(lab.store.devices())) == (expected, 1)


async def test_what_was_never_created_needs_no_hub() -> None:
    """Who was never let in has no finalizer; and without a record there is nothing, though the hub is gone by now."""
    lab = Lab()
    _no_hub(lab)
    await lab.reconcile()
    assert lab.device.finalizers == ()
    lab.edit(finalizers=(FINALIZER,))
    lab.delete()
    assert await lab.reconcile() is None
    assert (lab.steps.taken, lab.cluster.devices) == (["remove finalizer"], {})


# ---- deletions of who may not use the hub

NOBODY = {"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"plant": "b"}}}}
OTHER_IDS = {"deviceIdPattern": "{namespace}.*"}


def _forged_secret(lab: Lab) -> None:
    """Whoever may write Secrets can make one that looks like ours."""
    keys = {"primaryKey": b"AAAA", "secondaryKey": b"BBBB"}
    lab.cluster.put_secret("plant-a", f"{ID}-connection", keys, type_=SECRET_TYPE, owner_uids=("u1",))


@pytest.mark.parametrize("rules", [NOBODY, OTHER_IDS], ids=["another namespace", "another device id"])
async def test_who_may_not_use_the_hub_cannot_make_it_work_by_deletions(rules: dict[str, Any]) -> None:
    """Nothing was recorded, so nothing was created: the hub is not asked, whatever Secret there is."""
    lab = Lab()
    lab.cluster.put_hub(connection(**rules))
    _forged_secret(lab)
    lab.edit(finalizers=(FINALIZER,))
    await lab.reconcile()
    lab.delete()
    assert await lab.reconcile() is None
    assert (lab.steps.taken, lab.cluster.devices) == (["event IdentityLeft", "remove finalizer"], {})
    assert lab.cluster.events[-1].message == (
        "HubConnection 'contoso' does not allow this EdgeDevice and nothing says that it ever did, so the hub was not asked "
        f"for '{ID}'."
    )


@pytest.mark.parametrize("rules", [NOBODY, OTHER_IDS], ids=["another namespace", "another device id"])
async def test_what_was_created_while_it_was_allowed_goes_all_the_same(rules: dict[str, Any]) -> None:
    """The status says so, and the keys prove it: one look and one deletion."""
    lab = Lab()
    await lab.until_ready()
    lab.cluster.put_hub(connection(**rules))
    await lab.reconcile()
    assert lab.told["IdentityReady"] in {"False HubNotAllowed", "False DeviceIdNotAllowed"}
    lab.delete()
    assert await lab.reconcile() is None
    assert [step for step in lab.steps.taken if "identity" in step] == ["get identity", "delete identity"]
    assert (lab.cluster.devices, lab.store.devices()) == ({}, [])


@pytest.mark.parametrize("lost", [False, True])
async def test_a_creation_that_was_cut_off_is_looked_for(lost: bool) -> None:
    """The operator was killed just after it; the status says that it was meant to be, and the Secret has the keys.

    And if the status was lost, as by a backup that leaves it out, the Secret alone is a reason to look.
    """
    lab = Lab()
    lab.steps.begin(6, CrashError(), after=True)
    with pytest.raises(CrashError):
        await lab.reconciler.reconcile(KEY)
    record = IdentityStatus(hub_host_name=HOST, device_id=ID, origin=Origin.CREATED)
    assert (len(lab.store.devices()), lab.device.status.identity) == (1, record)
    if lost:
        lab.edit(status=Status())
    lab.restart_operator()
    lab.delete()
    assert await lab.reconcile() is None
    assert (lab.cluster.devices, lab.store.devices()) == ({}, [])


async def test_two_claimants_of_one_identity() -> None:
    """The older one has it; when that one turns out to be gone, the other goes on."""
    lab = Lab()
    older = dataclasses.replace(edge_device(uid="u0", deviceId=ID), name="older", creation="2025-01-01T00:00:00Z")
    lab.index.update(older)
    lab.cluster.put_device(older)
    await lab.reconcile()
    assert lab.told["IdentityReady"] == "False IdentityConflict"
    del lab.cluster.devices["plant-a", "older"]
    await lab.until_ready()
    assert lab.told == ALL_TRUE
