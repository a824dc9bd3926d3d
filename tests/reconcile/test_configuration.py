"""The step that makes the device look as the spec says: what it puts into the status, and `iotedge check`."""

import dataclasses
from typing import Any

import pytest
from memory_lab import HOST, SSH, YAML_PATH, Lab, fresh

from edgeherd.device.port import Result
from edgeherd.model import CheckReport, DeviceStatus, Finding, Status
from edgeherd_sim.devices import filesystem
from edgeherd_sim.memory import MemoryDevice
from edgeherd_sim.memory.device import FINGERPRINT, classic_config, digest

CHECK = '{"checks":{"hostname":{"result":{"result":"error","details":["hush"]}}}}'
REPORT = CheckReport(
    handled_at="now",
    verdict="Failed",
    errors=(
        Finding(id="hostname", message="The host name in the daemon's file is not the machine's. Set spec.runtime.hostname."),
    ),
)  # fmt: skip

TOML_PATH = "/etc/aziot/config.toml"
WINDOWS_PATH = "C:\\ProgramData\\iotedge\\config.yaml"


def asking(memory: MemoryDevice, **spec: Any) -> Lab:
    """Somebody asked for a check before the first pass."""
    return Lab(memory, annotations={"edgeherd.io/run-check": "now"}, **spec)


def aziot() -> MemoryDevice:
    """A device of 1.5 that was never configured."""
    return MemoryDevice(version="1.5.44", path=TOML_PATH, template=filesystem.template(), taken=False)


def windows() -> MemoryDevice:
    """A Windows device that was never initialised."""
    return MemoryDevice(version="1.1.15", path=WINDOWS_PATH)


async def test_the_status_says_what_is_on_the_device() -> None:
    """The hash is that of the file which a look saw, not of the one that was written."""
    lab = Lab(ssh={**SSH, "host": "press"})
    before = digest(lab.memory.files[YAML_PATH])
    said = DeviceStatus(
        runtime_version="1.1.15",
        dialect="ConfigYaml",
        config_hash=f"sha256:{before}",
        applied_generation=1,
        host_key_fingerprint=FINGERPRINT,
    )
    await lab.reconcile()
    assert lab.device.status.device == said
    await lab.reconcile(after=1)
    after = digest(lab.memory.files[YAML_PATH])
    assert lab.device.status.device == dataclasses.replace(said, config_hash=f"sha256:{after}")


@pytest.mark.parametrize(
    ("memory", "runtime"), [(aziot(), {"hostname": "press"}), (windows(), {"operatingSystem": "Windows"})]
)
async def test_a_file_that_was_not_there_has_no_hash(memory: MemoryDevice, runtime: dict[str, Any]) -> None:
    """The API server takes nothing but a hash; the next pass sees one."""
    lab = Lab(memory, runtime=runtime)
    await lab.reconcile()
    assert lab.device.status.device.config_hash == ""
    await lab.reconcile(after=1)
    assert lab.device.status.device.config_hash == f"sha256:{digest(memory.files[memory.path])}"


async def test_what_was_refused_is_remembered() -> None:
    """And forgotten when something else was taken."""
    lab = Lab(fresh(answers=[Result.REFUSED]))
    for _ in range(2):
        await lab.reconcile()
    sent = lab.memory.changes[0].content
    assert sent is not None
    assert len(lab.memory.changes) == 1
    assert lab.device.status.device.rejected_hash == f"sha256:{digest(sent)}"
    assert lab.told["ConfigApplied"] == "False ConfigRejected"
    lab.edit(runtime=dataclasses.replace(lab.device.runtime, hostname="press"))
    await lab.reconcile()
    assert lab.device.status.device.rejected_hash == ""


async def test_a_plan_leaves_the_generation() -> None:
    """What is held back was not applied; the plan goes when there is nothing to hold back any more."""
    lab = Lab(driftPolicy="Report")
    await lab.until_ready()
    lab.edit(runtime=dataclasses.replace(lab.device.runtime, hostname="press"))
    await lab.reconcile()
    status = lab.device.status
    assert ([change.path for change in status.plan], status.device.applied_generation) == (["device:hostname"], 1)
    assert lab.told["ConfigApplied"] == "False DriftDetected"
    lab.edit(runtime=dataclasses.replace(lab.device.runtime, hostname=None))
    await lab.reconcile()
    assert (lab.device.status.plan, lab.told["Ready"]) == ((), "True Ready")


