"""Whether this process may change anything outside of itself. Whoever sends a write asks right before it is sent.

A process that stood still (SIGSTOP, a paused container, a machine asleep) does not know that another one leads by now, and
goes on with what it was at. So it is not asked who leads, but until when this process may be sure that no other one does.
"""

from collections.abc import Callable
from typing import Protocol

from edgeherd import clock


class NotLeadingError(Exception):
    """Another process may lead by now: the write was not sent. It is no trouble of the object that it was for."""


class Fence(Protocol):
    """Asked by the adapters of cluster, hub and device, in the thread that sends, after whatever they had to wait for."""

    def check(self) -> None:
        """Let a write pass.

        Raises:
            NotLeadingError: it must not be sent.
        """


class _Open:
    """Where there is one process, nobody else can lead."""

    def check(self) -> None:
        """See `Fence`."""


OPEN: Fence = _Open()
"""For a process without leader election."""


class LeaseFence:
    """Open for a number of seconds from when the last renewal of a Lease was sent. Once it has closed, it stays closed.

    It never opens again, because nobody can say what other processes did in between. Renewals come from one thread; any
    may check.
    """

    def __init__(self, seconds: float, *, now: Callable[[], float] = clock.since_boot) -> None:
        self._seconds = seconds
        self._now = now
        self._until: float | None = None

    def renewed(self, sent_at: float) -> None:
        """A renewal succeeded. `sent_at` is when its request was sent: the answer may have been on its way for long.

        Raises:
            NotLeadingError: too late, it has closed.
        """
        if self._until is not None:
            self.check()
        self._until = sent_at + self._seconds

    def close(self) -> None:
        """Let nothing pass any more."""
        self._until = float("-inf")

    @property
    def seconds_left(self) -> float:
        """How long it is still open; 0 when it is closed."""
        return 0.0 if self._until is None else max(0.0, self._until - self._now())

    def check(self) -> None:
        """See `Fence`."""
        if not self.seconds_left:
            raise NotLeadingError("another operator may lead by now")
