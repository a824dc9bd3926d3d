"""The daemon's stand-in: what a restart leads to."""

import pytest
from device_lab import ScriptedHub, on, provision, put

from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.hubdoor import Answer
from waiting import until

HEALTHY = ("active", "running", "success", 0)
REFUSED = ("failed", "failed", "exit-code", 153)


def _state(device: Device) -> tuple[str, str, str, int]:
    unit = device.daemon.unit
    return (unit.active, unit.sub, unit.result, unit.status)


async def test_a_fresh_device_has_a_daemon_that_refused_the_placeholder(device: Device, hub: ScriptedHub) -> None:
    """The boot ends with 153 and no second try; nobody is asked, and the boot is no restart."""
    assert _state(device) == REFUSED
    assert (device.restarts, device.daemon.unit.restarts, device.modules, hub.asked) == (0, 0, (), [])
    assert any("Could not load settings" in line for line in device.journal)


async def test_the_package_puts_the_devices_name_into_its_settings(device: Device) -> None:
    """As the Debian package's script does; the rest of the template stays."""
    text = device.config_file.read_text()
    assert 'hostname: "press-01"\n' in text
    assert text.count("\nprovisioning:\n") == 1
    assert device.config_file.stat().st_mode & 0o7777 == 0o400


async def test_a_good_connection_string_brings_edge_agent(device: Device, hub: ScriptedHub) -> None:
    """The hub is asked once with what the file says, then edgeAgent runs with the file's image."""
    provision(device)
    assert await device.daemon.systemctl("restart")
    await until(lambda: device.modules != ())
    (agent,) = device.modules
    assert (agent.name, agent.status, agent.image) == (
        "edgeAgent",
        "running",
        "mcr.microsoft.com/azureiotedge-agent:1.0",
    )
    assert [(asked.host_name, asked.device_id) for asked in hub.asked] == [("hub.example.net", "press-01")]
    assert _state(device) == HEALTHY
    assert device.restarts == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"\nprovisioning:", b"\n provisioning:", id="a leading space"),
        pytest.param(b"\n  source:", b"\n\tsource:", id="a tab"),
        pytest.param(b'source: "manual"', b'source: "Manual"', id="a source in capitals"),
        pytest.param(
            b"dynamic_reprovisioning: false\n\n# Manual", b"dynamic_reprovisioning: yes\n\n# Manual", id="yes"
        ),
        pytest.param(b"DeviceId=", b"deviceid=", id="a key of the connection string in lower case"),
        pytest.param(b"hub.example.net", b"hub.example.net:8883", id="a port in the host name"),
    ],
)
async def test_settings_that_the_daemon_refuses_end_it_with_153(
    device: Device, hub: ScriptedHub, old: bytes, new: bytes
) -> None:
    """The unit fails at once and for good, and nobody asks the hub; systemctl itself said that all went well."""
    provision(device)
    content = device.config_file.read_bytes()
    assert old in content
    put(device, content.replace(old, new, 1))
    assert await device.daemon.systemctl("restart")
    assert _state(device) == HEALTHY
    await until(lambda: device.daemon.unit.active == "failed")
    assert _state(device) == REFUSED
    assert (device.daemon.unit.restarts, hub.asked) == (0, [])


async def test_a_refused_key_shows_in_list_and_journal_only(device: Device, hub: ScriptedHub) -> None:
    """The unit is active, the list stays empty, the journal says 401 again and again; a fixed hub fixes the device."""
    hub.answer = Answer(accepted=False, reason="HTTP response error: [401 Unauthorized]")
    provision(device)
    await device.daemon.systemctl("restart")
    await until(lambda: len(hub.asked) >= 3)
    assert _state(device) == HEALTHY
    assert device.modules == ()
    assert sum("401 Unauthorized" in line for line in device.journal) >= 2
    assert (await on(device, "sudo -n iotedge list")).output.split() == ["NAME", "STATUS", "DESCRIPTION", "CONFIG"]
    hub.answer = Answer(accepted=True)
    await until(lambda: device.modules != ())


async def test_other_settings_delete_the_containers(healthy: Device, hub: ScriptedHub) -> None:
    """The agent goes, and comes back only when the hub accepts the device again."""
    hub.answer = Answer(accepted=False, reason="HTTP response error: [401 Unauthorized]")
    put(healthy, healthy.config_file.read_bytes().replace(b"c2VjcmV0", b"b3RoZXI="))
    await healthy.daemon.systemctl("restart")
    await until(lambda: len(hub.asked) >= 2)
    assert healthy.modules == ()
    assert any("Removing all modules" in line for line in healthy.journal)


async def test_other_comments_keep_the_containers(healthy: Device, hub: ScriptedHub) -> None:
    """What the parsed settings do not show is no change: edgeAgent is started again and the hub is not asked."""
    asked = len(hub.asked)
    hub.answer = Answer(accepted=False)
    put(healthy, b"# a remark\n" + healthy.config_file.read_bytes())
    await healthy.daemon.systemctl("restart")
    await until(lambda: any(module.status == "running" for module in healthy.modules))
    assert len(hub.asked) == asked


async def test_an_identity_disabled_later_leaves_what_runs(healthy: Device, hub: ScriptedHub) -> None:
    """Containers that run stay, and a restart without a change starts them again."""
    hub.answer = Answer(accepted=False, reason="HTTP response error: [401 Unauthorized]")
    assert [module.status for module in healthy.modules] == ["running"]
    await healthy.daemon.systemctl("restart")
    await until(lambda: [module.status for module in healthy.modules] == ["running"])


async def test_a_stopped_daemon_stops_its_containers(healthy: Device) -> None:
    """They stay, stopped, and the unit is inactive."""
    await healthy.daemon.systemctl("stop")
    assert [module.status for module in healthy.modules] == ["stopped"]
    assert _state(healthy) == ("inactive", "dead", "success", 0)
    assert healthy.restarts == 0


async def test_a_crash_is_tried_again_five_times(device: Device) -> None:
    """Any status but 153 makes systemd try again, until its limit; those tries are not ours."""
    provision(device)
    device.faults.daemon_refuses(1)
    await device.daemon.systemctl("restart")
    await until(lambda: device.daemon.unit.active == "failed")
    assert _state(device) == ("failed", "failed", "exit-code", 1)
    assert (device.daemon.unit.restarts, device.restarts) == (5, 1)


async def test_provisioning_that_is_not_simulated_says_so(device: Device, hub: ScriptedHub) -> None:
    """A daemon with DPS runs, never gets edgeAgent, and the journal says why."""
    content = device.config_file.read_text()
    start, end = (
        content.index("provisioning:\n  source"),
        content.index("# Manual provisioning configuration using an X"),
    )
    dps = 'provisioning:\n  source: "dps"\n  global_endpoint: "https://dps.example"\n  scope_id: "0ne"\n'
    attestation = '  attestation:\n    method: "symmetric_key"\n    registration_id: "a"\n    symmetric_key: "YQ=="\n\n'
    put(device, (content[:start] + dps + attestation + content[end:]).encode())
    await device.daemon.systemctl("restart")
    await until(lambda: any("is not simulated" in line for line in device.journal))
    assert (_state(device), device.modules, hub.asked) == (HEALTHY, (), [])
