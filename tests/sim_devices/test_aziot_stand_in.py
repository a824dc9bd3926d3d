"""The daemons of 1.2 and later: what `iotedge config apply` leads to, and what it does not."""

import pathlib
import stat
import tomllib

import pytest
from device_lab import (
    AZIOT,
    OTHER_KEY,
    PACE,
    STRING,
    Outcome,
    ScriptedHub,
    apply,
    certificate,
    configure,
    on,
    status_of,
)

from edgeherd import config
from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.hubdoor import Answer
from edgeherd_sim.devices.server import serve
from waiting import until

SERVICES = ("certd", "edged", "identityd", "keyd", "tpmd")
RUNNING = [("edgeAgent", "running")]
RESTARTED = """\
Restarting service for configuration to take effect...
Stopping aziot-edged.service...Stopped!
Stopping aziot-identityd.service...Stopped!
Stopping aziot-keyd.service...Stopped!
Stopping aziot-certd.service...Stopped!
Stopping aziot-tpmd.service...Stopped!
Starting aziot-edged.mgmt.socket...Started!
Starting aziot-edged.workload.socket...Started!
Starting aziot-identityd.socket...Started!
Starting aziot-keyd.socket...Started!
Starting aziot-certd.socket...Started!
Starting aziot-tpmd.socket...Started!
Starting aziot-edged.service...Started!
Done.
"""


def _super(device: Device, service: str) -> dict[str, object]:
    return tomllib.loads((device.root / f"etc/aziot/{service}/config.d/00-super.toml").read_text())


async def test_a_fresh_device_has_a_template_and_nothing_else(aziot: Device, hub: ScriptedHub) -> None:
    """No config.toml, no /etc/iotedge; the daemon ended with 153, and nobody was asked."""
    assert sorted(entry.name for entry in (aziot.root / "etc/aziot").iterdir()) == [
        "certd",
        "config.toml.edge.template",
        *SERVICES[1:],
    ]
    assert not (aziot.root / "etc/iotedge").exists()
    assert stat.S_IMODE(aziot.template_file.stat().st_mode) == 0o600
    unit = aziot.daemon.unit
    assert (unit.active, unit.sub, unit.result, unit.status) == ("failed", "failed", "exit-code", 153)
    assert (aziot.restarts, aziot.modules, hub.asked) == (0, (), [])


@pytest.mark.parametrize(
    ("wanted", "changed"),
    [
        pytest.param({"connection_string": STRING}, 3, id="a connection string: three lines lose their comment signs"),
        pytest.param({"connection_string": STRING, "hostname": "press-01"}, 4, id="a host name in its own place"),
        pytest.param(
            {
                "x509": config.X509(
                    iothub_hostname="h.example", device_id="d", identity_cert="file:///c", identity_pk="file:///k"
                )
            },
            8,
            id="a certificate",
        ),
        pytest.param({"connection_string": STRING, "agent_image": "agent:1"}, 8, id="an image: the agent's section"),
    ],
)
async def test_the_operators_editor_finds_its_way_in_the_template(
    aziot: Device, wanted: dict[str, object], changed: int
) -> None:
    """It is of the shape of the real one: no line is added, only commented ones come to life."""
    before = aziot.template_file.read_text().splitlines()
    version = config.Version.parse(AZIOT)
    after = config.edit(aziot.template_file.read_bytes(), config.Wanted(**wanted), version=version).content.decode()
    lines = after.splitlines()
    assert len(lines) == len(before)
    assert sum(old != new for old, new in zip(before, lines, strict=True)) == changed
    assert config.check(after.encode(), version=version).valid


