"""What can be wrong with a device: each thing has its own reason and says what to do; fixed, it heals by itself."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from world import World, assert_whole, because, condition, is_ready

from edgeherd_sim.devices.device import Device

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


@dataclasses.dataclass(frozen=True)
class Case:
    """A device with a fault before it is set up for the first time."""

    sentence: str
    fault: Callable[[Device], None]
    reason: str
    condition: str
    says: str
    modern: bool = False
    spec: Mapping[str, Any] = dataclasses.field(default_factory=dict)


CASES = (
    Case("the device's disk is full", lambda d: d.faults.disk_full(), "ConfigUnwritable", "ConfigApplied", "Make room"),
    Case("its disk is read-only", lambda d: d.faults.read_only(), "ConfigUnwritable", "ConfigApplied", "read-only"),
    Case("its folder is a symbolic link", lambda d: d.faults.symlinked_folder(), "ConfigPathUnsafe", "ConfigApplied", "fix the folder"),
    Case("the daemon refuses its settings", lambda d: d.faults.daemon_refuses(153), "ConfigRejected", "ConfigApplied", "put back"),
    Case("the daemon ends again and again", lambda d: d.faults.crash_loop(), "DaemonCrashing", "DaemonHealthy", "journalctl -u iotedge"),
    Case("the device cannot look up the hub", lambda d: d.faults.no_network(), "HubNameNotResolved", "DaemonHealthy", "DNS"),
    Case("its clock is wrong", lambda d: d.faults.clock_skew(-7200), "ClockSkewed", "DaemonHealthy", "NTP"),
    Case("edgeAgent's image is not there", lambda d: d.faults.image_pull_fails(), "ImagePullFailed", "DaemonHealthy", "spec.runtime.agent.image"),
    Case("the container engine is down", lambda d: d.faults.engine_down(), "ContainerEngineDown", "DaemonHealthy", "docker"),
    Case("the line breaks during every transfer", lambda d: d.faults.reset_mid_transfer(8000), "DeviceUnreachable", "Reachable", "tried again"),
    Case("the device accepts connections and is silent", lambda d: d.faults.dead(), "DeviceUnreachable", "Reachable", "in time"),
    Case("its shell says nothing", lambda d: d.faults.mute(), "DeviceAnswerInvalid", "ConfigApplied", "makes no sense"),
    Case("1.5: the device cannot look up the hub", lambda d: d.faults.no_network(), "HubNameNotResolved", "DaemonHealthy", "DNS", modern=True),
    Case("1.5: edgeAgent's image is not there", lambda d: d.faults.image_pull_fails(), "ImagePullFailed", "DaemonHealthy", "spec.runtime.agent.image", modern=True),
    Case("1.5: `iotedge config apply` says yes and the daemon says no", lambda d: d.faults.apply_lies(153), "ConfigRejected", "ConfigApplied", "put back", modern=True),
    Case("1.5: the container engine is down", lambda d: d.faults.engine_down(), "ContainerEngineDown", "DaemonHealthy", "docker", modern=True),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
async def test_a_fault_is_told_apart_and_heals(world: World, case: Case) -> None:
    """Reason, condition and next step; no key in any of it; the fault gone, the device gets Ready."""
    async with world.team() as team:
        device = world.modern_device() if case.modern else world.device()
        case.fault(device)
        managed = await team.apply(team.manifest(device, **case.spec))
        body = await managed.until(because(case.reason))
        said = condition(body, case.condition)
        assert (said["status"], said["reason"]) in {("False", case.reason), ("Unknown", case.reason)}
        assert case.says in said["message"]
        device.faults.clear()
        if case.reason == "ConfigRejected":  # never tried again by itself
            await managed.patch(runtime={"agent": {"env": {"Fixed": "yes"}}})
        await managed.look_now()
        body = await managed.until(lambda body: is_ready(body) or because("DaemonUnstable")(body))
        if is_ready(body):  # a daemon that crashed is believed after half a minute only
            await assert_whole(managed, device)


async def test_a_device_with_a_noisy_shell_is_like_any_other(world: World) -> None:
    """Banners and a MOTD around every answer."""
    async with world.team() as team:
        device = world.device()
        device.faults.noisy()
        managed = await team.ready(device)
        await assert_whole(managed, device)


async def test_another_writer_is_found_out(world: World) -> None:
    """Somebody who undoes every correction would have the modules stopped for ever: after three rounds it stops."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, runtime={"hostname": "press"})
        restarts = device.restarts
        for _ in range(4):
            content = device.config_file.read_bytes()
            device.config_file.chmod(0o600)
            device.config_file.write_bytes(content.replace(b'hostname: "press"', b'hostname: "theirs"'))
            device.config_file.chmod(0o400)
            await managed.look_now()
        body = await managed.until(because("ConfigContested"))
        assert "Find the other writer" in condition(body, "ConfigApplied")["message"]
        assert device.restarts == restarts + 3


async def test_what_the_daemon_refused_is_not_tried_again(world: World) -> None:
    """Bytes and daemon are as before, and a new operator knows it too."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device, runtime={"hostname": "press"})
        content = device.config_file.read_bytes()
        device.faults.daemon_refuses(153)
        await managed.patch(runtime={"hostname": "other"})
        await managed.until(because("ConfigRejected"))
        device.faults.clear()
        restarts = device.restarts
        await managed.look_now()
        await world.kill_operator()
        await world.start_operator()
        await managed.look_now()
        assert (device.config_file.read_bytes(), device.restarts) == (content, restarts)
        await managed.patch(runtime={"hostname": "third"})
        await managed.until(is_ready)
        await assert_whole(managed, device)