async def test_a_check_is_run_once_for_a_wish() -> None:
    """It waits for a restart, which would make it fail; another value of the annotation is another wish."""
    lab = asking(fresh(check_text=CHECK))
    await lab.reconcile()
    assert (lab.device.status.check, "check" in lab.steps.taken) == (None, False)
    await lab.reconcile(after=1)
    assert (lab.device.status.check, lab.steps.taken.count("check")) == (REPORT, 1)
    await lab.reconcile(after=1)
    assert "check" not in lab.steps.taken
    lab.edit(check_requested="later")
    await lab.reconcile()
    assert lab.device.status.check == dataclasses.replace(REPORT, handled_at="later")


async def test_a_check_helps_where_the_configuration_fails() -> None:
    """That is when somebody asks for it."""
    lab = asking(MemoryDevice(check_text=CHECK))
    await lab.reconcile()
    assert (lab.told["ConfigApplied"], lab.device.status.check) == ("False ConfigMissing", REPORT)


@pytest.mark.parametrize(
    ("field", "runtime"),
    [
        (
            "spec.runtime.proxy.credentialsSecretRef",
            {"proxy": {"httpsProxy": "http://proxy", "credentialsSecretRef": {"name": "login"}}},
        ),
        ("spec.runtime.agent.registryAuthSecretRef", {"agent": {"registryAuthSecretRef": {"name": "login"}}}),
    ],
)
async def test_a_secret_of_the_runtime_that_is_not_there(field: str, runtime: dict[str, Any]) -> None:
    """Nothing is asked of the device before it is; the connection was tried and works."""
    lab = Lab(runtime=runtime)
    await lab.reconcile()
    message = f"There is no Secret 'login' ({field}). Create it."
    assert (lab.told["Reachable"], lab.condition("ConfigApplied").message) == ("True Connected", message)
    assert "observe" not in lab.steps.taken


async def test_a_daemon_that_was_seen_healthy_may_be_started_again() -> None:
    """One that fails again at once is left alone for some minutes."""
    lab = Lab()
    await lab.until_ready()
    lab.memory.state = "failed/failed"
    await lab.reconcile(after=1)
    assert "restart" in lab.steps.taken
    lab.memory.state = "failed/failed"
    await lab.reconcile(after=1)
    assert "restart" not in lab.steps.taken
    lab.memory.state = "active/running"
    await lab.until_ready()
    lab.memory.state = "failed/failed"
    await lab.reconcile(after=1)
    assert "restart" in lab.steps.taken


# ---- two EdgeDevices for one machine


def _set_up_as(lab: Lab, device_id: str, **status: Any) -> None:
    """Another EdgeDevice has set the machine up, and its status says so."""
    string = f"HostName={HOST};DeviceId={device_id};SharedAccessKey=b3RoZXItb3RoZXItb3RoZXI="
    lab.memory.files[YAML_PATH] = classic_config(string)
    said = DeviceStatus(**{"applied_generation": 1, "host_key_fingerprint": FINGERPRINT, **status})
    lab.another("other", older=False, device_id=device_id, status=Status(device=said))


@pytest.mark.parametrize(
    ("status", "found", "conflict"),
    [
        pytest.param({}, "press-02", True, id="it looks after this machine"),
        pytest.param({"host_key_fingerprint": f"SHA256:{'b' * 43}"}, "press-02", False, id="it looks after another"),
        pytest.param({"applied_generation": None}, "press-02", False, id="it has set up nothing yet"),
    ],
)
async def test_two_that_name_one_machine_do_not_fight(status: dict[str, Any], found: str, conflict: bool) -> None:
    """The second one stops before it writes; otherwise each would undo the other's work, with a restart each time."""
    lab = Lab()
    _set_up_as(lab, found, **status)
    before = lab.memory.files[YAML_PATH]
    await lab.reconcile()
    assert (lab.told["ConfigApplied"] == "False MachineConflict") is conflict
    assert (lab.memory.files[YAML_PATH] == before) is conflict
    assert "plant-b" not in lab.condition("ConfigApplied").message


async def test_a_machine_that_changes_hands_is_taken_over() -> None:
    """Whoever had it is gone; what its file says does not matter any more."""
    lab = Lab()
    _set_up_as(lab, "press-02")
    await lab.reconcile()
    assert lab.told["Stalled"] == "True MachineConflict"
    del lab.cluster.devices["plant-b", "other"]
    await lab.until_ready()
