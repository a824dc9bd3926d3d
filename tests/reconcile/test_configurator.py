"""What makes a device look as the spec says: with a device in memory."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from memory_lab import HOST, YAML_PATH, Time, edge_device, fresh, parts

from edgeherd import config
from edgeherd.device.facts import Module, Unit
from edgeherd.device.port import Action, Change, Initialization, Result
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.model import DeviceStatus, EdgeDevice, PlannedChange, Status
from edgeherd.reconcile.config_editor import ConfigEditor
from edgeherd.reconcile.configurator import CONTESTED_SECONDS, Configurator, RejectedError
from edgeherd.reconcile.desired import DesiredState
from edgeherd.reconcile.step import ConfigurationResult, Event
from edgeherd_sim.devices import filesystem
from edgeherd_sim.memory import MemoryDevice, run_here
from edgeherd_sim.memory.device import classic_config, digest

STRING = f"HostName={HOST};DeviceId=press-01;SharedAccessKey=c2VjcmV0"
OTHER_STRING = f"HostName={HOST};DeviceId=press-01;SharedAccessKey=b3RoZXI="
CLASSIC, AZIOT = config.Version.parse("1.1.15"), config.Version.parse("1.5.44")
TOML_PATH = "/etc/aziot/config.toml"
WINDOWS_PATH = "C:\\ProgramData\\iotedge\\config.yaml"
DROP_IN = "/etc/systemd/system/iotedge.service.d/50-edgeherd-proxy.conf"


def configured(**more: Any) -> MemoryDevice:
    """A 1.1 device that has what the least spec wants."""
    return MemoryDevice(files={YAML_PATH: classic_config(STRING)}, **more)


def aziot(**more: Any) -> MemoryDevice:
    """A device of 1.5 that was never configured."""
    return MemoryDevice(version="1.5.44", path=TOML_PATH, template=filesystem.template(), taken=False, **more)


def known(device: EdgeDevice, **status: Any) -> EdgeDevice:
    """The device with this in its status."""
    return dataclasses.replace(device, status=Status(device=DeviceStatus(**status)))


class Lab:
    """One configurator, one device, one spec."""

    def __init__(self, memory: MemoryDevice, **spec: Any) -> None:
        self.memory = memory
        self.time = Time()
        self.configurator = Configurator(self.time.clock, ConfigEditor(run_here))
        self.device = edge_device(**spec)
        self.string = STRING
        self.more: dict[str, Any] = {}
        self.asked: list[str] = []

    async def require_free(self, device_id: str) -> None:
        """Nobody else looks after the device."""
        self.asked.append(device_id)

    async def apply(self, *, applied_before: bool = False) -> ConfigurationResult:
        """As the step does it."""
        self.memory.said.clear()
        state = DesiredState(device=self.device, host_name=HOST, connection_string=self.string, **self.more)
        return await self.configurator.apply(
            self.memory, state, applied_before=applied_before, require_free=self.require_free
        )

    async def refusal(self, *, applied_before: bool = False) -> ReconcileError:
        """What stops it."""
        with pytest.raises(ReconcileError) as caught:
            await self.apply(applied_before=applied_before)
        return caught.value

    def seen(self, **status: Any) -> None:
        """The status says so from now on."""
        self.device = known(self.device, **status)

    @property
    def content(self) -> bytes:
        """The daemon's file."""
        return self.memory.files[self.memory.path]


# ---- the ordinary way


async def test_a_fresh_device_gets_its_connection_string() -> None:
    """One look, one write with one restart; what it leads to is for the next pass to see."""
    lab = Lab(fresh())
    before = lab.content
    applied = await lab.apply()
    assert config.load(lab.content, version=CLASSIC).connection_string == STRING
    assert (lab.memory.said, lab.memory.changes) == (
        ["observe", "restart"],
        [
            Change(
                path=YAML_PATH,
                before=digest(before),
                content=lab.content,
                unit="iotedge.service",
                action=Action.RESTART,
            )
        ],
    )
    message = f"{YAML_PATH} was changed (provisioning.device_connection_string) and the daemon restarted."
    assert applied == ConfigurationResult(
        facts=applied.facts,
        version=CLASSIC,
        config_hash=f"sha256:{digest(before)}",
        restarted=True,
        events=(Event("ConfigApplied", message),),
    )


