"""What the metrics say, and that no device makes a series of its own."""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

import bodies
from edgeherd.controller.fleet import Fleet, Software
from edgeherd.controller.workqueue import QueueState
from edgeherd.model import Condition, DeviceStatus, EdgeDevice, HubConnection, Key, Status
from edgeherd.telemetry import definitions, metrics
from edgeherd.telemetry.health import Role, State
from edgeherd.telemetry.metrics import Metrics, Sources

ROOT = pathlib.Path(__file__).parents[2]
DEVICE, HUB = Key("EdgeDevice", "plant-a", "press-01"), Key("HubConnection", "", "contoso")
CONDITIONS = ("Ready", "IdentityReady", "SecretReady", "Reachable", "ConfigApplied", "DaemonHealthy", "Paused")


def device(name: str, reason: str = "Ready", version: str = "1.5.44") -> EdgeDevice:
    """A device as the watch shows it."""
    said = tuple(Condition(type=each, status="True", reason=reason, message=f"of {name}") for each in CONDITIONS)
    found = DeviceStatus(runtime_version=version, agent_image=f"mcr.microsoft.com/azureiotedge-agent:{version}")
    return dataclasses.replace(bodies.edge_device(), name=name, status=Status(conditions=said, device=found))


class Lab:
    """The metrics of a process, its clock, and what it is asked."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.fleet = Fleet()
        self.budgets: dict[str, int] = {"contoso": 50}
        queue = QueueState(may_take=False, still_seconds=0, longest_seconds=0)
        self.state = State(role=Role.LEADER, phase="Watching", phase_seconds=0, queue=queue)
        self.metrics = Metrics(version="1.2.3", workers=80, clock=lambda: self.seconds)
        self.metrics.expose(Sources(fleet=self.fleet, budgets=lambda: self.budgets, state=lambda: self.state))

    @property
    def text(self) -> str:
        """What a scrape shows."""
        return self.metrics.text()[0].decode()

    @property
    def samples(self) -> dict[str, float]:
        """All of it that is not of the process, as `name{label="value"}`, but for buckets."""
        return {
            f"{sample.name}{_labels(sample.labels)}": sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            if not sample.name.startswith("process_") and not sample.name.endswith("_bucket")
        }

    def changed(self, before: Mapping[str, float]) -> dict[str, float]:
        """What is other than it was."""
        now = self.samples
        assert [name for name in before if name not in now] == []
        return {name: value for name, value in now.items() if before.get(name) != value}


def _labels(labels: Mapping[str, str]) -> str:
    said = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{said}}}" if said else ""


def used() -> Lab:
    """One in which everything has happened once."""
    lab = Lab()
    lab.fleet.update(device("press-01"))
    lab.fleet.update_hub(_hub())
    lab.metrics.hub_answered("contoso", "get_identity", "429")
    lab.metrics.api_answered("PATCH", "200")
    lab.metrics.ssh("connect", 0.2, succeeded=True)
    return lab


def _hub() -> HubConnection:
    ready = Condition(type="Ready", status="True", reason="Ready", message="x")
    return dataclasses.replace(bodies.hub_connection(), conditions=(ready,))


def test_the_metrics_are_those_of_the_documentation() -> None:
    """Names, types, labels and words: of what is served, of the definitions, and of docs/metrics.md."""
    rows = re.findall(
        r"^\| `([a-z_]+)` \| (\w+) \| (.*?) \| (.+?) \|$", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE
    )
    documented = {name: (type_, sorted(re.findall(r"`([a-z_]+)`", labels)), text) for name, type_, labels, text in rows}
    defined = {each.name: (each.type, sorted(each.labels), each.help) for each in definitions.DEFINITIONS}
    assert documented == defined
    served = {}
    for family in text_string_to_metric_families(used().text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = next(sorted(set(sample.labels) - {"le"}) for sample in family.samples)
        served[name] = (family.type, labels, family.documentation)
    assert {name: kept for name, kept in served.items() if not name.startswith("process_")} == defined
    assert "process_resident_memory_bytes" in served


def test_what_was_never_seen_is_zero_already() -> None:
    """A rate cannot see the first increase of a series that was not there."""
    samples = Lab().samples
    zeros = {name for name, value in samples.items() if not value}
    expected = {
        *(f'edgeherd_corrections_total{{kind="{kind}"}}' for kind in ("configuration", "identity")),
        *(f'edgeherd_drift_total{{action="{action}"}}' for action in ("corrected", "followed", "reported")),
        *(f'edgeherd_leftovers_total{{kind="{kind}"}}' for kind in ("configuration", "identity")),
        "edgeherd_daemon_restarts_total",
        *(
            f'controller_runtime_reconcile_total{{controller="{controller}",result="{result}"}}'
            for controller, result in itertools.product(definitions.CONTROLLERS, definitions.RESULTS)
        ),
    }
    assert expected <= zeros
    most = {name: value for name, value in samples.items() if value}
    assert most == {
        'controller_runtime_max_concurrent_reconciles{controller="edgedevice"}': 80,
        'controller_runtime_max_concurrent_reconciles{controller="hubconnection"}': 80,
        'edgeherd_build_info{version="1.2.3"}': 1,
        'edgeherd_hub_budget_remaining{hubconnection="contoso"}': 50,
        'edgeherd_watch_state{phase="Watching"}': 1,
        'leader_election_master_status{name="edgeherd"}': 1,
    }


def test_the_queue() -> None:
    """Waiting and working are seconds of the present, too."""
    lab = Lab()
    before, queue = lab.samples, lab.metrics.queue
    other = DEVICE._replace(name="press-02")
    queue.added(DEVICE)
    lab.seconds = 2
    queue.added(DEVICE)
    queue.added(other)
    queue.added(HUB)
    queue.taken(DEVICE)
    queue.taken(HUB)
    lab.seconds = 5
    queue.done(HUB)
    queue.retried(HUB)
    device, hub = (f'{{controller="{each}",name="{each}"}}' for each in definitions.CONTROLLERS)
    assert lab.changed(before) == {
        f"workqueue_adds_total{device}": 2,
        f"workqueue_adds_total{hub}": 1,
        f"workqueue_depth{device}": 1,
        f"workqueue_queue_duration_seconds_count{device}": 1,
        f"workqueue_queue_duration_seconds_sum{device}": 2,
        f"workqueue_queue_duration_seconds_count{hub}": 1,
        f"workqueue_work_duration_seconds_count{hub}": 1,
        f"workqueue_work_duration_seconds_sum{hub}": 3,
        f"workqueue_retries_total{hub}": 1,
        f"workqueue_unfinished_work_seconds{device}": 3,
        f"workqueue_longest_running_processor_seconds{device}": 3,
        'controller_runtime_active_workers{controller="edgedevice"}': 1,
    }


@pytest.mark.parametrize(("result", "errors"), [("success", 0), ("requeue", 0), ("requeue_after", 0), ("error", 1)])
def test_passes(result: str, errors: int) -> None:
    """An error is counted twice, as controller-runtime does it."""
    lab = Lab()
    before = lab.samples
    lab.metrics.reconciled(DEVICE, result, 0.5)
    expected = {
        f'controller_runtime_reconcile_total{{controller="edgedevice",result="{result}"}}': 1,
        'controller_runtime_reconcile_time_seconds_count{controller="edgedevice"}': 1,
        'controller_runtime_reconcile_time_seconds_sum{controller="edgedevice"}': 0.5,
    }
    if errors:
        expected['controller_runtime_reconcile_errors_total{controller="edgedevice"}'] = errors
    assert lab.changed(before) == expected


@pytest.mark.parametrize(
    ("reason", "counted"),
    [
        ("ConfigDriftCorrected", ['corrections_total{kind="configuration"}', 'drift_total{action="corrected"}']),
        ("IdentityCorrected", ['corrections_total{kind="identity"}', 'drift_total{action="corrected"}']),
        ("IdentityRecreated", ['corrections_total{kind="identity"}', 'drift_total{action="corrected"}']),
        ("DriftDetected", ['drift_total{action="reported"}']),
        ("IdentityKeysChanged", ['drift_total{action="followed"}']),
        ("IdentityReplaced", ['drift_total{action="followed"}']),
        ("DeviceCleanupSkipped", ['leftovers_total{kind="configuration"}']),
        ("IdentityNotReleased", ['leftovers_total{kind="identity"}']),
        ("IdentityLeft", ['leftovers_total{kind="identity"}']),
        ("DeletionForced", ['leftovers_total{kind="configuration"}', 'leftovers_total{kind="identity"}']),
        ("IdentityUpdated", []),
        ("IdentityRetained", []),
        ("Ready", []),
    ],
)
def test_what_happened_to_devices(reason: str, counted: list[str]) -> None:
    """By the reasons of Events; those of a HubConnection are not about a device."""
    lab = Lab()
    before = lab.samples
    lab.metrics.heard(HUB, reason)
    assert lab.changed(before) == {}
    lab.metrics.heard(DEVICE, reason)
    assert lab.changed(before) == {f"edgeherd_{name}": 1 for name in counted}


def test_reasons_that_are_counted_are_said_somewhere() -> None:
    """One that was renamed would be counted no more, and nobody would notice."""
    package = pathlib.Path(metrics.__file__).parents[1] / "reconcile"
    source = "".join(path.read_text() for path in package.rglob("*.py"))
    assert [reason for reason in sorted(metrics.COUNTED_REASONS) if f'"{reason}"' not in source] == []


def test_requests_and_sessions() -> None:
    """429 is a code of its own."""
    lab = Lab()
    before = lab.samples
    lab.metrics.hub_answered("contoso", "get_identity", "429")
    lab.metrics.api_answered("GET", "<error>")
    lab.metrics.ssh("apply", 3, succeeded=False)
    lab.metrics.restarted()
    assert lab.changed(before) == {
        'edgeherd_hub_requests_total{code="429",hubconnection="contoso",operation="get_identity"}': 1,
        'rest_client_requests_total{code="<error>",method="GET"}': 1,
        'edgeherd_ssh_seconds_count{result="error",stage="apply"}': 1,
        'edgeherd_ssh_seconds_sum{result="error",stage="apply"}': 3,
        "edgeherd_daemon_restarts_total": 1,
    }


def test_devices_are_counted_by_what_is_said_of_them() -> None:
    """Those that are gone are not."""
    lab = Lab()
    before = lab.samples
    for name in ("a", "b", "c"):
        lab.fleet.update(device(name))
    lab.fleet.update(device("b", "DeviceUnreachable", "1.1.15"))
    lab.fleet.delete(Key("EdgeDevice", "plant-a", "c"))
    changed = lab.changed(before)
    assert changed == {
        **{
            f'edgeherd_devices{{condition="{each}",reason="{reason}",status="True"}}': 1
            for each in CONDITIONS
            for reason in ("Ready", "DeviceUnreachable")
        },
        'edgeherd_devices_by_runtime{agent_version="1.5.44",runtime="1.5.44"}': 1,
        'edgeherd_devices_by_runtime{agent_version="1.1.15",runtime="1.1.15"}': 1,
    }
    for name in ("a", "b"):
        lab.fleet.delete(Key("EdgeDevice", "plant-a", name))
    assert lab.samples == before


@pytest.mark.parametrize("phase", [*definitions.PHASES, ""])
def test_the_phase_of_the_watch(phase: str) -> None:
    """One at a time; none for who stands by, who does not lead either."""
    lab = Lab()
    lab.state = dataclasses.replace(lab.state, role=Role.STANDBY, phase=phase)
    shown = {name: value for name, value in lab.samples.items() if "watch_state" in name or "leader" in name}
    assert shown == {
        **{f'edgeherd_watch_state{{phase="{each}"}}': each == phase for each in definitions.PHASES},
        'leader_election_master_status{name="edgeherd"}': 0,
    }


def _series(lab: Lab) -> set[str]:
    """The names of all series, those of buckets too."""
    return {line.rpartition(" ")[0] for line in lab.text.splitlines() if not line.startswith("#")}


def test_a_dead_device_makes_no_series() -> None:
    """A thousand of them, each tried, failed, and in the end deleted, leave what one leaves; no name shows anywhere."""

    def lives(lab: Lab, names: list[str]) -> None:
        for name in names:
            key = DEVICE._replace(name=name)
            lab.fleet.update(device(name, "DeviceUnreachable"))
            for _ in range(3):
                lab.metrics.queue.added(key)
                lab.metrics.queue.taken(key)
                lab.metrics.ssh("connect", 10, succeeded=False)
                lab.metrics.queue.done(key)
                lab.metrics.reconciled(key, "requeue_after", 10)
                lab.metrics.heard(key, "DeviceUnreachable")
            lab.metrics.heard(key, "DeviceCleanupSkipped")
            lab.fleet.delete(key)

    one, many = Lab(), Lab()
    lives(one, ["dead-0"])
    lives(many, [f"dead-{number}" for number in range(1000)])
    assert _series(many) == _series(one)
    assert "dead-" not in many.text


def test_series_of_a_hub_connection_go_with_it() -> None:
    """Those of others stay."""
    lab = Lab()
    lab.budgets = {"contoso": 50, "other": 50}
    for name in ("contoso", "other"):
        lab.metrics.hub_answered(name, "get_twin", "200")
    assert lab.text.count('hubconnection="contoso"') == 2
    lab.budgets = {"other": 50}
    assert (lab.text.count('hubconnection="contoso"'), lab.text.count('hubconnection="other"')) == (0, 2)
    lab.budgets = {"contoso": 50, "other": 50}
    assert lab.text.count('hubconnection="contoso"') == 1


@pytest.mark.parametrize(
    ("runtime", "image", "expected"),
    [
        ("1.5.44", "mcr.microsoft.com/azureiotedge-agent:1.5.44", ("1.5.44", "1.5.44")),
        ("1.1.15~rc1", "registry.example:5000/agent:1.4", ("other", "1.4")),
        ("1.1.15", "agent:1.5.0-linux-arm64v8", ("1.1.15", "1.5.0-linux-arm64v8")),
        ("", "", ("", "")),
        ("1.1.15", "registry.example:5000/agent", ("1.1.15", "other")),
        ("1.1.15", f"agent@sha256:{'0a' * 32}", ("1.1.15", "other")),
        ("1.1.15", "agent:latest", ("1.1.15", "other")),
    ],
)
def test_versions(runtime: str, image: str, expected: tuple[str, str]) -> None:
    """What is no version is not shown as it is: a device, or who names an image, may write anything."""
    assert metrics.versions({Software(runtime, image): 3}) == {expected: 3}


def test_versions_are_bounded() -> None:
    """The most frequent ones have a series; together the devices stay all."""
    software = {Software(f"1.{number}", "agent:1.0"): 1 + (number == 999) for number in range(1000)}
    found = metrics.versions(software)
    assert (len(found), sum(found.values()), found["1.999", "1.0"]) == (metrics.MOST_VERSIONS + 1, 1001, 2)
    assert found["other", "other"] == 1001 - metrics.MOST_VERSIONS - 1


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [("", "text/plain; version=0.0.4; charset=utf-8"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores")],
)  # fmt: skip
def test_the_form_is_what_prometheus_asks_for(accept: str, media_type: str) -> None:
    """The plain one, unless it says otherwise."""
    text, found = Lab().metrics.text(accept)
    assert (found, text.endswith(b"# EOF\n")) == (media_type, "openmetrics" in accept)
