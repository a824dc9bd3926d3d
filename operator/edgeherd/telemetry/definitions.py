"""All metrics: names, types, labels and what they mean. docs/metrics.md is compared with this."""

import dataclasses

from edgeherd.model import EdgeDevice, HubConnection


@dataclasses.dataclass(frozen=True, slots=True)
class Definition:
    """A metric, as docs/metrics.md has it."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


_CONTROLLER = ("controller",)
_QUEUE = ("name", "controller")
CONTROLLERS = tuple(kind.__name__.lower() for kind in (EdgeDevice, HubConnection))
RESULTS = ("success", "requeue", "requeue_after", "error")
PHASES = ("WaitingForCRDs", "Listing", "Watching", "Failed")


RECONCILES = Definition(
    "controller_runtime_reconcile_total", "counter", ("controller", "result"), "Passes, by how they ended."
)
RECONCILE_ERRORS = Definition(
    "controller_runtime_reconcile_errors_total",
    "counter",
    _CONTROLLER,
    "Passes that an error of the API server or a bug ended.",
)
RECONCILE_TIME = Definition(
    "controller_runtime_reconcile_time_seconds", "histogram", _CONTROLLER, "How long passes took."
)
WORKERS = Definition("controller_runtime_active_workers", "gauge", _CONTROLLER, "Workers that are at a pass.")
MOST_WORKERS = Definition(
    "controller_runtime_max_concurrent_reconciles", "gauge", _CONTROLLER, "Workers; both controllers share them."
)
DEPTH = Definition("workqueue_depth", "gauge", _QUEUE, "Objects that wait for a pass.")
ADDS = Definition("workqueue_adds_total", "counter", _QUEUE, "Objects that began to wait for a pass.")
RETRIES = Definition("workqueue_retries_total", "counter", _QUEUE, "Passes that are tried again after an error.")
QUEUE_TIME = Definition(
    "workqueue_queue_duration_seconds", "histogram", _QUEUE, "How long objects waited for their pass."
)
WORK_TIME = Definition("workqueue_work_duration_seconds", "histogram", _QUEUE, "How long an object kept its worker.")
UNFINISHED = Definition(
    "workqueue_unfinished_work_seconds", "gauge", _QUEUE, "How long all passes that are at work have been, together."
)
LONGEST = Definition(
    "workqueue_longest_running_processor_seconds",
    "gauge",
    _QUEUE,
    "How long the longest pass that is at work has been.",
)
LEADER = Definition("leader_election_master_status", "gauge", ("name",), "1 where this process is the leader.")
REQUESTS = Definition(
    "rest_client_requests_total",
    "counter",
    ("code", "method"),
    "Requests to the API server; those of watches are not among them.",
)
DEVICES = Definition(
    "edgeherd_devices",
    "gauge",
    ("condition", "status", "reason"),
    "EdgeDevices, by what each of their conditions says.",
)
SOFTWARE = Definition(
    "edgeherd_devices_by_runtime",
    "gauge",
    ("runtime", "agent_version"),
    "EdgeDevices, by the version of their runtime and of edgeAgent; empty where it is not known.",
)
HUBS = Definition(
    "edgeherd_hubconnections",
    "gauge",
    ("condition", "status", "reason"),
    "HubConnections, by what each of their conditions says.",
)
BUDGET = Definition(
    "edgeherd_hub_budget_remaining",
    "gauge",
    ("hubconnection",),
    "Registry operations that would be let through at once.",
)
HUB_REQUESTS = Definition(
    "edgeherd_hub_requests_total",
    "counter",
    ("hubconnection", "operation", "code"),
    "Requests to the hub; 429 is one that it throttled, <error> one without an answer.",
)
SSH_TIME = Definition(
    "edgeherd_ssh_seconds",
    "histogram",
    ("stage", "result"),
    "How long devices took: to connect and log in, to look, to apply a change, to run a check.",
)
RESTARTS = Definition(
    "edgeherd_daemon_restarts_total",
    "counter",
    (),
    "Restarts of daemons, those among them that their refusal of a file cost.",
)
CORRECTIONS = Definition(
    "edgeherd_corrections_total", "counter", ("kind",), "What somebody had changed and edgeherd put right."
)
DRIFT = Definition(
    "edgeherd_drift_total",
    "counter",
    ("action",),
    "What somebody had changed: corrected, reported (driftPolicy: Report), or followed (keys that the hub has).",
)
LEFTOVERS = Definition(
    "edgeherd_leftovers_total",
    "counter",
    ("kind",),
    "Deletions that left something behind: an identity in the hub, or a configuration on the device.",
)
WATCH = Definition("edgeherd_watch_state", "gauge", ("phase",), "1 for the phase that the watch of the cluster is in.")
BUILD = Definition("edgeherd_build_info", "gauge", ("version",), "Always 1.")

DEFINITIONS = tuple(value for value in list(globals().values()) if isinstance(value, Definition))
"""All metrics, beside those of the process."""
