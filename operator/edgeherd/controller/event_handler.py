"""From watch events to keys in the work queue: only what can matter to a pass."""

import logging
import random
from collections.abc import Mapping
from typing import Any

from edgeherd import resource
from edgeherd.cache import digest
from edgeherd.controller.index import DeviceIndex
from edgeherd.controller.workqueue import WorkQueue
from edgeherd.model import EdgeDevice, HubConnection, Key, Priority

_log = logging.getLogger(__name__)


class EventHandler:
    """Takes the events of both kinds. O(1), no I/O."""

    def __init__(self, queue: WorkQueue, index: DeviceIndex) -> None:
        self._queue = queue
        self._index = index
        self._seen: dict[Key, bytes] = {}
        """A hash of what matters of each device: its annotations may have 256 KiB."""
        self._seen_hubs: dict[Key, tuple[object, ...]] = {}

    def on_device(self, event: str, body: Mapping[str, Any]) -> None:
        """An EdgeDevice was seen. Our own status writes change nothing that matters, and cause no pass."""
        try:
            device = resource.edge_device(body)
        except (KeyError, TypeError, ValueError):
            _log.exception("an EdgeDevice cannot be read; is the CRD of this version installed?")
            return
        if event == "DELETED":
            self.gone(device.key)
            return
        self._index.update(device)
        jump = device.ssh.jump
        self._queue.put_behind(device.key, f"{jump.host}:{jump.port}" if jump is not None else "")
        predicate = digest(
            device.uid,
            device.generation,
            device.deleted_at,
            device.force_delete,
            device.requested_at,
            device.renew_key,
            device.check_requested,
            bool(device.finalizers),
        )
        if self._seen.get(device.key) == predicate:
            return
        is_listed = not event
        self._seen[device.key] = predicate
        if device.deleting:
            self._queue.add(device.key, Priority.DELETE)
        elif is_listed and _at_rest(device):
            # After a restart of the operator a fleet at rest is looked at spread out, not all at once.
            self._queue.add_after(device.key, random.uniform(0, device.interval_seconds))  # noqa: S311 - spreads load
        else:
            self._queue.add(device.key)

    def on_hub(self, event: str, body: Mapping[str, Any]) -> None:
        """A HubConnection was seen; when it changed, or got well, its devices are looked at."""
        try:
            hub = resource.hub_connection(body)
        except (KeyError, TypeError, ValueError):
            _log.exception("a HubConnection cannot be read; is the CRD of this version installed?")
            return
        if event == "DELETED":
            self.gone(hub.key)
            return
        before = self._seen_hubs.get(hub.key)
        predicate = (hub.uid, hub.generation, _is_ready(hub))
        self._index.update_hub(hub)
        if before == predicate:
            return
        self._seen_hubs[hub.key] = predicate
        if before is None or before[:2] != predicate[:2]:
            self._queue.add(hub.key)
        if before is None and not event:
            return  # listed at the start, as its devices are
        for device in self._index.of_hub(hub.name):
            self._queue.add(device)

    def gone(self, key: Key) -> None:
        """An object is not there any more, as an event said, or a list that it is missing from."""
        self.forget(key)
        self._queue.add(key, Priority.DELETE)

    def forget(self, key: Key) -> None:
        """The same, as a pass over it found. Who waited for it is looked at."""
        concerned = self._index.delete(key)
        if key.kind == HubConnection.__name__:
            known = self._seen_hubs.pop(key, None) is not None
            concerned = self._index.of_hub(key.name) if known else ()
        self._seen.pop(key, None)
        self._queue.put_behind(key, "")
        for device in concerned:
            self._queue.add(device)


def _at_rest(device: EdgeDevice) -> bool:
    ready = device.status.condition("Ready")
    healthy = ready is not None and ready.status == "True" and ready.observed_generation == device.generation
    checked = device.status.check.handled_at if device.status.check else ""
    answered = not device.check_requested or device.check_requested == checked
    return healthy and answered and device.requested_at == device.status.last_handled_reconcile_at


def _is_ready(hub: HubConnection) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in hub.conditions)
