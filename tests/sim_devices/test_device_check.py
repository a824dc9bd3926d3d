"""`iotedge check`: what it says of good and of bad devices, in both generations."""

import json

import pytest
from device_lab import Outcome, apply, configure, on, provision, put, status_of

from edgeherd_sim.devices.device import Device
from waiting import until

PROXY = "http://me:secret@proxy:3128"
WARNINGS = ["container-engine-dns", "container-engine-logrotate", "edge-agent-storage-mounted-from-host"]
HUB = "edge-hub-storage-mounted-from-host"
CLASSIC_CONNECTIONS = ("host-connect-iothub", "container-default-connect-iothub", "container-connect-iothub")
AZIOT_CONNECTIONS = ("host-connect-iothub", "container-default-connect-upstream", "container-connect-upstream")


async def _check(device: Device, command: str = "sudo -n iotedge check --output json") -> tuple[Outcome, dict]:
    answer = await on(device, command)
    assert answer.output.count("\n") == 1
    return answer, json.loads(answer.output)


def _ids(report: dict, verdict: str) -> list[str]:
    return [name for name, check in report["checks"].items() if check["result"]["result"] == verdict]


async def test_a_good_device_has_warnings(healthy: Device) -> None:
    """Certificates, DNS, logs and storage of a quickstart device; once there is an edgeHub, no error and status 0."""
    answer, report = await _check(healthy)
    assert (answer.status, _ids(report, "error")) == (1, [HUB])
    healthy.daemon.modules.run("edgeHub", "hub:1")
    answer, report = await _check(healthy)
    assert (answer.status, _ids(report, "error")) == (0, [])
    assert sorted(_ids(report, "warning")) == sorted([*WARNINGS, HUB, "certificates-quickstart"])
    assert list(report["checks"])[:3] == ["config-yaml-well-formed", "connection-string", "container-engine-uri"]
    assert report["checks"]["connection-string"] == {
        "result": {"result": "ok"},
        "additional_info": {"iothub_hostname": "hub.example.net", "device_id": "press-01"},
    }
    assert report["additional_info"]["iotedged_version"] == "1.0.10"


async def test_a_good_device_of_1_5_has_warnings_too(applied: Device) -> None:
    """Its checks are others: nobody looks at a connection string."""
    applied.daemon.modules.run("edgeHub", "hub:1")
    answer, report = await _check(applied, "sudo -n iotedge check -o json")
    assert (answer.status, _ids(report, "error")) == (0, [])
    assert sorted(_ids(report, "warning")) == sorted([*WARNINGS, HUB])
    assert {"aziot-edged-config-well-formed", "config-up-to-date", "proxy-settings"} <= set(_ids(report, "ok"))
    assert "connection-string" not in report["checks"]
    assert report["additional_info"]["aziot_edged_version"] == "1.5.44"


@pytest.mark.parametrize(
    ("old", "new", "errors", "detail"),
    [
        pytest.param(b"", b"", ["connection-string"], "Invalid connection string format detected.", id="placeholder"),
        pytest.param(
            b"\nprovisioning:", b"\n provisioning:", ["config-yaml-well-formed"], "is not well-formed.", id="no YAML"
        ),
    ],
)
async def test_bad_settings(device: Device, old: bytes, new: bytes, errors: list[str], detail: str) -> None:
    """A bad connection string is no bad file; what needs the settings is skipped."""
    put(device, device.config_file.read_bytes().replace(old, new, 1))
    answer, report = await _check(device)
    found = [name for name in _ids(report, "error") if not name.startswith("edge-")]
    assert (answer.status, found) == (1, errors)
    assert detail in report["checks"][errors[0]]["result"]["details"][0]
    assert "host-connect-iothub-https" in _ids(report, "skipped")


async def test_an_unconfigured_device_of_1_5(aziot: Device) -> None:
    """No daemon has a configuration."""
    answer, report = await _check(aziot)
    assert answer.status == 1
    assert {"aziot-edged-config-well-formed", "identityd-config-well-formed"} <= set(_ids(report, "error"))


@pytest.mark.parametrize(
    ("fault", "verdict", "ids"),
    [
        pytest.param("engine_down", "error", ("container-engine-uri",), id="no container engine"),
        pytest.param("no_network", "error", ("host-connect-iothub-amqp", "host-connect-iothub-https"), id="no network"),
        pytest.param("clock", "warning", ("host-local-time",), id="a wrong clock"),
    ],
)
async def test_faults_show(running: Device, fault: str, verdict: str, ids: tuple[str, ...]) -> None:
    """Each in its own check, with details; afterwards they are gone."""
    device = running
    turn = {"clock": lambda: device.faults.clock_skew(60)}.get(fault) or getattr(device.faults, fault)
    turn()
    _, report = await _check(device)
    assert set(ids) <= set(_ids(report, verdict))
    assert all(report["checks"][name]["result"]["details"] for name in ids)
    device.faults.clear()
    await until(lambda: status_of(device) == [("edgeAgent", "running")])
    _, report = await _check(device)
    assert set(ids) <= set(_ids(report, "ok"))


async def test_the_proxy_is_there_unmasked(device: Device) -> None:
    """As from the real one: whoever shows this output to people has to mask it."""
    env = f'\n  env:\n    https_proxy: "{PROXY}"'.encode()
    provision(device)
    put(device, device.config_file.read_bytes().replace(b"\n  env: {}", env, 1))
    await device.daemon.systemctl("restart")
    await until(lambda: device.modules != ())
    _, report = await _check(device)
    for prefix in CLASSIC_CONNECTIONS:
        assert report["checks"][f"{prefix}-https"]["additional_info"]["proxy"] == PROXY


async def test_proxies_should_be_the_same_everywhere(aziot: Device) -> None:
    """The daemon's, its helper's, the engine's and edgeAgent's: a warning quotes all of them, unmasked."""
    configure(aziot, agent_env={"https_proxy": PROXY})
    await apply(aziot)
    await until(lambda: aziot.modules != ())
    _, report = await _check(aziot)
    assert PROXY in report["checks"]["proxy-settings"]["result"]["details"][0]
    for prefix in AZIOT_CONNECTIONS:
        assert report["checks"][f"{prefix}-https"]["additional_info"]["proxy"] == PROXY
    for unit in ("aziot-edged", "aziot-identityd", "docker"):
        folder = aziot.root / f"etc/systemd/system/{unit}.service.d"
        folder.mkdir()
        (folder / "proxy.conf").write_text(f'[Service]\nEnvironment="https_proxy={PROXY}"\n')
    await on(aziot, "sudo -n systemctl daemon-reload")
    _, report = await _check(aziot)
    assert "proxy-settings" in _ids(report, "ok")


async def test_settings_that_were_not_applied(applied: Device) -> None:
    """A newer config.toml is a warning."""
    configure(applied, hostname="other")
    _, report = await _check(applied)
    assert "config-up-to-date" in _ids(report, "warning")


async def test_as_text_for_people(healthy: Device) -> None:
    """A line for each, and the first detail below; the counts at the end."""
    lines = (await on(healthy, "sudo -n iotedge check")).output.splitlines()
    assert lines[0] == "√ config.yaml is well-formed - OK"
    assert "    Could not check current state of edgeHub container" in lines
    assert lines[-1] == "1 check(s) raised errors. Re-run with --verbose for more details."


async def test_the_file_is_for_root(healthy: Device) -> None:
    """Without sudo it cannot be opened."""
    _, report = await _check(healthy, "iotedge check -o json")
    assert "config-yaml-well-formed" in _ids(report, "error")