async def test_a_fresh_device_of_1_5_gets_its_super_config() -> None:
    """From the package's template, by `iotedge config apply`."""
    lab = Lab(aziot(), runtime={"hostname": "press"})
    applied = await lab.apply()
    assert config.load(lab.content, version=AZIOT).connection_string == STRING
    assert (lab.memory.said, lab.memory.changes) == (
        ["observe", "config-apply"],
        [
            Change(
                path=TOML_PATH,
                before="absent",
                content=lab.content,
                unit="aziot-edged.service",
                action=Action.CONFIG_APPLY,
            )
        ],
    )
    assert (applied.restarted, applied.plan, [event.reason for event in applied.events]) == (
        True,
        (),
        ["ConfigApplied"],
    )


@pytest.mark.parametrize("made", [fresh, aziot])
async def test_a_second_look_does_nothing(made: Callable[[], MemoryDevice]) -> None:
    """Not even after the operator was started anew."""
    lab = Lab(made(), runtime={"hostname": "press", "proxy": {"httpsProxy": "http://proxy:3128"}})
    lab.more = {"proxy": "http://proxy:3128"}
    await lab.apply()
    lab.memory.now += 100
    for _ in range(2):
        applied = await lab.apply(applied_before=True)
        assert lab.memory.said == ["observe"]
        assert applied == ConfigurationResult(
            facts=applied.facts, version=applied.version, config_hash=f"sha256:{digest(lab.content)}"
        )
        lab.configurator = Configurator(lab.time.clock, ConfigEditor(run_here))


async def test_a_changed_spec_is_no_drift() -> None:
    """Its event says that the spec was applied."""
    lab = Lab(configured(), runtime={"hostname": "press"})
    lab.seen(applied_generation=0)
    applied = await lab.apply(applied_before=True)
    message = f"{YAML_PATH} was changed (hostname) and the daemon restarted."
    assert applied.events == (Event("ConfigApplied", message),)


async def test_drift_is_corrected_with_the_files_beside_it() -> None:
    """One restart for all of it."""
    lab = Lab(configured(), runtime={"hostname": "press", "proxy": {"httpsProxy": "http://proxy:3128"}})
    lab.more = {"proxy": "http://proxy:3128"}
    lab.seen(applied_generation=1)
    applied = await lab.apply(applied_before=True)
    assert lab.memory.said == ["observe", "restart"]
    assert lab.memory.files[DROP_IN].startswith(b"# Written by edgeherd.")
    message = f"{YAML_PATH} was changed (hostname, agent.env.https_proxy, {DROP_IN}) and the daemon restarted."
    assert applied.events == (Event("ConfigDriftCorrected", message),)


# ---- drift that is only reported


@pytest.mark.parametrize("changed_spec", [False, True])
async def test_report_changes_nothing_that_was_applied_before(changed_spec: bool) -> None:
    """The plan says what would be done, with secrets masked."""
    runtime = {"hostname": "press", "proxy": {"httpsProxy": "http://proxy:3128"}}
    lab = Lab(configured(), driftPolicy="Report", runtime=runtime)
    lab.more = {"proxy": "http://proxy:3128"}
    lab.seen(applied_generation=0 if changed_spec else 1)
    lab.string = OTHER_STRING
    applied = await lab.apply(applied_before=True)
    assert (lab.memory.said, applied.restarted, applied.events) == (["observe"], False, ())
    by_path = {change.path: change for change in applied.plan}
    assert by_path["device:hostname"] == PlannedChange(
        path="device:hostname", action="Change", restart="Daemon", before="<ADD HOSTNAME HERE>", after="press"
    )
    assert by_path[f"device:{DROP_IN}"] == PlannedChange(path=f"device:{DROP_IN}", action="Add", restart="Daemon")
    assert set(by_path) == {
        "device:provisioning.device_connection_string",
        "device:hostname",
        "device:agent.env.https_proxy",
        f"device:{DROP_IN}",
    }
    assert "c2VjcmV0" not in repr(applied.plan)
    assert "b3RoZXI" not in repr(applied.plan)


