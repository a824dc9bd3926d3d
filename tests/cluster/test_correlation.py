"""Events that repeat are counted, and no object has too many: as client-go does it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeherd.cluster.correlation import BURST, REFILL_SECONDS, Correlator, Said, Series

READY = Said("u1", "Normal", "Ready", "Everything is as the spec says.")
AT = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:01:00Z"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(READY, True, id="the same"),
        pytest.param(READY._replace(uid="u2"), False, id="of another object"),
        pytest.param(READY._replace(type="Warning"), False, id="as a warning"),
        pytest.param(READY._replace(reason="Done"), False, id="for another reason"),
        pytest.param(READY._replace(message="It is."), False, id="in other words"),
    ],
)
def test_what_makes_two_events_one_series(other: Said, same: bool) -> None:
    """A series begins with its first Event."""
    correlator = Correlator()
    first = correlator.admit(READY, now=0, at=AT)
    second = correlator.admit(other, now=60, at=LATER)
    assert second == (Series(first=AT, count=2) if same else Series(first=LATER, count=1))
    assert (first is second) is same


def test_an_object_has_a_burst_and_then_one_in_five_minutes() -> None:
    """Whatever is said of it; another object has as many."""
    correlator = Correlator()
    said = (READY._replace(message=str(number)) for number in range(1000))

    def admitted(now: float, times: int) -> int:
        return sum(correlator.admit(next(said), now=now, at=AT) is not None for _ in range(times))

    found = [admitted(now, times) for now, times in ((0, 40), (1, 5), (300, 5), (900, 5), (1e6, 40))]
    assert found == [BURST, 0, 1, 2, BURST]
    assert correlator.admit(READY._replace(uid="u2"), now=1, at=AT) is not None


def test_what_was_not_admitted_is_not_counted() -> None:
    """The count is what people see."""
    correlator = Correlator()
    series = [correlator.admit(READY, now=0, at=AT) for _ in range(BURST + 5)]
    assert (series[0], series[BURST:]) == (Series(first=AT, count=BURST), [None] * 5)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=300))
def test_memory_is_bounded(events: list[tuple[int, int]]) -> None:
    """What was used last is remembered."""
    correlator, most = Correlator(most=8), 8
    for now, (uid, message) in enumerate(events):
        said = Said(str(uid), "Normal", "Ready", str(message))
        series = correlator.admit(said, now=now * REFILL_SECONDS, at=AT)
        assert series is not None
        kept = (correlator._series._entries, correlator._buckets._entries)  # noqa: SLF001 - how much is kept shows nowhere else
        assert all(len(entries) <= most for entries in kept)
        assert next(reversed(kept[0])) == said
