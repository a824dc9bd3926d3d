"""Objects in memory: one resourceVersion for all, a history per resource, and those who watch it."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgeherd_sim.kube.failures import expired

Body = dict[str, Any]
Resource = tuple[str, str]
"""Group and plural name."""

HISTORY = 2000
"""Events kept per resource; who resumes a watch from before them gets 410, as after a compaction."""

BACKLOG = 10_000
"""Events that a watcher may be behind before it is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write."""

    version: int
    type: str
    body: Body
    previous: Body | None


class Watcher:
    """One who watches a resource; changes arrive in `queue`, and None when it cannot go on."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Change | None] = asyncio.Queue()

    def push(self, change: Change) -> None:
        """Hand over a change."""
        if self.queue.qsize() < BACKLOG:
            self.queue.put_nowait(change)
        else:
            self.queue.put_nowait(None)


@dataclass(slots=True)
class _Resource:
    objects: dict[tuple[str, str], Body]
    history: deque[Change]
    watchers: set[Watcher]
    compacted: int


class Store:
    """All objects. Bodies that are in here are never changed: a write puts a new body in place."""

    def __init__(self) -> None:
        self.version = 1
        self._resources: dict[Resource, _Resource] = {}
        self.changed = asyncio.Event()

    def _of(self, resource: Resource) -> _Resource:
        found = self._resources.get(resource)
        if found is None:
            found = self._resources[resource] = _Resource({}, deque(), set(), 0)
        return found

    def resources(self) -> list[Resource]:
        """The resources that have had objects."""
        return list(self._resources)

    def get(self, resource: Resource, namespace: str, name: str) -> Body | None:
        """One object; `namespace` is empty for cluster-scoped ones."""
        return self._of(resource).objects.get((namespace, name))

    def objects(self, resource: Resource, namespace: str = "") -> list[Body]:
        """Objects in the order of namespace and name; of all namespaces when it is empty."""
        objects = self._of(resource).objects
        return [objects[key] for key in sorted(objects) if not namespace or key[0] == namespace]

    def put(self, resource: Resource, body: Body) -> Body:
        """Store a body, which gets the next resourceVersion."""
        meta = body["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        held = self._of(resource)
        previous = held.objects.get(key)
        self.version += 1
        meta["resourceVersion"] = str(self.version)
        held.objects[key] = body
        self._tell(held, "MODIFIED" if previous else "ADDED", body, previous)
        return body

    def remove(self, resource: Resource, namespace: str, name: str) -> Body:
        """Take an object out; the last body has the resourceVersion of the removal."""
        held = self._of(resource)
        previous = held.objects.pop((namespace, name))
        self.version += 1
        last = previous | {"metadata": previous["metadata"] | {"resourceVersion": str(self.version)}}
        self._tell(held, "DELETED", last, previous)
        return last

    def _tell(self, held: _Resource, kind: str, body: Body, previous: Body | None) -> None:
        change = Change(version=self.version, type=kind, body=body, previous=previous)
        held.history.append(change)
        if len(held.history) > HISTORY:
            held.compacted = held.history.popleft().version
        for watcher in held.watchers:
            watcher.push(change)
        self.changed.set()

    def since(self, resource: Resource, version: int) -> list[Change]:
        """What happened after a resourceVersion.

        Raises:
            Failure: 410, the history does not reach that far back.
        """
        held = self._of(resource)
        if version < held.compacted:
            raise expired(f"too old resource version: {version} ({held.compacted})")
        return [change for change in held.history if change.version > version]

    def compact(self) -> None:
        """Forget all history, as etcd's compaction does: watches from before now get 410."""
        for held in self._resources.values():
            held.history.clear()
            held.compacted = self.version

    def end_watches(self, resource: Resource) -> None:
        """End the watches of a resource that is not served any more."""
        for watcher in self._of(resource).watchers:
            watcher.queue.put_nowait(None)

    @contextlib.contextmanager
    def watching(self, resource: Resource) -> Iterator[Watcher]:
        """Be told of the changes of a resource from now on."""
        watcher = Watcher()
        held = self._of(resource)
        held.watchers.add(watcher)
        try:
            yield watcher
        finally:
            held.watchers.discard(watcher)
