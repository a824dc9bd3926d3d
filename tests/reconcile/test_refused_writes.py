"""What the API server refuses: it shows, nothing is done twice for it, and nothing gets lost."""

import dataclasses
import logging
from typing import Any

import pytest
from memory_lab import ID, KEY, Lab, edge_device, fresh

from edgeherd.cluster.errors import ApiError, ConflictError, ContentRefusedError, ForbiddenError
from edgeherd.device.port import Result
from edgeherd.hub.port import HubError
from edgeherd.model import PlannedChange, Priority, Status
from edgeherd.reconcile.requeue import Requeue
from edgeherd.reconcile.steps import configuration
from edgeherd_sim.memory.hub import identity_of

WORDS = "EdgeDevice.edgeherd.io is invalid: status.plan: Duplicate value"


def refuse_statuses(lab: Lab, *, but: tuple[str, ...] = ()) -> None:
    """The API server takes no status, but for one whose `Ready` has one of these reasons."""
    put = lab.cluster.put_status

    async def refusing(device: Any, status: Status) -> Any:
        ready = status.condition("Ready")
        if ready is None or ready.reason not in but:
            raise ContentRefusedError(422, WORDS)
        return await put(device, status)

    lab.cluster.put_status = refusing  # type: ignore[method-assign]


async def test_a_status_that_is_refused_becomes_a_minimal_one(caplog: pytest.LogCaptureFixture) -> None:
    """What was known stays; that it is not of this pass is said in the status, in an Event and in the log."""
    lab = Lab()
    await lab.until_ready()
    known = lab.device.status
    lab.edit(runtime=dataclasses.replace(lab.device.runtime, hostname="press"))
    put = lab.cluster.put_status
    refuse_statuses(lab, but=("StatusRefused",))
    with caplog.at_level(logging.ERROR, "edgeherd.reconcile.device"):
        await lab.reconcile(after=1)
    assert caplog.messages == [f"the API server refuses the status: 422: {WORDS}"]
    status = lab.device.status
    assert lab.told == {"Ready": "False StatusRefused", "Stalled": "True StatusRefused"}
    assert lab.condition("Ready").message == (
        f"The API server refuses the status of this pass ({WORDS}). What else is in the status is older. "
        "Install the CRDs of the operator's version; if they are, report a bug of edgeherd."
    )
    assert dataclasses.replace(status, conditions=()) == dataclasses.replace(known, conditions=())
    assert lab.events[-1] == "StatusRefused"
    caplog.clear()
    await lab.reconcile(after=1)
    assert (lab.device.status, lab.events[-1], caplog.messages) == (status, "StatusRefused", [])
    lab.cluster.put_status = put  # type: ignore[method-assign]
    await lab.reconcile(after=1)
    assert lab.told["Ready"] == "True Ready"


async def test_a_refused_configuration_is_tried_once_whatever_becomes_of_the_status() -> None:
    """Every try restarts the daemon."""
    lab = Lab(fresh(answers=[Result.REFUSED] * 5))
    refuse_statuses(lab, but=("StatusRefused", "Progressing"))
    for number in range(5):
        lab.edit(requested_at=f"{number}")
        await lab.reconcile(after=1)
    assert len(lab.memory.changes) == 1
    lab.edit(runtime=dataclasses.replace(lab.device.runtime, hostname="press"))
    await lab.reconcile(after=1)
    assert len(lab.memory.changes) == 2


async def test_a_refusal_is_of_one_object() -> None:
    """A namesake is another device for all that is known."""
    lab = Lab(fresh(answers=[Result.REFUSED] * 5))
    await lab.reconcile()
    lab.cluster.devices.clear()
    again = dataclasses.replace(edge_device(), uid="another")
    lab.cluster.put_device(again)
    lab.cluster.secrets.pop(("plant-a", f"{ID}-connection"))
    lab.store.remove(ID)
    await lab.reconcile(after=1)
    assert len(lab.memory.changes) == 2


async def test_a_daemon_is_started_again_once_for_a_request() -> None:
    """Though no status says that it was."""
    lab = Lab()
    await lab.until_ready()
    refuse_statuses(lab)
    lab.edit(requested_at="now")
    restarts = []
    for _ in range(3):
        lab.memory.state = "failed/failed"
        with pytest.raises(ContentRefusedError):
            await lab.reconcile(after=1)
        restarts.append("restart" in lab.steps.taken)
    assert restarts == [True, False, False]


