"""Status, computed once at the end of a pass by pure functions (kstatus, api-conventions; Flux's rules for conditions).

Each step has a condition of its own; nobody but `summarise` says `Ready`, `Reconciling` or `Stalled`. `steps` are the
types of the steps' conditions, in the order of the steps.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.model import Condition

HINTS = frozenset({"RuntimeSupported"})
"""Conditions that only inform. A pass that could not see what they are about leaves them as they were."""


def summarise(
    reported: Mapping[str, Condition],
    *,
    old: tuple[Condition, ...],
    generation: int,
    ended_by: ReconcileError | None,
    at: str,
    steps: tuple[str, ...],
    hints: tuple[Condition, ...] = (),
) -> tuple[Condition, ...]:
    """All conditions of an object after a pass.

    Args:
        reported: what came of the steps in this pass, by type. A step that was not reached is Unknown, because what
            was said of it earlier need not hold any more.
        old: the conditions that are stored now; they give the transition times.
        generation: the generation that the pass computed everything from.
        ended_by: what ended the pass early; None when every step was done.
        at: the present time.
        steps: the types of the steps' conditions.
        hints: what is worth knowing and changes nothing else. What was said before of the types of `HINTS` stays.
    """
    said = [reported.get(type_) or pending(type_) for type_ in steps]
    everything = [_summary(ended_by), *_abnormal(ended_by), *said, _PAUSED[False], *hints]
    known = {hint.type for hint in hints}
    kept = [c for c in old if c.type in HINTS and c.type not in known]
    return (*_stamped(everything, old, generation, at), *kept)


def of_hub(
    old: tuple[Condition, ...],
    generation: int,
    ended_by: ReconcileError | None,
    *,
    at: str,
    hints: tuple[Condition, ...] = (),
) -> tuple[Condition, ...]:
    """The conditions of a HubConnection after a pass. `hints` are there while true, and no trouble of the hub."""
    ready = _summary(ended_by)
    if ended_by is None:
        ready = dataclasses.replace(ready, message="The hub accepts the credential.")
    return _stamped([ready, *_abnormal(ended_by), *hints], old, generation, at)


def refused(old: tuple[Condition, ...], generation: int, message: str, *, at: str) -> tuple[Condition, ...]:
    """The least that can be said of an object whose whole status the API server refuses."""
    error = Stalled("StatusRefused", message)
    return _stamped([_summary(error), *_abnormal(error)], old, generation, at)


def begun(generation: int, *, at: str, steps: tuple[str, ...]) -> tuple[Condition, ...]:
    """The conditions of an object at the first visit: all there, none known (api-conventions, Typical status properties)."""
    message = "The first pass has begun."
    summary = Condition(type="Ready", status="Unknown", reason="Progressing", message=message)
    progress = Condition(type="Reconciling", status="True", reason="Progressing", message=message)
    everything = [summary, progress, *(pending(type_) for type_ in steps), _PAUSED[False]]
    return _stamped(everything, (), generation, at)


def paused(old: tuple[Condition, ...], generation: int, *, at: str, steps: tuple[str, ...]) -> tuple[Condition, ...]:
    """The conditions of a suspended object: as they were, but for `Paused`."""
    kept = tuple(c for c in old if c.type != "Paused") or _stamped(
        [_PAUSED_SUMMARY, *(pending(type_) for type_ in steps)], (), generation, at
    )
    return (*kept, *_stamped([_PAUSED[True]], old, generation, at))


def deleting(
    old: tuple[Condition, ...],
    generation: int,
    error: ReconcileError,
    *,
    at: str,
    reported: Iterable[Condition] = (),
) -> tuple[Condition, ...]:
    """The conditions of an object whose deletion waits, with the reason why: it is not ready, whatever was said before.

    `reported` is what came of the steps backwards; what was said of the others stays, with the generation it was said of.
    """
    blocked = Condition(type="Deleting", status="True", reason=error.reason, message=error.message)
    stays = {c.type: c for c in old if c.type not in {"Ready", "Reconciling", "Stalled", "Deleting"}}
    stays |= {c.type: c for c in _stamped([*reported], old, generation, at)}
    summary = _stamped([_summary(error), *_abnormal(error)], old, generation, at)
    return (*summary, *stays.values(), *_stamped([blocked], old, generation, at))


_PAUSED = {
    True: Condition(
        type="Paused",
        status="True",
        reason="Suspended",
        message="spec.suspend is true: nothing is done in the hub or on the device.",
    ),
    False: Condition(type="Paused", status="False", reason="NotSuspended", message="The spec is followed."),
}
_PAUSED_SUMMARY = Condition(type="Ready", status="Unknown", reason="Suspended", message=_PAUSED[True].message)


def pending(type_: str, of: str = "the steps before it") -> Condition:
    """The condition of a step that nothing can be said of yet, because it waits for something else."""
    return Condition(type=type_, status="Unknown", reason="Pending", message=f"Waits for {of}.")


def _summary(ended_by: ReconcileError | None) -> Condition:
    """`Ready`: True only when every step was done; otherwise with the reason that a user shall see first."""
    if ended_by is None:
        return Condition(type="Ready", status="True", reason="Ready", message="Everything is as the spec says.")
    return Condition(type="Ready", status="False", reason=ended_by.reason, message=ended_by.message)


def _abnormal(ended_by: ReconcileError | None) -> list[Condition]:
    """`Reconciling` or `Stalled`, present only while true (kstatus)."""
    match ended_by:
        case Stalled():
            return [Condition(type="Stalled", status="True", reason=ended_by.reason, message=ended_by.message)]
        case Waiting():
            reason = "ProgressingWithRetry"
            return [Condition(type="Reconciling", status="True", reason=reason, message=ended_by.message)]
        case _:
            return []


def _stamped(
    conditions: list[Condition], old: tuple[Condition, ...], generation: int, at: str
) -> tuple[Condition, ...]:
    """With generation and times; the transition time moves only when the status moves."""
    since = {(c.type, c.status): c.last_transition_time for c in old}
    return tuple(
        dataclasses.replace(c, observed_generation=generation, last_transition_time=since.get((c.type, c.status), at))
        for c in conditions
    )


def observed_generation(generation: int, before: int, ended_by: ReconcileError | None) -> int:
    """Which generation last reached Ready or Stalled (Flux's meaning): a wait does not count."""
    return before if isinstance(ended_by, Waiting) else generation