async def test_report_still_sets_up_a_fresh_device() -> None:
    """Otherwise nothing would ever begin."""
    lab = Lab(fresh(), driftPolicy="Report")
    assert (await lab.apply()).restarted


@pytest.mark.parametrize(
    "memory", [configured(state="failed/failed"), configured(modified=1_700_000_100, now=1_700_000_200)]
)
async def test_report_restarts_nothing(memory: MemoryDevice) -> None:
    """Nor does it start what has failed."""
    lab = Lab(memory, driftPolicy="Report")
    await lab.apply(applied_before=True)
    assert memory.said == ["observe"]


# ---- what the daemon refuses


async def test_what_was_refused_is_not_tried_again() -> None:
    """Also not by a new process: the status remembers. Another spec is tried."""
    lab = Lab(fresh(answers=[Result.REFUSED]))
    refused = await lab.refusal()
    assert isinstance(refused, RejectedError)
    message = (
        f"The daemon refuses the new configuration; {YAML_PATH} was put back as it was, and this is not tried again. "
        "Change the spec or the file."
    )
    assert parts(refused) == (RejectedError, "ConfigRejected", message, None)
    sent = lab.memory.changes[0].content
    assert sent is not None
    assert refused.content_hash == digest(sent)
    lab.seen(rejected_hash=f"sha256:{refused.content_hash}")
    lab.configurator = Configurator(lab.time.clock, ConfigEditor(run_here))
    again = await lab.refusal()
    assert parts(again) == (RejectedError, "ConfigRejected", message, None)
    assert isinstance(again, RejectedError)
    assert (again.content_hash, lab.memory.said) == (refused.content_hash, ["observe"])
    lab.device = dataclasses.replace(lab.device, runtime=dataclasses.replace(lab.device.runtime, hostname="press"))
    assert (await lab.apply()).restarted


async def test_a_host_name_that_is_refused_is_tried_again() -> None:
    """The containers may be gone by then; nothing tells."""
    lab = Lab(aziot(answers=[Result.HOSTNAME]), runtime={"hostname": "press"})
    message = (
        f"'iotedge config apply' refuses another host name while there are containers; {TOML_PATH} is as it was. Remove "
        "the runtime's containers on the device, with what they did not store outside (docs/devices.md has the command), or "
        "take spec.runtime.hostname back."
    )
    assert parts(await lab.refusal()) == (Stalled, "HostNameInUse", message, None)
    assert (await lab.apply()).restarted