@pytest.mark.parametrize(
    ("prepare", "command", "outcome"),
    [
        pytest.param(None, "iotedge config apply", "this command must be run as root\n", id="it is for root"),
        pytest.param(
            None,
            "sudo -n iotedge config apply",
            "could not read config file /etc/aziot/config.toml: No such file or directory (os error 2)\n",
            id="no file",
        ),
        pytest.param(
            b"[provisioning]\nsource = manual\n",
            "sudo -n iotedge config apply",
            "could not parse config file: TOML parse error at line 2, column 1\n  |\n2 | source = manual\n  | ^\nThe file is not TOML",
            id="no TOML",
        ),
        pytest.param(
            b'[provisioning]\nsource = "manual"\nconnection_string = "HostName=h"\n',
            "sudo -n iotedge config apply",
            'could not parse config file: TOML parse error at line 3, column 1\n  |\n3 | connection_string = "HostName=h"\n  | ^\n'
            "The connection string has no DeviceId\n",
            id="half a connection string",
        ),
        pytest.param(
            b"hostname = 'h'\n",
            "sudo -n iotedge config apply",
            "could not parse config file: There is no [provisioning] section\n",
            id="no provisioning",
        ),
    ],
)
async def test_apply_refuses_and_restarts_nothing(
    aziot: Device, prepare: bytes | None, command: str, outcome: str
) -> None:
    """Status 1, one complaint, and nothing was written."""
    if prepare is not None:
        aziot.config_file.write_bytes(prepare)
    answer = await on(aziot, command)
    assert (answer.status, answer.output) == (1, "")
    assert answer.errors.startswith(outcome)
    assert answer.errors.endswith("\n")
    assert aziot.restarts == 0
    assert not list((aziot.root / "etc/aziot").glob("*/config.d/*"))


async def test_apply_configures_all_daemons(aziot: Device, hub: ScriptedHub) -> None:
    """It says what it did, the files are closed, the key is in one of its own, and edgeAgent comes."""
    configure(aziot, hostname="gate", agent_image="agent:9", agent_env={"UpstreamProtocol": "AmqpWs"})
    note = "Note: Symmetric key will be written to /var/secrets/aziot/keyd/device-id\n"
    done = "Azure IoT Edge has been configured successfully!\n"
    assert await apply(aziot) == Outcome(0, f"{note}{done}\n{RESTARTED}", "")
    files = [aziot.root / f"etc/aziot/{service}/config.d/00-super.toml" for service in SERVICES]
    key = aziot.root / "var/secrets/aziot/keyd/device-id"
    assert {stat.S_IMODE(file.stat().st_mode) for file in (*files, key)} == {0o600}
    assert all(file.read_text().startswith("# This file is auto-generated by `iotedge config apply`") for file in files)
    assert key.read_bytes() == b"secret"
    assert _super(aziot, "identityd")["provisioning"] == {
        "source": "manual",
        "iothub_hostname": "hub.example.net",
        "device_id": "press-01",
        "authentication": {"method": "sas", "device_id_pk": "device-id"},
    }
    await until(lambda: status_of(aziot) == RUNNING)
    assert [(asked.host_name, asked.device_id, asked.shared_access_key) for asked in hub.asked] == [
        ("hub.example.net", "press-01", "c2VjcmV0")
    ]
    assert aziot.modules[0].image == "agent:9"
    assert aziot.restarts == 1
    assert "secret" not in "".join(aziot.journal)
    assert "c2VjcmV0" not in "".join(aziot.journal)


async def test_the_daemon_never_reads_config_toml(applied: Device, hub: ScriptedHub) -> None:
    """A restart of aziot-edged starts with what was applied last, whatever stands in the file now."""
    asked = len(hub.asked)
    applied.config_file.write_bytes(b"this is no TOML")
    await on(applied, "sudo -n systemctl restart aziot-edged")
    await until(lambda: applied.daemon.settings is not None and status_of(applied) == RUNNING)
    assert (applied.restarts, len(hub.asked)) == (1, asked)


@pytest.mark.parametrize(
    ("string", "kept"),
    [
        pytest.param(OTHER_KEY, True, id="another key keeps the containers"),
        pytest.param(STRING.replace("press-01", "press-02"), False, id="another device does not"),
        pytest.param(STRING.replace("hub.", "pub."), False, id="another hub does not"),
    ],
)
async def test_what_costs_the_containers(applied: Device, hub: ScriptedHub, string: str, kept: bool) -> None:
    """Where they are kept they are stopped and started again, and the hub is not asked: that proves no key."""
    applied.daemon.modules.run("mine", "image:1")
    hub.answer = Answer(accepted=False, reason="HTTP response error: [401 Unauthorized]")
    asked = len(hub.asked)
    configure(applied, connection_string=string)
    assert (await apply(applied)).status == 0
    if kept:
        await until(lambda: sorted(status_of(applied)) == [*RUNNING, ("mine", "running")])
        assert len(hub.asked) == asked
    else:
        await until(lambda: any("401 Unauthorized" in line for line in applied.journal))
        assert applied.modules == ()
        assert any("Change to device information detected" in line for line in applied.journal)


