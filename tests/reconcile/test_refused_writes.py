"""What the API server refuses: it shows, nothing is done twice for it, and nothing gets lost."""

import dataclasses
import logging
from typing import Any

import pytest
from memory_lab import ID, Lab, edge_device, fresh

from edgeherd.cluster.errors import ContentRefusedError
from edgeherd.device.port import Result
from edgeherd.hub.port import HubError
from edgeherd.model import PlannedChange, Status
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
    assert caplog.messages == [f"EdgeDevice plant-a/{ID}: the API server refuses the status: 422: {WORDS}"]
    status = lab.device.status
    assert lab.told == {"Ready": "False StatusRefused", "Stalled": "True StatusRefused"}
    assert lab.condition("Ready").message == (
        f"The API server refuses the status of this pass ({WORDS}). What else is in the status is older. "
        "Install the CRDs of the operator's version; if they are, report a bug of edgeherd."
    )
    assert dataclasses.replace(status, conditions=()) == dataclasses.replace(known, conditions=())
    assert lab.events[-1] == "StatusRefused"
    await lab.reconcile(after=1)
    assert (lab.device.status, lab.events[-1]) == (status, "StatusRefused")
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