@pytest.mark.parametrize(
    ("version", "spec", "kept"),
    [
        pytest.param("1.2.10", {"hostname": "other"}, "host name", id="the host name, with 1.2"),
        pytest.param("1.5.44", {"agent": {"image": "agent:2"}}, "image", id="the image"),
        pytest.param("1.6.1", {"agent": {"image": "agent:1", "env": {"A": "b"}}}, "environment", id="the environment"),
        pytest.param(
            "1.2.10",
            {"hostname": "other", "agent": {"image": "agent:2", "env": {"A": "b"}}},
            "host name and the image and the environment",
            id="all of it",
        ),
        pytest.param("1.1.15", {"hostname": "other"}, "", id="1.1 makes the container anew"),
        pytest.param("1.5.44", {"dynamicReprovisioning": True}, "", id="something else"),
    ],
)
async def test_what_does_not_reach_an_edge_agent_that_is_there(version: str, spec: dict[str, Any], kept: str) -> None:
    """From 1.2 on: whoever changes it is told."""
    before = {"hostname": "press", "agent": {"image": "agent:1"}}
    lab = Lab(fresh() if version < "1.2" else aziot(), runtime=before)
    lab.memory.version = version
    await lab.apply()
    lab.device = edge_device(runtime={**before, **spec})
    changed = await lab.apply(applied_before=True)
    said = f" edgeAgent's container keeps the {kept} that it was made with: 'docker rm -f edgeAgent' on the device makes it anew."
    assert [event.message.partition("restarted.")[2] for event in changed.events] == [said if kept else ""]


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"modules": ()}, id="there is none"),
        pytest.param({"modules": (Module(name="edgeHub", status="running"),)}, id="there are only others"),
    ],
)
async def test_an_edge_agent_that_is_not_there_gets_all_of_it(odd: dict[str, Any]) -> None:
    """It will be made with what the file says."""
    lab = Lab(aziot(odd=odd), runtime={"hostname": "press"})
    await lab.apply()
    lab.device = edge_device(runtime={"hostname": "press", "agent": {"image": "agent:2"}})
    assert not [event for event in (await lab.apply(applied_before=True)).events if "docker rm" in event.message]


async def test_a_device_that_was_another_one_has_its_containers_made_anew() -> None:
    """So they get all of it."""
    lab = Lab(aziot(), runtime={"hostname": "press"})
    lab.string = STRING.replace("press-01", "press-99")
    await lab.apply()
    lab.string = STRING
    lab.device = edge_device(runtime={"hostname": "press", "agent": {"image": "agent:2"}})
    changed = await lab.apply()
    assert lab.asked == ["press-99"]
    assert not [event for event in changed.events if "docker rm" in event.message]


OUTCOMES = {
    Result.CHANGED: Waiting(
        "ConfigChanging",
        f"{YAML_PATH} was changed by somebody else meanwhile, or is just being changed. It is looked at again.",
        retry_after=2,
    ),
    Result.FULL: Waiting(
        "ConfigUnwritable",
        f"{YAML_PATH} cannot be replaced: the device's file system is full. Make room.",
        retry_after=60,
    ),
    Result.READ_ONLY: Waiting(
        "ConfigUnwritable",
        f"{YAML_PATH} cannot be replaced: the device's file system is read-only. Remount it, or look for a broken disk.",
        retry_after=60,
    ),
    Result.NO_FOLDER: Waiting(
        "ConfigUnwritable",
        f"The folder of {YAML_PATH} is not on the device: half of a package, or one of another kind (a snap), is installed. "
        "Install the runtime whole, or set spec.runtime.configPath to where its file is.",
        retry_after=300,
    ),
    Result.UNWRITABLE: Waiting(
        "ConfigUnwritable",
        f"{YAML_PATH} cannot be replaced. Look at its file system and at what sudo allows.",
        retry_after=60,
    ),
    Result.OWNER: Stalled(
        "ConfigUnwritable",
        (
            f"Owner, mode or SELinux context of {YAML_PATH} cannot be kept on a new file. Nothing was changed; check "
            "sudo's rights."
        ),
    ),
    Result.PARENT: Stalled(
        "ConfigPathUnsafe",
        (
            f"A folder on the way to {YAML_PATH}, or to a file beside it, is a symbolic link, belongs to a user other than "
            "root and the daemon's, or may be written to by everybody. Nothing was changed; fix the folder. If it is linked on "
            "purpose, set spec.runtime.configPath to the path where the file really is."
        ),
    ),
    Result.INCOMPLETE: Waiting(
        "ConfigIncomplete",
        f"The new {YAML_PATH} did not arrive whole; the old one is untouched. It is tried again.",
        retry_after=5,
    ),
}


@pytest.mark.parametrize(("result", "expected"), OUTCOMES.items(), ids=[result.value for result in OUTCOMES])
async def test_a_change_that_did_not_work_out(result: Result, expected: ReconcileError) -> None:
    """Each with its next step; the next pass tries again, and it counts for nothing."""
    lab = Lab(fresh(answers=[result]))
    assert parts(await lab.refusal()) == parts(expected)
    assert (await lab.apply()).restarted


