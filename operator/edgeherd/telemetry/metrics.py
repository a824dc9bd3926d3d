"""The one door to prometheus_client: what the operator counts, and what it is asked when somebody scrapes.

Names, labels and meanings are those of controller-runtime and client-go where they have one, so that their dashboards and
alerts work. No label has the name of a device: what a fleet does must not make a series.
"""

import collections
import dataclasses
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from edgeherd.controller import workqueue
from edgeherd.controller.fleet import Fleet, Software
from edgeherd.device import observed
from edgeherd.model import EdgeDevice, Key
from edgeherd.telemetry import definitions
from edgeherd.telemetry.definitions import CONTROLLERS, PHASES, RESULTS, Definition
from edgeherd.telemetry.health import Role, State

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each counter, for nobody


RECONCILE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
QUEUE_BUCKETS = (0.001, 0.01, 0.1, 1, 10, 60, 300, 1000)
SSH_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

_CORRECTED = {"ConfigDriftCorrected": "configuration", "IdentityCorrected": "identity", "IdentityRecreated": "identity"}
_DRIFTED = {
    **dict.fromkeys(_CORRECTED, "corrected"),
    "DriftDetected": "reported",
    "IdentityKeysChanged": "followed",
    "IdentityReplaced": "followed",
}
_LEFT = {
    "DeviceCleanupSkipped": ("configuration",),
    "IdentityNotReleased": ("identity",),
    "IdentityLeft": ("identity",),
    "DeletionForced": ("configuration", "identity"),
}
COUNTED_REASONS = frozenset({*_DRIFTED, *_LEFT})
"""Reasons of transitions that are counted."""

MOST_VERSIONS = 64
"""So many pairs of versions have a series of their own. Devices say what they are, so there is a bound."""

_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}(-[0-9A-Za-z.-]{1,32})?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Who is asked when somebody scrapes. Each answers at once, and raises nothing."""

    fleet: Fleet
    budgets: Callable[[], Mapping[str, int]]
    """What is left, by the names of the HubConnections that are in use."""
    state: Callable[[], State]


class Metrics:
    """All metrics of a process, and who hears what there is to count."""

    def __init__(self, *, version: str, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`workers` is how many passes may be at work at the same time."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.queue = QueueMetrics(self.registry, clock)
        self._reconciles = _counter(definitions.RECONCILES, self.registry)
        self._errors = _counter(definitions.RECONCILE_ERRORS, self.registry)
        self._reconcile_time = _histogram(definitions.RECONCILE_TIME, RECONCILE_BUCKETS, self.registry)
        self._requests = _counter(definitions.REQUESTS, self.registry)
        self._hub_requests = _counter(definitions.HUB_REQUESTS, self.registry)
        self._budgets: Callable[[], Mapping[str, int]] = dict
        self._hub_series: set[tuple[str, str, str]] = set()
        self._ssh_time = _histogram(definitions.SSH_TIME, SSH_BUCKETS, self.registry)
        self._restarts = _counter(definitions.RESTARTS, self.registry)
        self._corrections = _counter(definitions.CORRECTIONS, self.registry)
        self._drift = _counter(definitions.DRIFT, self.registry)
        self._leftovers = _counter(definitions.LEFTOVERS, self.registry)
        _gauge(definitions.BUILD, self.registry).labels(version).set(1)
        most_workers = _gauge(definitions.MOST_WORKERS, self.registry)
        for controller in CONTROLLERS:
            most_workers.labels(controller).set(workers)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """A rate cannot see the first increase of a series that was not there before."""
        for controller in CONTROLLERS:
            for result in RESULTS:
                self._reconciles.labels(controller, result)
            self._errors.labels(controller)
            self._reconcile_time.labels(controller)
        for kind in sorted(set(_CORRECTED.values())):
            self._corrections.labels(kind)
        for action in sorted(set(_DRIFTED.values())):
            self._drift.labels(action)
        for kind in sorted({kind for kinds in _LEFT.values() for kind in kinds}):
            self._leftovers.labels(kind)

    def expose(self, sources: Sources) -> None:
        """Ask these when somebody scrapes. Once."""
        self.registry.register(_Present(sources))
        self._budgets = sources.budgets

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics, and their media type: the one of the text formats that an Accept header asks for."""
        known = self._budgets()
        for gone in [series for series in self._hub_series if series[0] not in known]:
            self._hub_series.remove(gone)
            self._hub_requests.remove(*gone)
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type

    # ---- who hears what there is to count

    def reconciled(self, key: Key, result: str, seconds: float) -> None:
        """A pass has ended: see `controller.Ended`."""
        controller = key.kind.lower()
        self._reconciles.labels(controller, result).inc()
        self._reconcile_time.labels(controller).observe(seconds)
        if result == "error":
            self._errors.labels(controller).inc()

    def heard(self, key: Key, reason: str) -> None:
        """Something happened to an object: see `reporter.Reporter`."""
        if key.kind != EdgeDevice.__name__:
            return
        if reason in _CORRECTED:
            self._corrections.labels(_CORRECTED[reason]).inc()
        if reason in _DRIFTED:
            self._drift.labels(_DRIFTED[reason]).inc()
        for kind in _LEFT.get(reason, ()):
            self._leftovers.labels(kind).inc()

    def api_answered(self, method: str, code: str) -> None:
        """The API server answered a request."""
        self._requests.labels(code, method).inc()

    def hub_answered(self, connection: str, operation: str, code: str) -> None:
        """A hub answered a request."""
        series = (connection, operation, code)
        self._hub_series.add(series)
        self._hub_requests.labels(*series).inc()

    def ssh(self, stage: str, seconds: float, *, succeeded: bool) -> None:
        """See `device.observed.Observer`."""
        self._ssh_time.labels(stage, "success" if succeeded else "error").observe(seconds)

    def restarted(self) -> None:
        """See `device.observed.Observer`."""
        self._restarts.inc()


