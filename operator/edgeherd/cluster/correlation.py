"""Which Events are counted on, and which are one too many: client-go's EventCorrelator. Pure; bounded in memory.

The figures are client-go's (tools/record/events_cache.go): 4,096 entries, for each object 25 at once and then one in
five minutes. Events of an API server go after an hour, and are made anew then.
"""

import collections
import dataclasses
from typing import Generic, NamedTuple, TypeVar

MOST_ENTRIES = 4096
BURST = 25
REFILL_SECONDS = 300.0

_T = TypeVar("_T")


class Said(NamedTuple):
    """What makes two Events the same: of one object, with the same words."""

    uid: str
    type: str
    reason: str
    message: str


@dataclasses.dataclass(slots=True)
class Series:
    """The same Event, again and again."""

    first: str
    """When it was said first, as metav1.Time has it."""
    count: int = 0
    """How often it was admitted."""
    name: str = ""
    """The Event in the cluster; empty while there is none."""


@dataclasses.dataclass(slots=True)
class _Bucket:
    """How many Events of an object are left."""

    left: float
    at: float


class _Recent(Generic[_T]):
    """The entries that were used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: collections.OrderedDict[object, _T] = collections.OrderedDict()

    def get(self, key: object, new: _T) -> _T:
        found = self._entries.setdefault(key, new)
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)
        return found


class Correlator:
    """Remembers what was said."""

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        """`most` objects, and as many different Events, are remembered."""
        self._series = _Recent[Series](most)
        self._buckets = _Recent[_Bucket](most)

    def admit(self, said: Said, *, now: float, at: str) -> Series | None:
        """The series that an Event belongs to, with this one counted; None when its object has had too many.

        Args:
            said: the Event.
            now: seconds that nobody sets back.
            at: the time, as metav1.Time has it.
        """
        bucket = self._buckets.get(said.uid, _Bucket(BURST, now))
        bucket.left = min(BURST, bucket.left + (now - bucket.at) / REFILL_SECONDS)
        bucket.at = now
        if bucket.left < 1:
            return None
        bucket.left -= 1
        series = self._series.get(said, Series(first=at))
        series.count += 1
        return series