def test_every_result_has_its_meaning() -> None:
    """None was forgotten."""
    assert {*OUTCOMES, Result.APPLIED, Result.REFUSED, Result.HOSTNAME} == set(Result)


# ---- somebody else writes


async def drifts(lab: Lab, times: int, seconds: float = 1.0) -> None:
    """Somebody undoes our work, and it is put right."""
    for _ in range(times):
        lab.memory.files[YAML_PATH] = lab.content.replace(b'\nhostname: "press"', b'\nhostname: "other"')
        assert (await lab.apply(applied_before=True)).restarted
        lab.time.seconds += seconds


def undone() -> Lab:
    """A device that has what the spec wants."""
    lab = Lab(configured(), runtime={"hostname": "press"})
    lab.memory.files[YAML_PATH] = lab.content.replace(b'\nhostname: "<ADD HOSTNAME HERE>"', b'\nhostname: "press"')
    lab.seen(applied_generation=1)
    return lab


async def test_a_contested_file_is_left_alone() -> None:
    """After three corrections; until there was peace for a while."""
    lab = undone()
    await drifts(lab, 3)
    lab.memory.files[YAML_PATH] = contested = lab.content.replace(b'"press"', b'"other"')
    message = (
        f"{YAML_PATH} was put right 3 times within 30 minutes and somebody keeps changing it: a person, a script or "
        "another operator. Every round stops the device's modules, so it is left alone for now. Find the other writer, "
        "or set spec.driftPolicy to 'Report'."
    )
    assert parts(await lab.refusal(applied_before=True)) == (Stalled, "ConfigContested", message, None)
    assert (lab.memory.said, lab.content) == (["observe"], contested)
    lab.time.seconds += CONTESTED_SECONDS
    assert (await lab.apply(applied_before=True)).restarted


@pytest.mark.parametrize("kind", ["slowly", "by the spec", "forgotten"])
async def test_what_is_no_contest(kind: str) -> None:
    """Rare drift, changes of the spec, and a device that was deleted and came back."""
    lab = undone()
    if kind == "by the spec":
        lab.seen(applied_generation=0)
    await drifts(lab, 3, seconds=CONTESTED_SECONDS / 2 if kind == "slowly" else 1.0)
    if kind == "forgotten":
        lab.configurator.forget(lab.device.key)
    await drifts(lab, 2, seconds=CONTESTED_SECONDS / 2 if kind == "slowly" else 1.0)


async def test_a_correction_that_failed_does_not_count() -> None:
    """Nothing was stopped by it."""
    lab = undone()
    await drifts(lab, 2)
    lab.memory.files[YAML_PATH] = lab.content.replace(b'"press"', b'"other"')
    lab.memory.answers = [Result.FULL] * 3
    for _ in range(3):
        assert (await lab.refusal(applied_before=True)).reason == "ConfigUnwritable"
    assert (await lab.apply(applied_before=True)).restarted


# ---- the files are right, but is it what the daemon runs with?

T0 = 1_700_000_000
OUTDATED = f"{YAML_PATH} is newer than the daemon's start; it was restarted."
REVIVED = "The daemon had failed while its file is right; it was started again."


