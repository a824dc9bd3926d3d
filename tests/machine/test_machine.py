"""The Debian machine itself, and the stand-in for the runtime: what the suite in tests/device_suite takes for granted."""

import packages
import pytest

from machine import Machine
from waiting import wait_until

TOML = "/etc/aziot/config.toml"
CONNECTION = b"HostName=hub.azure-devices.net;DeviceId=machine;SharedAccessKey=c3RhbmQtaW4ta2V5"
SETTINGS = b'[provisioning]\nsource = "manual"\nconnection_string = "' + CONNECTION + b'"\n'


def unit(machine: Machine, name: str, item: str) -> str:
    """One property of a unit."""
    return machine.run("systemctl", "show", name, "--property", item, "--value").strip()


def test_the_machine_is_what_the_tests_take_it_for(machine: Machine) -> None:
    """No unit of systemd has failed, and there is no way out."""
    assert machine.run("cat", "/proc/1/comm") == "systemd\n"
    assert machine.run("systemctl", "is-system-running") == "running\n"
    gateways = [line.split()[2] for line in machine.run("cat", "/proc/net/route").splitlines()[1:]]
    assert gateways == ["00000000"]


@pytest.mark.parametrize(
    ("version", "daemon", "file"),
    [
        pytest.param("1.1.15", "iotedge.service", "/etc/iotedge/config.yaml iotedge:iotedge 400", id="1.1"),
        pytest.param("1.5.44", "aziot-edged.service", f"{TOML}.edge.template root:root 600", id="1.5"),
    ],
)
def test_a_fresh_installation(machine: Machine, version: str, daemon: str, file: str) -> None:
    """The daemon finds no settings that it can use, and systemd gives it up; docker is its stand-in's."""
    packages.install(machine, version)
    path, *expected = file.split()
    assert machine.run("stat", "--format=%U:%G %a", path).split() == expected
    wait_until(lambda: unit(machine, daemon, "ActiveState") == "failed")
    assert unit(machine, daemon, "ExecMainStatus") == "153"
    assert unit(machine, "docker.service", "ActiveState") == "active"


@pytest.mark.parametrize("version", packages.VERSIONS)
def test_iotedge_list_starts_a_failed_daemon(machine: Machine, version: str) -> None:
    """By its socket, again and again until systemd gives both up: whoever only looks must not ask it."""
    packages.install(machine, version)
    daemon = "iotedge.service" if version == "1.1.15" else "aziot-edged.service"
    wait_until(lambda: unit(machine, daemon, "ActiveState") == "failed")

    def starts() -> int:
        machine.run("journalctl", "--sync")
        return machine.run("journalctl", "--unit", daemon, "--output", "cat").count("Starting Azure IoT Edge")

    before = starts()
    machine.attempt("timeout", "3", "iotedge", "list")
    wait_until(lambda: starts() > before + 1)


def test_config_apply_of_1_5_until_edge_agent_runs(machine: Machine) -> None:
    """The file counts from 'iotedge config apply' on."""
    packages.install(machine, "1.5.44")
    machine.run("install", "-m", "600", "/dev/stdin", TOML, stdin=SETTINGS)
    assert machine.run("iotedge", "config", "apply").endswith("Done.\n")
    wait_until(lambda: b"edgeAgent        running" in machine.attempt("iotedge", "list").stdout)
    assert unit(machine, "aziot-edged.service", "ActiveState") == "active"
    assert machine.run("cat", "/var/secrets/aziot/keyd/device-id") == "stand-in-key"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "missing field `provisioning`", id="nothing"),
        pytest.param(SETTINGS + b"[provisioning]\n", "duplicate key", id="twice"),
        pytest.param(SETTINGS.replace(b'"\n', b"\n"), "invalid TOML value", id="an open string"),
        pytest.param(SETTINGS.replace(b"SharedAccessKey", b"Key"), "connection string", id="half a connection string"),
    ],
)
def test_config_apply_of_1_5_refuses(machine: Machine, content: bytes, why: str) -> None:
    """What it cannot read, and nothing is written then."""
    packages.install(machine, "1.5.44")
    machine.run("install", "-m", "600", "/dev/stdin", TOML, stdin=content)
    done = machine.attempt("iotedge", "config", "apply")
    assert (done.returncode, why in done.stderr.decode()) == (1, True)
    assert machine.run("ls", "/etc/aziot/edged/config.d") == ""


@pytest.mark.parametrize("version", packages.VERSIONS)
def test_iotedge_list_is_for_root_and_the_group(machine: Machine, version: str) -> None:
    """The management socket opens to nobody else."""
    packages.install(machine, version)
    refused = machine.attempt("runuser", "-u", "edgeops", "--", "iotedge", "list")
    assert (refused.returncode, b"Permission denied" in refused.stderr) == (1, True)
