"""Tells what happened to an object: a line in the log, a count, and an Event in the cluster. One for each transition."""

import logging
from collections.abc import Callable, Iterable

from edgeherd.cluster.errors import ApiError, ForbiddenError
from edgeherd.cluster.port import Cluster
from edgeherd.model import EdgeDevice, HubConnection, Key
from edgeherd.reconcile.errors import REFUSED_BY_API_SERVER, from_api_error
from edgeherd.reconcile.step import Event

_log = logging.getLogger("edgeherd.reconcile")


class Reporter:
    """Tells it, in the order in which it happened."""

    def __init__(self, cluster: Cluster, *, heard: Callable[[Key, str], None] = lambda *_: None) -> None:
        """`heard` is told the object and the reason of each."""
        self._cluster = cluster
        self._heard = heard
        self._unwritten: dict[Key, str] = {}
        """Why the status of an object cannot be written, so that it is told once."""

    async def report(self, subject: EdgeDevice | HubConnection, events: Iterable[Event]) -> None:
        """Tell it. An Event is a courtesy: a refusal is no trouble of the object, and its words are in the log."""
        for event in events:
            self.note(subject.key, event)
            if event.log_only:
                continue
            try:
                await self._cluster.event(subject, warning=event.warning, reason=event.reason, message=event.message)
            except ApiError as exc:
                extra = {"key": subject.key, "reason": event.reason}
                _log.warning("the API server refuses the Event (%s): %s", exc, event.message, extra=extra)

    async def status_refused(self, subject: EdgeDevice | HubConnection, error: ForbiddenError) -> None:
        """Tell, once for a reason, that the status may not be written: the log and an Event are all that is left."""
        if self._unwritten.get(subject.key) == error.message:
            return
        self._unwritten[subject.key] = error.message
        message = f"The status is older: {from_api_error(error).message}"
        await self.report(subject, [Event(REFUSED_BY_API_SERVER, message, warning=True)])

    def status_written(self, key: Key) -> None:
        """It can be written; or the object is gone, and nothing is to be remembered of it."""
        self._unwritten.pop(key, None)

    def writes_status(self, key: Key) -> bool:
        """Whether the status could be written when it was tried last."""
        return key not in self._unwritten

    def note(self, key: Key, event: Event) -> None:
        """Tell it in the log and in the metrics alone."""
        level = logging.WARNING if event.warning else logging.INFO
        _log.log(level, "%s", event.message, extra={"key": key, "reason": event.reason})
        self._heard(key, event.reason)
