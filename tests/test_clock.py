"""The clock that is handed around."""

import pytest

from edgeherd.clock import Clock

AT = 1_767_225_660.9
"""2026-01-01T00:01:00.9Z"""


def test_the_present_time_is_written_as_kubernetes_does() -> None:
    """metav1.Time: UTC, whole seconds."""
    assert Clock(wall=lambda: AT).now() == "2026-01-01T00:01:00Z"


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