class QueueMetrics(Collector):
    """What happens in the work queue: see `workqueue.Observer`."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[Key, float] = {}
        self._working: dict[Key, float] = {}
        self._adds = _counter(definitions.ADDS, registry)
        self._retries = _counter(definitions.RETRIES, registry)
        self._queue_time = _histogram(definitions.QUEUE_TIME, QUEUE_BUCKETS, registry)
        self._work_time = _histogram(definitions.WORK_TIME, RECONCILE_BUCKETS, registry)
        for controller in CONTROLLERS:
            for metric in (self._adds, self._retries, self._queue_time, self._work_time):
                metric.labels(controller, controller)
        registry.register(self)

    def added(self, key: Key) -> None:
        """See `workqueue.Observer`."""
        if key not in self._waiting:
            self._waiting[key] = self._clock()
            self._adds.labels(*_of(key)).inc()

    def taken(self, key: Key) -> None:
        """See `workqueue.Observer`."""
        self._working[key] = now = self._clock()
        self._queue_time.labels(*_of(key)).observe(now - self._waiting.pop(key, now))

    def done(self, key: Key) -> None:
        """See `workqueue.Observer`."""
        now = self._clock()
        self._work_time.labels(*_of(key)).observe(now - self._working.pop(key, now))

    def retried(self, key: Key) -> None:
        """See `workqueue.Observer`."""
        self._retries.labels(*_of(key)).inc()

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        now = self._clock()
        waiting = collections.Counter(key.kind.lower() for key in self._waiting)
        seconds: dict[str, list[float]] = {controller: [] for controller in CONTROLLERS}
        for key, began in self._working.items():
            seconds[key.kind.lower()].append(now - began)
        yield _family(definitions.DEPTH, (((name, name), waiting[name]) for name in CONTROLLERS))
        yield _family(definitions.WORKERS, (((name,), len(seconds[name])) for name in CONTROLLERS))
        yield _family(definitions.UNFINISHED, (((name, name), sum(seconds[name])) for name in CONTROLLERS))
        yield _family(definitions.LONGEST, (((name, name), max(seconds[name], default=0.0)) for name in CONTROLLERS))


class _Present(Collector):
    """What is so at present."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        sources = self._sources
        state = sources.state()
        yield _family(definitions.DEVICES, sources.fleet.devices.items())
        yield _family(definitions.SOFTWARE, versions(sources.fleet.software).items())
        yield _family(definitions.HUBS, sources.fleet.hubs.items())
        yield _family(definitions.BUDGET, (((name,), left) for name, left in sources.budgets().items()))
        yield _family(definitions.WATCH, (((each,), each == state.phase) for each in PHASES))
        yield _family(definitions.LEADER, [(("edgeherd",), state.role is Role.LEADER)])


def versions(software: Mapping[Software, int]) -> Mapping[tuple[str, str], int]:
    """How many devices have a version of the runtime and of edgeAgent. What is no version, or rare, is 'other'."""
    counts = collections.Counter[tuple[str, str]]()
    for found, count in software.items():
        counts[_version(found.runtime_version), _version(_tag(found.agent_image))] += count
    first = dict(counts.most_common(MOST_VERSIONS))
    rest = counts.total() - sum(first.values())
    if rest:
        first["other", "other"] = first.get(("other", "other"), 0) + rest
    return first


def _tag(image: str) -> str:
    """What tells the version in an image's name; a digest tells none."""
    name = image.rpartition("/")[2]
    return "" if not image else name.partition("@")[0].partition(":")[2] or "other"


def _version(text: str) -> str:
    return text if not text or _VERSION.fullmatch(text) else "other"


def _of(key: Key) -> tuple[str, str]:
    controller = key.kind.lower()
    return controller, controller


def _counter(definition: Definition, registry: CollectorRegistry) -> Counter:
    return Counter(definition.name, definition.help, definition.labels, registry=registry)


def _gauge(definition: Definition, registry: CollectorRegistry) -> Gauge:
    return Gauge(definition.name, definition.help, definition.labels, registry=registry)


def _histogram(definition: Definition, buckets: tuple[float, ...], registry: CollectorRegistry) -> Histogram:
    return Histogram(definition.name, definition.help, definition.labels, buckets=buckets, registry=registry)


def _family(definition: Definition, values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(definition.name, definition.help, labels=definition.labels)
    for labels, value in values:
        family.add_metric(labels, float(value))
    return family


_QUEUE_OBSERVER: type[workqueue.Observer] = QueueMetrics
_DEVICE_OBSERVER: type[observed.Observer] = Metrics
"""mypy sees that all of the protocols is here."""
