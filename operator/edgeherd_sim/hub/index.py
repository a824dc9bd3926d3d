"""The query index: a copy of all twins that lags behind, and remembers the dead for a while. Pure but for the clock."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from edgeherd_sim.hub import views
from edgeherd_sim.hub.model import Key
from edgeherd_sim.hub.store import Store


class Index:
    """What queries see.

    `lag` is how many seconds a new or changed twin needs to appear, `ghost` how many a deleted one needs to go.
    """

    def __init__(
        self, store: Store, *, lag: float = 0.0, ghost: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lag = lag
        self.ghost = ghost
        self._store = store
        self._clock = clock
        self._shown: dict[Key, dict[str, Any]] = {key: views.twin(*store.twin(key)) for key in store.identities}
        self._changes: deque[tuple[float, Key, dict[str, Any] | None]] = deque()
        store.listeners.append(self._note)

    def twins(self, *, modules: bool) -> list[tuple[Key, dict[str, Any]]]:
        """The twins of devices or of modules by their ids, as old as they may be."""
        self._settle()
        return sorted(((key, twin) for key, twin in self._shown.items() if bool(key[1]) is modules), key=_by_key)

    def _note(self, key: Key | None) -> None:
        if key is None:
            return
        identity = self._store.identities.get(key)
        shown = None if identity is None else views.twin(identity, self._store.twins[key])
        self._changes.append((self._clock(), key, shown))
        self._settle()

    def _settle(self) -> None:
        now = self._clock()
        waiting: deque[tuple[float, Key, dict[str, Any] | None]] = deque()
        # Changes of one twin stay in sequence: behind a ghost that lingers, its successor waits too.
        blocked: set[Key] = set()
        for at, key, twin in self._changes:
            patience = self.ghost if twin is None else self.lag
            if key in blocked or now - at < patience:
                blocked.add(key)
                waiting.append((at, key, twin))
            elif twin is None:
                self._shown.pop(key, None)
            else:
                self._shown[key] = twin
        self._changes = waiting


def _by_key(entry: tuple[Key, dict[str, Any]]) -> Key:
    return entry[0]
