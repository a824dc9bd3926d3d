"""Whether the operator is alive, and whether it is ready: told from its state. Pure.

That the event loop runs is no check: whoever asks gets no answer where it does not, and the kubelet takes that for a no.
"""

import dataclasses
import enum

from edgeherd.controller.workqueue import QueueState

FAILED_SECONDS = 900.0
"""So long a watch may fail before another process is to try: longer than it takes to end by itself (ten minutes)."""

STILL_SECONDS = 300.0
"""So long nothing may move in the queue although something could."""

LONGEST_SECONDS = 900.0
"""So long a pass may take; it is cancelled after ten minutes, so one that goes on does not let itself be."""


class Role(enum.StrEnum):
    """What the process is, as leader election has it. Without it there is a leader only."""

    LEADER = "leader"
    STANDBY = "standby"
    LOST = "lost"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the operator is at."""

    role: Role
    phase: str
    """Of the watch: one of `definitions.PHASES`; empty before it was begun, and where nothing is watched."""
    phase_seconds: float
    detail: str = ""
    """Why the watch is in that phase: a sentence, or nothing."""
    queue: QueueState


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One check, which is passed where there is no trouble."""

    name: str
    trouble: str = ""


def live(state: State) -> tuple[Check, ...]:
    """Whether the process works. A no means that it is to be started anew, so it is said of what will not pass by itself."""
    failed = state.phase == "Failed" and state.phase_seconds > FAILED_SECONDS
    return (
        Check("ping"),
        Check("lease", "it was lost, and the process has not ended" if state.role is Role.LOST else ""),
        Check("watch", _phase(state) if failed else ""),
        Check("queue", _stuck(state.queue)),
    )


def ready(state: State) -> tuple[Check, ...]:
    """Whether it does its work, or stands by to do it."""
    watches = state.phase == "Watching" or state.role is Role.STANDBY
    return (
        Check("ping"),
        Check("lease", "it was lost" if state.role is Role.LOST else ""),
        Check("watch", "" if watches else _phase(state)),
    )


def _phase(state: State) -> str:
    return f"{state.phase or 'it was not begun yet'} for {state.phase_seconds:.0f} s" + (
        f": {state.detail}" if state.detail else ""
    )


def _stuck(queue: QueueState) -> str:
    if queue.longest_seconds > LONGEST_SECONDS:
        return f"a pass has been going on for {queue.longest_seconds:.0f} s"
    if queue.may_take and queue.still_seconds > STILL_SECONDS:
        return f"objects wait and places are free, but nothing has moved for {queue.still_seconds:.0f} s"
    return ""


def told(endpoint: str, checks: tuple[Check, ...], *, verbose: bool) -> tuple[bool, str]:
    """Whether all checks are passed, and what is answered: kube-apiserver's form, but with the reasons."""
    passed = not any(check.trouble for check in checks)
    if passed and not verbose:
        return True, "ok"
    lines = [f"[-]{c.name} failed: {c.trouble}" if c.trouble else f"[+]{c.name} ok" for c in checks]
    return passed, "\n".join([*lines, f"{endpoint} check {'passed' if passed else 'failed'}", ""])
