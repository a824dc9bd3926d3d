"""The time, as one value that is handed to whoever asks for it: tests move it."""

import dataclasses
import datetime as dt
import time
from collections.abc import Callable


def since_boot() -> float:
    """Seconds since the machine was started. Unlike `time.monotonic` it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Seconds since 1970 (`wall`), and seconds that nobody sets back (`monotonic`)."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def now(self) -> str:
        """The present time as metav1.Time writes it: UTC, whole seconds."""
        return dt.datetime.fromtimestamp(self.wall(), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def now_micro(self) -> str:
        """The present time as metav1.MicroTime must be written: UTC, six digits of a second even where they are zeros."""
        return dt.datetime.fromtimestamp(self.wall(), dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def seconds_since(self, then: str) -> float:
        """Seconds from a metav1.Time to now; 0 where it cannot be read or is in the future."""
        try:
            return max(0.0, self.wall() - dt.datetime.fromisoformat(then).timestamp())
        except (ValueError, TypeError):
            return 0.0