@pytest.mark.parametrize(
    ("memory", "confirmed", "event"),
    [
        pytest.param({"modified": T0 + 3, "now": T0 + 9}, False, OUTDATED, id="written after the start"),
        pytest.param({"modified": T0 + 2, "now": T0 + 9}, False, None, id="within the slack of the clocks"),
        pytest.param({"modified": T0 - 9, "now": T0 + 9}, False, None, id="written before the start"),
        pytest.param({"modified": T0 + 9, "now": T0 + 9}, False, OUTDATED, id="written just now"),
        pytest.param({"modified": T0 + 99, "now": T0 + 9}, False, None, id="a stamp from the future"),
        pytest.param({"modified": T0 + 3, "now": T0 + 9}, True, None, id="touched only: the content is known"),
        pytest.param({"modified": None, "now": T0 + 9}, False, None, id="no stamp"),
        pytest.param({"modified": T0 + 3, "now": T0 + 9, "started": None}, False, None, id="no start"),
        pytest.param({"state": "failed/failed"}, False, REVIVED, id="it has failed"),
        pytest.param({"state": "failed/failed"}, True, REVIVED, id="it has failed with what it had taken before"),
        pytest.param({"state": "activating/auto-restart"}, False, None, id="systemd is at it"),
        pytest.param({"state": "inactive/dead"}, False, None, id="somebody stopped it"),
    ],
)
async def test_a_daemon_that_needs_a_start(memory: dict[str, Any], confirmed: bool, event: str | None) -> None:
    """Once for a content, and not again before it was seen healthy."""
    lab = Lab(configured(**memory))
    if confirmed:
        lab.seen(config_hash=f"sha256:{digest(lab.content)}")
    applied = await lab.apply(applied_before=True)
    expected = () if event is None else (Event("DaemonRestarted", event, warning=True),)
    assert (applied.events, applied.restarted, lab.memory.said) == (
        expected,
        event is not None,
        ["observe"] if event is None else ["observe", "restart"],
    )
    assert [change.content for change in lab.memory.changes] == [None] * len(expected)


async def test_a_daemon_is_revived_once() -> None:
    """A daemon that fails again needs a human; when it was healthy in between, it gets another try."""
    lab = Lab(configured(state="failed/failed"))
    revived = []
    for healthy in (False, False, True, False, False):
        lab.memory.state = "failed/failed"
        if healthy:
            lab.configurator.healthy(lab.device.key, since="later")
        revived.append((await lab.apply(applied_before=True)).restarted)
    assert revived == [True, False, True, False, False]


async def test_a_daemon_that_somebody_else_starts_is_looked_at_again() -> None:
    """Nothing was done, so it does not count as the one start that it gets."""
    lab = Lab(configured(state="failed/failed", answers=[Result.CHANGED]))
    assert (await lab.refusal(applied_before=True)).reason == "ConfigChanging"
    assert (await lab.apply(applied_before=True)).restarted


@pytest.mark.parametrize(
    ("files", "started"),
    [
        pytest.param({YAML_PATH: classic_config(STRING)}, "77", id="nothing is written: the start that was seen"),
        pytest.param({YAML_PATH: classic_config(OTHER_STRING)}, "", id="the file is written: what was in it"),
        pytest.param({YAML_PATH: classic_config(STRING), DROP_IN: b""}, "", id="another file is"),
    ],
)
async def test_what_must_still_be_so_for_a_restart(files: dict[str, bytes], started: str) -> None:
    """Another operator may have been there since the look."""
    unit = Unit(name="iotedge.service", load_state="loaded", active_state="failed", started="77")
    lab = Lab(MemoryDevice(files=files, odd={"unit": unit}), proxy={"httpsProxy": ""})
    await lab.apply(applied_before=True)
    assert [change.started for change in lab.memory.changes] == [started]


async def test_a_file_that_was_not_taken_is_applied() -> None:
    """`iotedge config apply` is run once for it."""
    lab = Lab(aziot(), runtime={"hostname": "press"})
    await lab.apply()
    lab.memory.taken = False
    applied = await lab.apply(applied_before=True)
    message = f"{TOML_PATH} was right, but 'iotedge config apply' had not been run; it was."
    assert (applied.events, lab.memory.said) == ((Event("ConfigApplied", message),), ["observe", "config-apply"])
    assert lab.memory.changes[-1].content is None
    lab.memory.taken = False
    assert not (await lab.apply(applied_before=True)).restarted


# ---- what cannot be edited

