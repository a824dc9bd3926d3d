"""All metrics: names, types, labels and what they mean. docs/metrics.md is compared with this."""

import dataclasses

from edgeherd.model import EdgeDevice, HubConnection


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A metric, as docs/metrics.md has it."""

    name: str
    type: str
    labels: tuple[str, ...] = ()
    help: str


_CONTROLLER = ("controller",)
_QUEUE = ("name", "controller")
CONTROLLERS = tuple(kind.__name__.lower() for kind in (EdgeDevice, HubConnection))
RESULTS = ("success", "requeue", "requeue_after", "error")
PHASES = ("WaitingForCRDs", "Listing", "Watching", "Failed")


def _definition(name: str, type_: str, labels: tuple[str, ...], text: str) -> Definition:
    return Definition(name=name, type=type_, labels=labels, help=text)


RECONCILES = _definition(
    "controller_runtime_reconcile_total", "counter", ("controller", "result"), "Passes, by how they ended."
)
RECONCILE_ERRORS = _definition(
    "controller_runtime_reconcile_errors_total",
    "counter",
    _CONTROLLER,
    "Passes that an error of the API server or a bug ended.",
)
RECONCILE_TIME = _definition(
    "controller_runtime_reconcile_time_seconds", "histogram", _CONTROLLER, "How long passes took."
)
WORKERS = _definition("controller_runtime_active_workers", "gauge", _CONTROLLER, "Workers that are at a pass.")
MOST_WORKERS = _definition(
    "controller_runtime_max_concurrent_reconciles", "gauge", _CONTROLLER, "Workers; both controllers share them."
)
DEPTH = _definition("workqueue_depth", "gauge", _QUEUE, "Objects that wait for a pass.")
ADDS = _definition("workqueue_adds_total", "counter", _QUEUE, "Objects that began to wait for a pass.")
RETRIES = _definition("workqueue_retries_total", "counter", _QUEUE, "Passes that are tried again after an error.")
QUEUE_TIME = _definition(
    "workqueue_queue_duration_seconds", "histogram", _QUEUE, "How long objects waited for their pass."
)
WORK_TIME = _definition("workqueue_work_duration_seconds", "histogram", _QUEUE, "How long an object kept its worker.")
UNFINISHED = _definition(
    "workqueue_unfinished_work_seconds", "gauge", _QUEUE, "How long all passes that are at work have been, together."
)
LONGEST = _definition(
    "workqueue_longest_running_processor_seconds",
    "gauge",
    _QUEUE,
    "How long the longest pass that is at work has been.",
)
LEADER = _definition("leader_election_master_status", "gauge", ("name",), "1 where this process is the leader.")
REQUESTS = _definition(
    "rest_client_requests_total",
    "counter",
    ("code", "method"),
    "Requests to the API server; those of watches are not among them.",
)
DEVICES = _definition(
    "edgeherd_devices",
    "gauge",
    ("condition", "status", "reason"),
    "EdgeDevices, by what each of their conditions says.",
)
SOFTWARE = _definition(
    "edgeherd_devices_by_runtime",
    "gauge",
    ("runtime", "agent_version"),
    "EdgeDevices, by the version of their runtime and of edgeAgent; empty where it is not known.",
)
HUBS = _definition(
    "edgeherd_hubconnections",
    "gauge",
    ("condition", "status", "reason"),
    "HubConnections, by what each of their conditions says.",
)
BUDGET = _definition(
    "edgeherd_hub_budget_remaining",
    "gauge",
    ("hubconnection",),
    "Registry operations that would be let through at once.",
)
HUB_REQUESTS = _definition(
    "edgeherd_hub_requests_total",
    "counter",
    ("hubconnection", "operation", "code"),
    "Requests to the hub; 429 is one that it throttled, <error> one without an answer.",
)
SSH_TIME = _definition(
    "edgeherd_ssh_seconds",
    "histogram",
    ("stage", "result"),
    "How long devices took: to connect and log in, to look, to apply a change, to run a check.",
)
RESTARTS = _definition(
    "edgeherd_daemon_restarts_total",
    "counter",
    (),
    "Restarts of daemons, those among them that their refusal of a file cost.",
)
CORRECTIONS = _definition(
    "edgeherd_corrections_total", "counter", ("kind",), "What somebody had changed and edgeherd put right."
)
DRIFT = _definition(
    "edgeherd_drift_total",
    "counter",
    ("action",),
    "What somebody had changed: corrected, reported (driftPolicy: Report), or followed (keys that the hub has).",
)
LEFTOVERS = _definition(
    "edgeherd_leftovers_total",
    "counter",
    ("kind",),
    "Deletions that left something behind: an identity in the hub, or a configuration on the device.",
)
WATCH = _definition("edgeherd_watch_state", "gauge", ("phase",), "1 for the phase that the watch of the cluster is in.")
BUILD = _definition("edgeherd_build_info", "gauge", ("version",), "Always 1.")

DEFINITIONS = tuple(value for value in list(globals().values()) if isinstance(value, Definition))
"""All metrics, beside those of the process."""