@pytest.mark.parametrize(
    ("status", "words"), [(422, "Secret is invalid: data: Forbidden: immutable"), (400, "cannot decode 'c2VjcmV0'")]
)
async def test_another_write_that_is_refused_shows_on_its_step(status: int, words: str) -> None:
    """A 400 may quote what was sent."""
    lab = Lab()
    await lab.until_ready()
    key = ("plant-a", f"{ID}-connection")
    lab.cluster.secrets[key] = dataclasses.replace(lab.cluster.secrets[key], data={})
    lab.steps.begin(error=ContentRefusedError(status, words))

    async def refusing(*_: Any, **__: Any) -> Any:
        raise ContentRefusedError(status, words)

    lab.cluster.put_connection_secret = refusing  # type: ignore[method-assign]
    await lab.reconcile(after=1)
    shown = f" ({words})" if status == 422 else ""
    assert (lab.told["SecretReady"], lab.told["Ready"]) == ("False KubernetesRefused", "False KubernetesRefused")
    expected = (
        f"The API server refuses what the operator has to do{shown}. Fix the right, the quota, the policy or the object that it "
        "names. It is tried again every minute."
    )
    assert lab.condition("SecretReady").message == expected


QUOTA = 'secrets "press-01-connection" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=5'
FORBIDDEN = ForbiddenError(403, QUOTA)
NEXT = "Fix the right, the quota, the policy or the object that it names. It is tried again every minute."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request of the first pass that the API server refuses, and the condition that shows it."""

    sentence: str
    method: str
    condition: str
    status: str


REFUSALS = (
    Refusal(sentence="the HubConnection may not be read", method="hub_connection", condition="IdentityReady", status="Unknown"),
    Refusal(sentence="no finalizer may be put", method="add_finalizer", condition="IdentityReady", status="Unknown"),
    Refusal(sentence="no Secret may be read, the hub's first of all", method="secret", condition="IdentityReady", status="Unknown"),
    Refusal(sentence="there is a quota of Secrets", method="put_connection_secret", condition="SecretReady", status="False"),
)  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.sentence)
async def test_what_the_api_server_refuses_is_told(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the condition that it is about, on Ready, and once in an Event, in the server's words; when it is mended it goes on."""
    lab = Lab()
    with monkeypatch.context() as patch:
        patch.setattr(lab.cluster, refusal.method, _refusing(FORBIDDEN))
        due = await lab.reconcile()
        await lab.reconcile(after=60)
    assert due == Requeue(60, Priority.DRIFT if refusal.status == "Unknown" else Priority.CHANGE)
    message = f"The API server refuses what the operator has to do ({QUOTA}). {NEXT}"
    said = lab.condition(refusal.condition)
    assert (said.status, said.reason, said.message) == (refusal.status, "KubernetesRefused", message)
    assert (lab.told["Ready"], lab.condition("Reconciling").message) == ("False KubernetesRefused", message)
    assert [(e.warning, e.reason, e.message) for e in lab.cluster.events] == [(True, "KubernetesRefused", message)]
    assert lab.store.devices() == []
    await lab.until_ready()