@pytest.mark.parametrize(
    ("version", "image", "hostname"),
    [
        pytest.param("1.1.15", "agent:2", "new", id="1.1 makes all containers anew"),
        pytest.param("1.2.10", "agent:1", "old", id="1.2 starts the one that is there, with the old name"),
        pytest.param("1.5.44", "agent:1", "old", id="1.5 does so too; the name may not even change"),
        pytest.param("1.6.1", "agent:1", "old", id="and 1.6"),
    ],
)
async def test_what_reaches_a_container_that_is_there(
    hub: ScriptedHub, version: str, image: str, hostname: str
) -> None:
    """`update_device_cache` of aziot-edged compares device, hub and parent alone; 1.1 hashes all settings."""
    async with serve(hub=hub, pace=PACE, runtime_version=version) as fleet:
        device = fleet.devices[0]
        for name, agent in (("old", "agent:1"), ("new" if version < "1.3" else "old", "agent:2")):
            configure(device, hostname=name, agent_image=agent)
            if version < "1.2":
                assert await device.daemon.systemctl("restart")
            else:
                assert (await apply(device)).status == 0
            await until(lambda: status_of(device) == RUNNING)
        assert [(module.image, module.hostname) for module in device.modules] == [(image, hostname)]
        assert device.daemon.settings is not None
        assert (device.daemon.settings.agent_image, device.daemon.settings.hostname) == (
            "agent:2",
            "new" if version < "1.3" else "old",
        )


@pytest.mark.parametrize(
    ("version", "containers", "status"),
    [
        pytest.param("1.5.44", True, 1, id="containers know the old name"),
        pytest.param("1.5.44", False, 0, id="there are none"),
        pytest.param("1.2.10", True, 0, id="1.2 does not look"),
    ],
)
async def test_another_host_name_is_refused_while_there_are_containers(
    hub: ScriptedHub, version: str, containers: bool, status: int
) -> None:
    """From 1.3 on; the complaint says what to do, and the old configuration stays."""
    async with serve(hub=hub, pace=PACE, runtime_version=version) as fleet:
        device = fleet.devices[0]
        configure(device, hostname="old")
        await apply(device)
        await until(lambda: status_of(device) == RUNNING)
        if not containers:
            device.daemon.modules.remove()
        configure(device, hostname="new")
        answer = await apply(device)
        assert answer.status == status
        assert answer.errors.startswith("Cannot apply config because the hostname in the config old") == bool(status)
        assert _super(device, "edged")["hostname"] == ("old" if status else "new")


async def test_apply_says_well_done_to_units_that_fail(aziot: Device) -> None:
    """Its status says nothing of the daemon, which goes on crashing: its RestartSec is longer than systemd's limit."""
    configure(aziot)
    aziot.faults.apply_lies(1)
    assert (await apply(aziot)).status == 0
    await until(lambda: aziot.daemon.unit.restarts > 6)
    aziot.faults.clear()
    await until(lambda: status_of(aziot) == RUNNING)


async def test_a_certificate_is_presented_by_its_thumbprint(aziot: Device, hub: ScriptedHub) -> None:
    """Where certificate and key are, certd and keyd are told; without the files the journal says so."""
    where = {"identity_cert": "file:///etc/d.pem", "identity_pk": "file:///etc/d.key"}
    x509_ = config.X509(iothub_hostname="h.example", device_id="press-01", **where)
    configure(aziot, connection_string=None, x509=x509_)
    await apply(aziot)
    await until(lambda: any("Could not load the identity certificate" in line for line in aziot.journal))
    key, pem, thumbprint = certificate()
    (aziot.root / "etc/d.key").write_bytes(key)
    (aziot.root / "etc/d.pem").write_bytes(pem)
    await until(lambda: status_of(aziot) == RUNNING)
    assert hub.presented[0] == ("press-01", thumbprint.lower())
    assert _super(aziot, "certd")["preloaded_certs"]["device-id"] == "file:///etc/d.pem"
    assert not (aziot.root / "var/secrets/aziot").exists()


