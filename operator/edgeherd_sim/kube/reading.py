"""Lists and watches, in pieces, in order, and selected."""

import asyncio
import base64
import json
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from edgeherd_sim.kube import builtin, selectors
from edgeherd_sim.kube.failures import Failure, bad_request, expired
from edgeherd_sim.kube.kinds import Kind
from edgeherd_sim.kube.objects import Body, digits
from edgeherd_sim.kube.store import Change, Store

BOOKMARK_SECONDS = 45.0
_SNAPSHOTS = 64
_SNAPSHOT_SECONDS = 300.0
_WATCH_SECONDS = 1800.0
_INITIAL_END = {"annotations": {"k8s.io/initial-events-end": "true"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What of a resource is wanted."""

    kind: Kind
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    name: str = ""

    def test(self) -> Callable[[Body], bool]:
        """Whether a stored object is wanted.

        Raises:
            Failure: 400, a selector cannot be read.
        """
        kind = self.kind
        custom = kind.custom.selectable if kind.custom else ()
        allowed = selectors.supported(kind.group, kind.kind, custom, namespaced=kind.namespaced)
        chosen = [
            test
            for test in (
                selectors.labels(self.label_selector),
                selectors.fields(self.field_selector, allowed),
            )
            if test is not None
        ]

        def wanted(body: Body) -> bool:
            info = body["metadata"]
            if self.namespace and info.get("namespace", "") != self.namespace:
                return False
            if self.name and info["name"] != self.name:
                return False
            view = builtin.from_storage(kind, body)
            return all(test(view) for test in chosen)

        return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A piece of a list."""

    items: list[Body]
    version: int
    token: str = ""
    remaining: int | None = None


class Lists:
    """Lists, whose later pieces come from the state at the time of the first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._snapshots: OrderedDict[str, tuple[float, int, list[Body]]] = OrderedDict()

    def page(self, query: Query, *, limit: int = 0, token: str = "", version: str = "") -> Page:
        """A list, or a piece of it.

        Raises:
            Failure: 400, 410 or 504.
        """
        if token:
            return self._next(query, limit, token)
        wanted = digits(version or "0")
        if wanted is None:
            raise bad_request(
                f'invalid resource version: resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing '
                f'"{version}": invalid syntax'
            )
        if wanted > self._store.version:
            raise too_large(wanted, self._store.version)
        test = query.test()
        items = [body for body in self._store.objects(query.kind.stored, query.namespace) if test(body)]
        return self._cut(query, items, self._store.version, limit)

    def _next(self, query: Query, limit: int, token: str) -> Page:
        try:
            found = json.loads(base64.urlsafe_b64decode(token))
            key, start = str(found["id"]), int(found["start"])
        except (ValueError, KeyError, TypeError) as exc:
            raise bad_request(f"invalid continue token: continue key is not valid: {exc}") from exc
        taken, version, items = self._snapshots.get(key, (0.0, 0, []))
        if not items or time.monotonic() - taken > _SNAPSHOT_SECONDS:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter."
            )
        return self._cut(query, items, version, limit, start=start, key=key)

    def _cut(self, query: Query, items: list[Body], version: int, limit: int, *, start: int = 0, key: str = "") -> Page:
        end = start + limit if limit > 0 else len(items)
        if end >= len(items):
            return Page(items=items[start:], version=version)
        if not key:
            key = f"{version}-{random.getrandbits(32):08x}"
            self._snapshots[key] = (time.monotonic(), version, items)
            while len(self._snapshots) > _SNAPSHOTS:
                self._snapshots.popitem(last=False)
        token = base64.urlsafe_b64encode(json.dumps({"id": key, "start": end}).encode()).decode()
        selected = bool(query.label_selector or query.field_selector)
        remaining = None if selected else len(items) - end
        return Page(items=items[start:end], version=version, token=token, remaining=remaining)


def too_large(wanted: int, current: int) -> Failure:
    """The resourceVersion lies in the future."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return Failure(504, "Timeout", message, details)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a watch; a bookmark's body has a version only."""

    type: str
    body: Body


async def watch(
    store: Store,
    query: Query,
    *,
    version: str = "",
    bookmarks: bool = False,
    initial: bool | None = None,
    seconds: float = 0,
) -> AsyncIterator[Event]:
    """The events of a resource until the time is over or the reader stops.

    Args:
        store: The objects.
        query: Which of them.
        version: Go on after this resourceVersion; without one, begin with what there is.
        bookmarks: Send bookmarks now and then.
        initial: Whether to begin with what there is and end that by a bookmark.
        seconds: How long; some time between half an hour and an hour when 0.

    Raises:
        Failure: 400 or 410, before the first event.
    """
    test = query.test()
    since = digits(version or "0")
    if since is None:
        raise bad_request(
            f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'
        )
    loop = asyncio.get_running_loop()
    ends = loop.time() + (seconds or _WATCH_SECONDS * random.uniform(1, 2))  # noqa: S311 - spreads load
    with store.watching(query.kind.stored) as watcher:
        start = store.version
        for event in _begin(store, query, test, since, initial):
            yield event
        if initial:
            yield _bookmark(query.kind, start, _INITIAL_END)
        next_bookmark = loop.time() + BOOKMARK_SECONDS
        while (left := ends - loop.time()) > 0:
            wait = min(left, max(0.0, next_bookmark - loop.time())) if bookmarks else left
            try:
                change = await asyncio.wait_for(watcher.queue.get(), wait)
            except TimeoutError:
                if bookmarks and loop.time() >= next_bookmark:
                    next_bookmark = loop.time() + BOOKMARK_SECONDS
                    yield _bookmark(query.kind, store.version, {})
                continue
            if change is None:
                return
            seen = _seen(change, test)
            if seen is not None:
                yield seen
        if bookmarks:
            yield _bookmark(query.kind, store.version, {})


def _begin(store: Store, query: Query, test: Callable[[Body], bool], since: int, initial: bool | None) -> list[Event]:
    if initial or (since == 0 and initial is not False):
        objects = store.objects(query.kind.stored, query.namespace)
        return [Event(type="ADDED", body=body) for body in objects if test(body)]
    if since == 0:
        return []
    seen = (_seen(change, test) for change in store.since(query.kind.stored, since))
    return [event for event in seen if event is not None]


def _seen(change: Change, test: Callable[[Body], bool]) -> Event | None:
    """A change as one sees it who watches a selection: objects enter it and leave it."""
    if change.type == "DELETED":
        return Event(type="DELETED", body=change.body) if test(change.body) else None
    now, before = test(change.body), change.previous is not None and test(change.previous)
    if now:
        return Event(type="MODIFIED" if before else "ADDED", body=change.body)
    if before and change.previous is not None:
        # The last body that was in the selection, with the version of the change that took it out.
        version = change.body["metadata"]["resourceVersion"]
        last = change.previous | {"metadata": change.previous["metadata"] | {"resourceVersion": version}}
        return Event(type="DELETED", body=last)
    return None


def _bookmark(kind: Kind, version: int, more: Body) -> Event:
    body = {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "metadata": {"resourceVersion": str(version), "creationTimestamp": None, **more},
    }
    return Event(type="BOOKMARK", body=body)


def fields_of(body: Body) -> Any:
    """The part of an object that `PartialObjectMetadata` shows."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": body.get("metadata", {}),
    }
