"""The clock that is handed around."""

import pytest

from edgeherd.clock import Clock

AT = 1_767_225_660.9
"""2026-01-01T00:01:00.9Z"""


def test_the_present_time_is_written_as_kubernetes_does() -> None:
    """metav1.Time: UTC, whole seconds."""
    assert Clock(wall=lambda: AT).now() == "2026-01-01T00:01:00Z"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        pytest.param(AT, "2026-01-01T00:01:00.900000Z", id="a part of a second"),
        pytest.param(1_767_225_660.0, "2026-01-01T00:01:00.000000Z", id="a whole second"),
    ],
)
def test_a_time_of_a_lease_has_six_digits(at: float, text: str) -> None:
    """metav1.MicroTime; the API server refuses one without a fraction."""
    assert Clock(wall=lambda: at).now_micro() == text


@pytest.mark.parametrize(
    ("then", "seconds"),
    [
        pytest.param("2026-01-01T00:00:00Z", 60.9, id="a minute"),
        pytest.param("2026-01-01T00:02:00Z", 0.0, id="clocks that differ"),
        pytest.param("", 0.0, id="no time yet"),
        pytest.param("yesterday", 0.0, id="no time at all"),
    ],
)
def test_seconds_since_a_time(then: str, seconds: float) -> None:
    """Never negative, and 0 where a time cannot be read."""
    assert Clock(wall=lambda: AT).seconds_since(then) == pytest.approx(seconds)
