"""Conditions: one pure function from what came of the steps to what everybody reads."""

import dataclasses

import pytest

from edgeherd import conditions
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.model import Condition

AT, EARLIER = "2026-01-01T00:01:00Z", "2026-01-01T00:00:00Z"


def said(type_: str, status: str = "True", reason: str = "Fine") -> Condition:
    """What came of a step."""
    return Condition(type=type_, status=status, reason=reason, message=f"{type_} {reason}.")


def shown(found: tuple[Condition, ...]) -> dict[str, tuple[str, str]]:
    """Status and reason, by type."""
    return {c.type: (c.status, c.reason) for c in found}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How a pass ended."""

    sentence: str
    reported: tuple[Condition, ...]
    ended_by: ReconcileError | None
    expected: dict[str, tuple[str, str]]


STEPS = ("IdentityReady", "SecretReady", "Reachable", "ConfigApplied", "DaemonHealthy")
ALL_TRUE = tuple(said(step) for step in STEPS)
PENDING = ("Unknown", "Pending")

CASES = (
    Case(
        sentence="every step was done",
        reported=ALL_TRUE,
        ended_by=None,
        expected={"Ready": ("True", "Ready"), **dict.fromkeys(STEPS, ("True", "Fine")), "Paused": ("False", "NotSuspended")},
    ),
    Case(
        sentence="a step waits: what is behind it is not known any more",
        reported=(said("IdentityReady"), said("SecretReady"), said("Reachable", "False", "DeviceUnreachable")),
        ended_by=Waiting("DeviceUnreachable", "It is tried again."),
        expected={
            "Ready": ("False", "DeviceUnreachable"),
            "Reconciling": ("True", "ProgressingWithRetry"),
            "IdentityReady": ("True", "Fine"),
            "SecretReady": ("True", "Fine"),
            "Reachable": ("False", "DeviceUnreachable"),
            "ConfigApplied": PENDING,
            "DaemonHealthy": PENDING,
            "Paused": ("False", "NotSuspended"),
        },
    ),
    Case(
        sentence="only a human can fix it",
        reported=(said("IdentityReady", "False", "IdentityConflict"),),
        ended_by=Stalled("IdentityConflict", "Choose another id."),
        expected={
            "Ready": ("False", "IdentityConflict"),
            "Stalled": ("True", "IdentityConflict"),
            "IdentityReady": ("False", "IdentityConflict"),
            **dict.fromkeys(STEPS[1:], PENDING),
            "Paused": ("False", "NotSuspended"),
        },
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_the_summary_of_a_pass(case: Case) -> None:
    """Ready, and Reconciling or Stalled only while true (kstatus)."""
    found = conditions.summarise(
        {c.type: c for c in case.reported}, old=(), generation=3, ended_by=case.ended_by, at=AT, steps=STEPS
    )
    assert shown(found) == case.expected
    assert {(c.observed_generation, c.last_transition_time) for c in found} == {(3, AT)}


def test_the_transition_time_moves_only_with_the_status() -> None:
    """A new reason or message is no transition (api-conventions)."""
    old = (dataclasses.replace(said("Ready", "False", "Old"), last_transition_time=EARLIER),)
    ended_by = Waiting("New", "Another reason.")
    times = {
        c.type: c.last_transition_time
        for c in conditions.summarise({}, old=old, generation=1, ended_by=ended_by, at=AT, steps=STEPS)
    }
    assert (times["Ready"], times["Reconciling"]) == (EARLIER, AT)


def test_the_same_pass_twice_gives_the_same_conditions() -> None:
    """So nothing is written for a device at rest."""
    reported = {c.type: c for c in ALL_TRUE}
    first = conditions.summarise(reported, old=(), generation=1, ended_by=None, at=EARLIER, steps=STEPS)
    assert conditions.summarise(reported, old=first, generation=1, ended_by=None, at=AT, steps=STEPS) == first


def test_a_suspended_object_keeps_what_was_said() -> None:
    """Only Paused changes."""
    before = conditions.summarise(
        {c.type: c for c in ALL_TRUE}, old=(), generation=1, ended_by=None, at=EARLIER, steps=STEPS
    )
    after = conditions.paused(before, 1, at=AT, steps=STEPS)
    assert shown(after) == {**shown(before), "Paused": ("True", "Suspended")}
    assert conditions.paused(after, 1, at="2026-01-01T00:09:00Z", steps=STEPS) == after


def test_a_new_object_has_every_condition_at_once() -> None:
    """All unknown, so that `kubectl wait` and health checks do not mistake it for done."""
    found = shown(conditions.begun(1, at=AT, steps=STEPS))
    assert found == {
        "Ready": ("Unknown", "Progressing"),
        "Reconciling": ("True", "Progressing"),
        **dict.fromkeys(STEPS, PENDING),
        "Paused": ("False", "NotSuspended"),
    }


@pytest.mark.parametrize(
    ("ended_by", "expected"),
    [(None, 5), (Stalled("R", "m"), 5), (Waiting("R", "m"), 4)],
    ids=["a pass through every step counts", "a stall counts", "a wait does not"],
)
def test_which_generation_counts_as_observed(ended_by: ReconcileError | None, expected: int) -> None:
    """Flux's meaning of observedGeneration."""
    assert conditions.observed_generation(5, 4, ended_by) == expected
