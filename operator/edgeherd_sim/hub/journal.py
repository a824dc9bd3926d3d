"""The request log: who asked what and how it ended. No header and no body is ever kept, hence no secret."""

import dataclasses
from collections import deque
from collections.abc import Iterator
from typing import Any

_LENGTH = 10_000


@dataclasses.dataclass(slots=True, kw_only=True)
class Entry:
    """One request. `status` 0 stands for a connection that was cut instead of an answer."""

    at: str
    method: str
    path: str
    query: str = ""
    status: int = 0
    error: str = ""
    caller: str = ""
    faults: tuple[str, ...] = ()


class Journal:
    """The last 10,000 requests in the order in which they came."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_LENGTH)

    def add(self, entry: Entry) -> None:
        """Remember a request; its end is filled in later."""
        self._entries.append(entry)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def listed(self) -> list[dict[str, Any]]:
        """The entries as JSON."""
        return [dataclasses.asdict(entry) for entry in self._entries]

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)