CANNOT = {
    "tools that are missing, whatever else is said": (
        MemoryDevice(version="", odd={"missing": ("stat", "mktemp", "sha256sum")}),
        {},
        Stalled(
            "DeviceToolMissing",
            (
                "h lacks tools that edgeherd needs there: 'stat', 'mktemp' and 'sha256sum' are missing, or built "
                "without an option that is needed. Nothing was changed. Install what is missing (on small systems: busybox "
                "with these applets, or coreutils); docs/devices.md lists all that is needed."
            ),
        ),
    ),
    "one tool that is missing": (
        fresh(odd={"missing": ("dd",)}),
        {},
        Stalled(
            "DeviceToolMissing",
            (
                "h lacks tools that edgeherd needs there: 'dd' is missing, or built without an option that is needed. "
                "Nothing was changed. Install what is missing (on small systems: busybox with these applets, or coreutils); "
                "docs/devices.md lists all that is needed."
            ),
        ),
    ),
    "no runtime": (
        fresh(version=""),
        {},
        Waiting(
            "RuntimeNotFound",
            "The device has no IoT Edge runtime ('iotedge version' fails). Install it.",
            retry_after=60,
        ),
    ),
    "another runtime than the spec says": (
        fresh(),
        {"dialect": "ConfigToml"},
        Stalled(
            "RuntimeDiffers",
            (
                "The device runs IoT Edge 1.1.15, whose file is a ConfigYaml; spec.runtime.dialect is 'ConfigToml'. "
                "Change one of them."
            ),
        ),
    ),
    "no file": (
        MemoryDevice(),
        {},
        Stalled("ConfigMissing", f"{YAML_PATH} does not exist. Reinstall the runtime, or set spec.runtime.configPath."),
    ),
    "a file that cannot be read": (
        fresh(odd={"content": None}),
        {},
        Stalled(
            "ConfigUnreadable", f"{YAML_PATH} cannot be read, not even as root. Look at its mode and its file system."
        ),
    ),
    "a symbolic link": (
        fresh(odd={"kind": "symlink", "content": None}),
        {},
        Stalled(
            "ConfigUnreadable",
            (
                f"{YAML_PATH} is a symbolic link. A file is replaced, and a link would be gone then, so it is left alone. If it "
                "is meant so, set spec.runtime.configPath to the path where the file really is, which the HubConnection's "
                "allowedConfigPaths must allow; otherwise put a regular file there."
            ),
        ),
    ),
    "a symbolic link to a place that is known": (
        fresh(odd={"kind": "symlink", "content": None, "real_path": "/data/config.yaml"}),
        {},
        Stalled(
            "ConfigUnreadable",
            (
                f"{YAML_PATH} is a symbolic link to /data/config.yaml. A file is replaced, and a link would be gone then, so it "
                "is left alone. If it is meant so, set spec.runtime.configPath to '/data/config.yaml', which the "
                "HubConnection's allowedConfigPaths must allow; otherwise put a regular file there."
            ),
        ),
    ),
    "a pipe": (
        fresh(odd={"kind": "other", "content": None}),
        {},
        Stalled("ConfigUnreadable", f"{YAML_PATH} is not a regular file. It is left alone; put a regular file there."),
    ),
    "half a package": (
        aziot(odd={"has_folder": False}),
        {},
        Stalled(
            "ConfigMissing",
            (
                "There is no folder /etc/aziot on the device, though it has IoT Edge 1.5.44: it is installed in part, or not "
                "from its package (as a snap, in an image of one's own). Install aziot-edge, or set spec.runtime.configPath to "
                "the path where the file really is, which the HubConnection's allowedConfigPaths must allow."
            ),
        ),
    ),
    "a folder in place of a file of ours": (
        fresh(odd={"hashes": ("absent", "other", "absent", "absent")}),
        {},
        Stalled(
            "ConfigUnreadable",
            (
                "/etc/systemd/system/aziot-edged.service.d/50-edgeherd-proxy.conf is not a regular file. It is left "
                "alone; remove it."
            ),
        ),
    ),
}