async def test_a_right_that_was_taken_away_shows_on_a_healthy_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Secret was edited and may not be put right: it is not Ready."""
    lab = Lab()
    await lab.until_ready()
    key = ("plant-a", f"{ID}-connection")
    lab.cluster.secrets[key] = dataclasses.replace(lab.cluster.secrets[key], annotations={})
    monkeypatch.setattr(lab.cluster, "put_connection_secret", _refusing(FORBIDDEN))
    await lab.reconcile(after=1)
    assert (lab.told["Ready"], lab.events[-1]) == ("False KubernetesRefused", "KubernetesRefused")


@pytest.mark.parametrize(
    "error",
    [
        ApiError(0, "no answer"),
        *(ApiError(status, "later") for status in (401, 404, 410, 429, 500, 503)),
        ConflictError(409, ""),
    ],
    ids=lambda error: str(error.status),
)
async def test_what_may_go_through_the_next_time_is_no_refusal(error: ApiError) -> None:
    """The controller tries again, and the status stays as it was."""
    lab = Lab()
    await lab.until_ready()
    key = ("plant-a", f"{ID}-connection")
    lab.cluster.secrets[key] = dataclasses.replace(lab.cluster.secrets[key], annotations={})
    lab.cluster.put_connection_secret = _refusing(error)  # type: ignore[method-assign]
    if isinstance(error, ConflictError):
        await lab.reconcile(after=1)
        assert lab.told["Ready"] == "False SecretChanging"
    else:
        with pytest.raises(ApiError):
            await lab.reconcile(after=1)
        assert lab.told["Ready"] == "True Ready"


async def test_words_of_the_api_server_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy may quote what it refuses."""
    lab = Lab()
    words = 'admission webhook "w" denied the request: HostName=h;SharedAccessKey=' + "c2VjcmV0" * 8
    monkeypatch.setattr(lab.cluster, "put_connection_secret", _refusing(ForbiddenError(403, words)))
    await lab.reconcile()
    shown = 'admission webhook "w" denied the request: HostName=h;SharedAccessKey=***'
    assert lab.condition("Ready").message == f"The API server refuses what the operator has to do ({shown}). {NEXT}"


