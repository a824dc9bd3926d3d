"""Traffic shaping by the table of an S1 hub: a burst is served, then requests queue, then they are refused. Pure."""

import enum
import time
from collections.abc import Callable, Mapping

from edgeherd_sim.hub.faults import throttled


class Operation(enum.Enum):
    """The classes of calls that have budgets of their own; FREE has none."""

    REGISTRY = "registry"
    TWIN_READ = "twin-read"
    TWIN_WRITE = "twin-write"
    QUERY = "query"
    CONFIGURATION = "configuration"
    FREE = "free"


RATES: Mapping[Operation, tuple[float, bool]] = {
    Operation.REGISTRY: (100 / 60, True),
    Operation.TWIN_READ: (100.0, False),
    Operation.TWIN_WRITE: (50.0, False),
    Operation.QUERY: (20 / 60, True),
    Operation.CONFIGURATION: (20 / 60, True),
}
"""Calls a second, and whether more units raise it."""

_BURST_SECONDS = 60.0
_LONGEST_WAIT = 10.0


class Throttle:
    """Without units nothing is ever slowed."""

    def __init__(self, units: int = 0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.units = units
        self._clock = clock
        self._due: dict[Operation, float] = {}

    def admit(self, operation: Operation, cost: int = 1) -> float:
        """How many seconds a call has to wait; raises the 429 when that were too long.

        A minute's worth of calls may come at once; what exceeds it waits as long as the rate says.
        """
        if self.units < 1 or operation is Operation.FREE:
            return 0.0
        rate, scales = RATES[operation]
        now = self._clock()
        due = max(self._due.get(operation, now), now) + cost / (rate * (self.units if scales else 1))
        wait = max(0.0, due - now - _BURST_SECONDS)
        if wait > _LONGEST_WAIT:
            raise throttled()
        self._due[operation] = due
        return wait