@pytest.mark.parametrize(("memory", "runtime", "expected"), CANNOT.values(), ids=CANNOT.keys())
async def test_what_cannot_be_edited(memory: MemoryDevice, runtime: dict[str, Any], expected: ReconcileError) -> None:
    """The device is left as it is."""
    lab = Lab(memory, runtime=runtime)
    assert parts(await lab.refusal()) == parts(expected)
    assert memory.said == ["observe"]


async def test_a_file_that_is_no_yaml_is_left_alone() -> None:
    """The message says where, and quotes nothing."""
    lab = Lab(MemoryDevice(files={YAML_PATH: b"provisioning: [hush\n"}))
    found = await lab.refusal()
    assert (type(found), found.reason) == (Stalled, "ConfigNotEditable")
    assert found.message.startswith(f"{YAML_PATH} was left as it is: line ")
    assert "hush" not in found.message


async def test_a_folder_that_is_a_link_and_where_it_leads() -> None:
    """The message has what to put into the spec."""
    lab = Lab(fresh(answers=[Result.PARENT], odd={"real_path": "/data/iotedge/config.yaml"}))
    message = (
        f"A folder on the way to {YAML_PATH} is a symbolic link: the file is /data/iotedge/config.yaml. Whoever may change the "
        "link could have keys written elsewhere, so nothing was changed. If it is meant so (a data partition of an A/B image), "
        "set spec.runtime.configPath to '/data/iotedge/config.yaml', which the HubConnection's allowedConfigPaths must allow; "
        "otherwise fix the folder."
    )
    assert parts(await lab.refusal()) == parts(Stalled("ConfigPathUnsafe", message))


async def test_another_path_is_asked_for() -> None:
    """The spec says where the file is."""
    lab = Lab(MemoryDevice(path="/srv/config.yaml", files={"/srv/config.yaml": classic_config(STRING)}), runtime={"configPath": "/srv/config.yaml"})  # fmt: skip
    assert (await lab.apply()).facts.path == "/srv/config.yaml"


# ---- Windows


def windows(**more: Any) -> MemoryDevice:
    """A Windows device whose runtime was never initialised."""
    return MemoryDevice(path=WINDOWS_PATH, **more)


WINDOWS = {"operatingSystem": "Windows", "windows": {"containerOS": "Linux", "securityDaemonScriptPath": "C:\\a.ps1"}}


async def test_a_fresh_windows_device_is_initialised_once() -> None:
    """Afterwards its file is edited like any other, and its service has Windows' name."""
    lab = Lab(windows(), runtime=WINDOWS)
    applied = await lab.apply()
    assert lab.memory.initializations == [
        Initialization(connection_string=STRING, container_os="Linux", script="C:\\a.ps1")
    ]
    assert (applied.restarted, applied.events) == (
        True,
        (Event("DeviceInitialized", "The runtime was initialised with 'Initialize-IoTEdge'."),),
    )
    await lab.apply(applied_before=True)
    assert (lab.memory.said, lab.memory.changes) == (["observe"], [])
    lab.string = OTHER_STRING
    assert (await lab.apply(applied_before=True)).restarted
    assert (len(lab.memory.initializations), [change.unit for change in lab.memory.changes]) == (1, ["iotedge"])


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            Result.CHANGED,
            Waiting("ConfigChanging", "The device was initialised meanwhile. It is looked at again.", retry_after=2),
        ),
        *(
            (
                result,
                Stalled(
                    "InitializationFailed",
                    (
                        "'Initialize-IoTEdge' failed on the device. Run it there by hand to see why; the IoTEdge module or "
                        "spec.runtime.windows.securityDaemonScriptPath must be there."
                    ),
                ),
            )
            for result in Result
            if result not in {Result.APPLIED, Result.CHANGED}
        ),
    ],
)
async def test_an_initialisation_that_failed(result: Result, expected: ReconcileError) -> None:
    """It says what to do."""
    assert parts(await Lab(windows(answers=[result]), runtime=WINDOWS).refusal()) == parts(expected)