async def test_a_status_that_may_not_be_written_is_told_in_the_log_and_an_event(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once; nothing is created that could not be recorded, and a device that is healthy is looked after all the same."""
    words = (
        'edgedevices.edgeherd.io "press-01" is forbidden: User "edgeherd" cannot patch resource "edgedevices/status"'
    )
    lab = Lab()
    with monkeypatch.context() as patch:
        patch.setattr(lab.cluster, "put_status", _refusing(ForbiddenError(403, words)))
        for _ in range(3):
            assert await lab.reconcile(after=60) == Requeue(60, Priority.DRIFT)
    told = [f"The status is older: The API server refuses what the operator has to do ({words}). {NEXT}"]
    assert (caplog.messages, lab.events, lab.store.devices()) == (told, ["KubernetesRefused"], [])
    await lab.until_ready()
    lab.edit(runtime=dataclasses.replace(lab.device.runtime, hostname="press"))
    with monkeypatch.context() as patch:
        patch.setattr(lab.cluster, "put_status", _refusing(ForbiddenError(403, words)))
        for _ in range(3):
            await lab.reconcile(after=60)
    assert (caplog.messages, len(lab.memory.changes)) == (told * 2, 2)
    await lab.until_ready()


async def test_a_key_is_renewed_once_though_the_wish_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The annotation may not be taken away; whoever uses the key would get another one every minute."""
    lab = Lab()
    await lab.until_ready()
    before = identity_of(lab.store, ID)
    lab.edit(renew_key="Secondary")
    with monkeypatch.context() as patch:
        patch.setattr(lab.cluster, "forget_renewal", _refusing(FORBIDDEN))
        for _ in range(3):
            await lab.reconcile(after=60)
    renewed = identity_of(lab.store, ID)
    assert (lab.told["IdentityReady"], renewed == before) == ("Unknown KubernetesRefused", False)
    await lab.until_ready()
    assert (identity_of(lab.store, ID), lab.device.renew_key) == (renewed, "")
    lab.edit(renew_key="Secondary")
    await lab.until_ready()
    assert identity_of(lab.store, ID) != renewed


async def test_a_wish_after_one_that_was_taken_away_without_an_answer_is_heard() -> None:
    """The annotation went, and the answer got lost: what is remembered of it must not swallow the next one."""
    lab = Lab()
    await lab.until_ready()
    lab.edit(renew_key="Secondary")
    await lab.reconcile()
    lab.edit(renew_key="Secondary")
    lab.steps.begin(lab.steps.taken.index("forget renewal") + 1, ApiError(0, "no answer"), after=True)
    with pytest.raises(ApiError, match="no answer"):
        await lab.reconciler.reconcile(KEY)
    lab.steps.begin()
    await lab.until_ready()
    before = identity_of(lab.store, ID)
    assert before is not None
    lab.edit(renew_key="Secondary")
    await lab.until_ready()
    after = identity_of(lab.store, ID)
    assert after is not None
    assert after.keys != before.keys


async def test_a_deletion_that_the_api_server_refuses_is_blocked_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The finalizer may not be taken off: the identity is gone, and this is what is left."""
    lab = Lab()
    await lab.until_ready()
    lab.delete()
    with monkeypatch.context() as patch:
        patch.setattr(lab.cluster, "remove_finalizer", _refusing(FORBIDDEN))
        assert await lab.reconcile() == Requeue(60, Priority.DELETE)
        await lab.reconcile(after=60)
    assert (lab.told["Ready"], lab.told["Deleting"]) == ("False KubernetesRefused", "True KubernetesRefused")
    told = [lab.events.count(reason) for reason in ("DeletionBlocked", "IdentityReleased", "ConfigurationRemoved")]
    assert (told, lab.store.devices(), lab.steps.taken) == ([1, 1, 1], [], [])
    assert (await lab.reconcile(after=60), lab.cluster.devices) == (None, {})


def _refusing(error: ApiError) -> Any:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise error

    return refuse


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, "(p0), and spec.driftPolicy is 'Report'. See status.plan."),
        (17, "p15 and 1 more), and spec.driftPolicy is 'Report'. See status.plan."),
        (
            80,
            "p15 and 64 more), and spec.driftPolicy is 'Report'. See status.plan, which has the first 64 of 80 changes.",
        ),
    ],
)
async def test_a_long_plan(monkeypatch: pytest.MonkeyPatch, number: int, expected: str) -> None:
    """The message is brief, and says what the status has no room for."""
    lab = Lab(driftPolicy="Report")
    await lab.until_ready()
    plan = tuple(PlannedChange(path=f"p{each}", action="Add", restart="None") for each in range(number))
    apply = configuration.Configurator.apply

    async def planning(*args: Any, **more: Any) -> Any:
        return dataclasses.replace(await apply(*args, **more), plan=plan)

    monkeypatch.setattr(configuration.Configurator, "apply", planning)
    await lab.reconcile(after=1)
    assert lab.condition("ConfigApplied").message.endswith(expected)
    assert len(lab.device.status.plan) == min(number, 64)


NOT_RENEWED = "No key was renewed: the annotation edgeherd.io/renew-key was "
TO_SWITCH = "the key that is not in use. To renew the other one, set spec.identity.keyInUse first."


@pytest.mark.parametrize(
    ("value", "in_use", "expected"),
    [
        ("primary", "Primary", f"{NOT_RENEWED}'primary'; it may be 'Secondary', {TO_SWITCH}"),
        ("Primary", "Primary", f"{NOT_RENEWED}'Primary'; it may be 'Secondary', {TO_SWITCH}"),
        ("Secondary", "Secondary", f"{NOT_RENEWED}'Secondary'; it may be 'Primary', {TO_SWITCH}"),
        pytest.param(
            "x\n" * 50,
            "Primary",
            f"{NOT_RENEWED}{('x' + chr(10)) * 16!r}; it may be 'Secondary', {TO_SWITCH}",
            id="long",
        ),
    ],
)
async def test_a_renewal_that_cannot_be_is_answered(value: str, in_use: str, expected: str) -> None:
    """The annotation goes, and an Event says what it may be."""
    lab = Lab(identity={"keyInUse": in_use})
    await lab.until_ready()
    before = identity_of(lab.store, ID)
    lab.edit(renew_key=value)
    await lab.reconcile(after=1)
    told = lab.cluster.events[-1]
    assert (told.warning, told.reason, told.message) == (True, "KeyNotRenewed", expected)
    assert (lab.device.renew_key, identity_of(lab.store, ID)) == ("", before)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("DeviceNotFound", "DeviceNotFound"),
        ("403.002_a-b", "403.002_a-b"),
        ("a b\n<script>", "abscript"),
        ("x" * 65, "x" * 64),
        ("\u00e4", "Unknown"),
    ],
)
def test_a_hubs_word_for_a_trouble_is_a_word(said: str, code: str) -> None:
    """It gets into messages."""
    error = HubError(said, "No.")
    assert (error.code, str(error)) == (code, f"{code}: No.")
