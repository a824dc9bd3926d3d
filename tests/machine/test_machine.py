"""The product's own SSH door against a Debian with systemd, OpenSSH and sudo."""

import time
from collections.abc import Callable

import packages
import pytest

from edgeherd.device.facts import Facts, Module
from edgeherd.device.port import Login
from edgeherd.device.ssh import connect
from machine import Machine

YAML = "/etc/iotedge/config.yaml"
TOML = "/etc/aziot/config.toml"
PLACEHOLDER = b"<ADD DEVICE CONNECTION STRING HERE>"
CONNECTION = b"HostName=hub.azure-devices.net;DeviceId=machine;SharedAccessKey=c3RhbmQtaW4ta2V5"
SETTINGS = b'[provisioning]\nsource = "manual"\nconnection_string = "' + CONNECTION + b'"\n'
AGENT = (Module(name="edgeAgent", status="running"),)


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that must come true."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


async def observed(login: Login, path: str, holds: Callable[[Facts], bool] = lambda _: True) -> Facts:
    """What the device says as soon as it is what it must be."""
    deadline = time.monotonic() + 20
    async with connect(login) as session:
        while not holds(facts := await session.observe(path)):
            assert time.monotonic() < deadline, f"still {facts}"
    return facts


def unit(machine: Machine, name: str, item: str) -> str:
    """One property of a unit."""
    return machine.run("systemctl", "show", name, "--property", item, "--value").strip()


def test_the_machine_is_what_the_tests_take_it_for(machine: Machine) -> None:
    """No unit of systemd has failed, and there is no way out."""
    assert machine.run("cat", "/proc/1/comm") == "systemd\n"
    assert machine.run("systemctl", "is-system-running") == "running\n"
    gateways = [line.split()[2] for line in machine.run("cat", "/proc/net/route").splitlines()[1:]]
    assert gateways == ["00000000"]


async def test_observe_of_a_bare_machine(login: Login) -> None:
    """No runtime, no file, no unit; and all of it is an answer."""
    facts = await observed(login, YAML)
    assert (facts.version, facts.kind, facts.unit.load_state, facts.modules) == ("", "absent", "not-found", ())


async def test_observe_after_the_installation_of_1_1(machine: Machine, login: Login) -> None:
    """The file is the daemon's alone and says nothing yet, and systemd gave the daemon up."""
    packages.install(machine, "1.1.15")
    facts = await observed(login, YAML, lambda facts: facts.unit.active_state == "failed")
    assert (facts.version, facts.kind, facts.mode) == ("1.1.15", "file", "iotedge:iotedge 400")
    assert PLACEHOLDER in (facts.content or b"")
    assert b'hostname: "edge-device"' in (facts.content or b"")
    assert (facts.unit.result, facts.unit.exec_main_status, facts.modules) == ("exit-code", 153, ())


async def test_apply_to_1_1_until_edge_agent_runs(machine: Machine, login: Login) -> None:
    """A connection string, written by a user who is not root, brings daemon and edgeAgent up."""
    packages.install(machine, "1.1.15")
    before = await observed(login, YAML)
    content = (before.content or b"").replace(PLACEHOLDER, CONNECTION)
    async with connect(login) as session:
        assert await session.apply(YAML, before=before.sha256, content=content) == "applied"
    facts = await observed(login, YAML, lambda facts: facts.modules == AGENT)
    assert (facts.content, facts.mode) == (content, "iotedge:iotedge 400")
    assert (facts.unit.active_state, facts.unit.sub_state, facts.unit.result) == ("active", "running", "success")
    assert machine.run("ls", "-A", "/etc/iotedge").split() == ["config.yaml", "config.yaml.template"]


async def test_a_key_that_the_hub_refuses_leaves_the_daemon_of_1_1_up(machine: Machine, login: Login) -> None:
    """Only the journal and the empty list tell."""
    machine.run("touch", "/run/stub-hub-says-401")
    packages.install(machine, "1.1.15")
    before = await observed(login, YAML)
    async with connect(login) as session:
        content = (before.content or b"").replace(PLACEHOLDER, CONNECTION)
        assert await session.apply(YAML, before=before.sha256, content=content) == "applied"
    until(lambda: "401 Unauthorized" in machine.run("journalctl", "--unit", "iotedge.service", "--output", "cat"))
    facts = await observed(login, YAML)
    assert (facts.unit.active_state, facts.modules) == ("active", ())


async def test_observe_after_the_installation_of_1_5(machine: Machine, login: Login) -> None:
    """There is a template, but no file."""
    packages.install(machine, "1.5.44")
    facts = await observed(login, TOML)
    assert (facts.version, facts.kind) == ("1.5.44", "absent")
    assert machine.run("stat", "--format=%U:%G %a", "/etc/aziot/config.toml.edge.template") == "root:root 600\n"
    until(lambda: unit(machine, "aziot-edged.service", "ActiveState") == "failed")
    assert unit(machine, "aziot-edged.service", "ExecMainStatus") == "153"


async def test_config_apply_of_1_5_until_edge_agent_runs(machine: Machine, login: Login) -> None:
    """The file counts from 'iotedge config apply' on."""
    packages.install(machine, "1.5.44")
    machine.run("install", "-m", "600", "/dev/stdin", TOML, stdin=SETTINGS)
    assert machine.run("iotedge", "config", "apply").endswith("Done.\n")
    facts = await observed(login, TOML, lambda facts: facts.modules == AGENT)
    assert (facts.content, facts.mode) == (SETTINGS, "root:root 600")
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