async def test_provisioning_by_dps_is_not_simulated(aziot: Device, hub: ScriptedHub) -> None:
    """The daemon runs, never gets edgeAgent, and the journal says why."""
    aziot.config_file.write_text(
        '[provisioning]\nsource = "dps"\nglobal_endpoint = "https://dps.example"\nid_scope = "0ne"\n'
        '[provisioning.attestation]\nmethod = "symmetric_key"\nregistration_id = "a"\nsymmetric_key = { value = "YQ==" }\n'
    )
    assert (await apply(aziot)).status == 0
    await until(lambda: any("by 'dps.symmetric_key' is not simulated" in line for line in aziot.journal))
    assert (aziot.daemon.unit.active, aziot.modules, hub.asked) == ("active", (), [])


async def test_show_of_several_units_at_once(applied: Device) -> None:
    """Blank lines between them; the helpers are up because somebody asked them, all but the one for TPMs."""
    units = "aziot-edged aziot-identityd.service aziot-tpmd docker aziot-edged.mgmt.socket iotedge"
    answer = await on(applied, f"systemctl show {units} -p Id,LoadState,ActiveState")
    blocks = [dict(line.split("=") for line in block.splitlines()) for block in answer.output.split("\n\n")]
    assert [(block["Id"], block["LoadState"], block["ActiveState"]) for block in blocks] == [
        ("aziot-edged.service", "loaded", "active"),
        ("aziot-identityd.service", "loaded", "active"),
        ("aziot-tpmd.service", "loaded", "inactive"),
        ("docker.service", "loaded", "active"),
        ("aziot-edged.mgmt.socket", "loaded", "active"),
        ("iotedge.service", "not-found", "inactive"),
    ]


async def test_system_status_and_restart(applied: Device) -> None:
    """A restart of all is one restart; the status is in words, and the program's own status 0 whatever they are."""
    assert (await on(applied, "sudo -n iotedge system restart")).status == 0
    await until(lambda: status_of(applied) == RUNNING)
    assert applied.restarts == 1
    shown = (await on(applied, "iotedge system status")).output.splitlines()
    assert [line.split() for line in shown[:6]] == [
        ["System", "services:"],
        ["aziot-edged", "Running"],
        ["aziot-identityd", "Running"],
        ["aziot-keyd", "Running"],
        ["aziot-certd", "Running"],
        ["aziot-tpmd", "Ready"],
    ]
    assert (await on(applied, "iotedge system restart")).status == 1
    await on(applied, "sudo -n iotedge system stop")
    after = await on(applied, "iotedge system status")
    assert after.status == 0
    assert after.output.splitlines()[1].split() == ["aziot-edged", "Down", "-", "inactive"]
    assert status_of(applied) == [("edgeAgent", "stopped")]


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        pytest.param(
            "-u aziot-edged -n 1", [" aziot-edged[1000]: ", "[INFO] - Edge runtime is running"], id="one unit"
        ),
        pytest.param(
            "-u aziot-edged.service -u aziot-identityd -n 1 -o cat",
            ["[INFO] - Edge runtime is running"],
            id="two, bare",
        ),
        pytest.param(
            "-n1 --unit=aziot-identityd -ocat --no-pager", ["[INFO] - Provisioning complete."], id="the one that asks"
        ),
        pytest.param("-u iotedge", ["-- No entries --"], id="none of this generation"),
    ],
)
async def test_the_journal_of_several_units(applied: Device, options: str, lines: list[str]) -> None:
    """What is asked for, in the order of time."""
    answer = await on(applied, f"sudo -n journalctl {options}")
    assert answer.output.count("\n") == 1
    assert all(line in answer.output for line in lines)


async def test_an_old_configuration_stays_on_an_upgraded_device(hub: ScriptedHub, tmp_path: pathlib.Path) -> None:
    """As on a real one: /etc/iotedge/config.yaml survives, and nobody reads it any more."""
    async with serve(root=tmp_path, hub=hub, pace=PACE) as fleet:
        old = fleet.devices[0].config_file
    async with serve(root=tmp_path, hub=hub, pace=PACE, runtime_version=AZIOT) as fleet:
        device = fleet.devices[0]
        assert old.exists()
        assert not device.config_file.exists()
        answer = await on(device, "iotedge version; systemctl is-active iotedge aziot-keyd")
        assert answer.output == "iotedge 1.5.44\ninactive\ninactive\n"
