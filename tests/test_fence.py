"""The fence of a Lease: from when a renewal was sent, for so long, and never again."""

import dataclasses
from collections.abc import Callable

import pytest

from edgeherd.fence import OPEN, Fence, LeaseFence, NotLeadingError

SECONDS = 10.0


def passes(fence: Fence) -> bool:
    """Whether it lets a write pass."""
    try:
        fence.check()
    except NotLeadingError:
        return False
    return True


@dataclasses.dataclass
class Clock:
    """A clock that tests move."""

    now: float = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


Step = Callable[[LeaseFence, Clock], None]


def renewed(sent_at: float) -> Step:
    """A renewal that was sent then succeeded just now."""
    return lambda fence, _: fence.renewed(sent_at)


def at(now: float) -> Step:
    """It is so late by now."""

    def move(_: LeaseFence, clock: Clock) -> None:
        clock.now = now

    return move


def closed(fence: LeaseFence, _: Clock) -> None:
    """Somebody closes it."""
    fence.close()


@pytest.mark.parametrize(
    ("steps", "is_open"),
    [
        pytest.param([], False, id="before the Lease was had for the first time"),
        pytest.param([renewed(1000)], True, id="right after"),
        pytest.param([renewed(1000), at(1009.9)], True, id="shortly before its time is over"),
        pytest.param([renewed(1000), at(1010)], False, id="when its time is over"),
        pytest.param([renewed(1000), at(1e9)], False, id="after the process stood still for long"),
        pytest.param([at(1009), renewed(1000)], True, id="what counts is when a renewal was sent"),
        pytest.param([at(1010), renewed(1000)], False, id="the first answer came too late"),
        pytest.param([renewed(1000), at(1009), renewed(1008), at(1017)], True, id="renewed in time"),
        pytest.param([renewed(1000), closed], False, id="given up"),
        pytest.param([closed], False, id="given up before it was had"),
    ],
)
def test_when_a_write_passes(steps: list[Step], is_open: bool) -> None:
    """It tells nobody but the clock and the renewals."""
    clock = Clock()
    fence = LeaseFence(SECONDS, now=clock)
    for step in steps:
        step(fence, clock)
    assert (passes(fence), fence.seconds_left > 0) == (is_open, is_open)


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([renewed(1000), at(1010)], id="its time was over"),
        pytest.param([renewed(1000), closed], id="it was given up"),
    ],
)
def test_it_never_opens_again(before: list[Step]) -> None:
    """Nobody can say who led in between."""
    clock = Clock()
    fence = LeaseFence(SECONDS, now=clock)
    for step in before:
        step(fence, clock)
    with pytest.raises(NotLeadingError):
        fence.renewed(clock.now)
    assert not passes(fence)


def test_without_an_election_everything_passes() -> None:
    """There is one process."""
    assert passes(OPEN)
