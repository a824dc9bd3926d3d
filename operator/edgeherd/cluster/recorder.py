"""Events: posted one after the other, in the order of what happened; what is repeated is counted on the first."""

import datetime as dt
import socket

from edgeherd import fitting
from edgeherd.clock import Clock
from edgeherd.cluster.client import FIELD_MANAGER, MERGE_PATCH, ApiClient, Body, path
from edgeherd.cluster.correlation import Correlator, Said, Series
from edgeherd.cluster.errors import ApiError
from edgeherd.model import GROUP, VERSION, EdgeDevice, HubConnection

_ACTION = "Reconcile"
"""What was being done; an Event with an `eventTime` must say it."""

_QUERY = {"fieldManager": FIELD_MANAGER}


class EventRecorder:
    """Records Events."""

    def __init__(self, api: ApiClient, *, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._correlator = Correlator()
        self._last = 0

    async def record(self, subject: EdgeDevice | HubConnection, *, warning: bool, reason: str, message: str) -> None:
        """See `port.Cluster.event`. Whoever calls waits, so the Events of a pass keep their order."""
        said = Said(
            uid=subject.uid,
            type="Warning" if warning else "Normal",
            reason=reason[: fitting.EVENT_REASON],
            message=fitting.event_message(message),
        )
        stamp = self._clock.now()
        series = self._correlator.admit(said, now=self._clock.monotonic(), at=stamp)
        if series is None:
            return
        if series.name and await self._counted(subject, series, stamp):
            return
        await self._create(subject, said, series, stamp)

    async def _counted(self, subject: EdgeDevice | HubConnection, series: Series, stamp: str) -> bool:
        """Count on the Event that is there; False when it has gone."""
        where = path("", "v1", "events", namespace=_namespace(subject), name=series.name)
        body = {"count": series.count, "lastTimestamp": stamp}
        try:
            await self._api.request("PATCH", where, query=_QUERY, body=body, content_type=MERGE_PATCH)
        except ApiError as exc:
            if exc.status != 404:
                raise
            return False
        return True

    async def _create(self, subject: EdgeDevice | HubConnection, said: Said, series: Series, stamp: str) -> None:
        nanoseconds = self._moment()
        name = f"{fitting.event_prefix(subject.name)}{nanoseconds:x}"
        when = dt.datetime.fromtimestamp(nanoseconds / 1e9, dt.UTC)
        body: Body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": _namespace(subject)},
            "involvedObject": _reference(subject),
            "type": said.type,
            "reason": said.reason,
            "message": said.message,
            "action": _ACTION,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": socket.gethostname(),
            "eventTime": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "firstTimestamp": series.first,
            "lastTimestamp": stamp,
            "count": series.count,
        }
        where = path("", "v1", "events", namespace=_namespace(subject))
        await self._api.request("POST", where, query=_QUERY, body=body, content_type="application/json")
        series.name = name

    def _moment(self) -> int:
        """Now, in nanoseconds since 1970, and later than the one before.

        It is in the name, as client-go has it: time stamps have whole seconds, and what is equal is sorted by name.
        """
        self._last = max(self._last + 1, int(self._clock.wall() * 1e9))
        return self._last


def _namespace(subject: EdgeDevice | HubConnection) -> str:
    """Events of what has no namespace are in 'default': the API server takes them nowhere else."""
    return subject.namespace if isinstance(subject, EdgeDevice) else "default"


def _reference(subject: EdgeDevice | HubConnection) -> Body:
    body = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": type(subject).__name__,
        "name": subject.name,
        "uid": subject.uid,
    }
    if isinstance(subject, EdgeDevice):
        body |= {"namespace": subject.namespace, "resourceVersion": subject.resource_version}
    return body
