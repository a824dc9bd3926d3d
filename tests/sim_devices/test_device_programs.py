"""The programs on a device: what they print and how they end, as on a real one."""

import re

import pytest
from device_lab import Outcome, on, provision

from edgeherd_sim.devices.device import Device
from waiting import until

FRESH = "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=153\nNRestarts=0\n"
GONE = "LoadState=not-found\nActiveState=inactive\nSubState=dead\n"


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        pytest.param("id -u", Outcome(0, "1000\n", ""), id="the login user is nobody special"),
        pytest.param("id -un", Outcome(0, "edgeops\n", ""), id="the login user has a name"),
        pytest.param("sudo -n id -u", Outcome(0, "0\n", ""), id="sudo makes root"),
        pytest.param("sudo -n -u root -- id -un", Outcome(0, "root\n", ""), id="sudo with a user and two dashes"),
        pytest.param("sudo -n sh -c 'exit 7'", Outcome(7, "", ""), id="sudo passes the status on"),
        pytest.param("sudo -n sh -c 'sudo -n id -u'", Outcome(0, "0\n", ""), id="root may sudo as well"),
        pytest.param("iotedge version", Outcome(0, "iotedge 1.0.10\n", ""), id="the version as a command"),
        pytest.param("iotedge --version", Outcome(0, "iotedge 1.0.10\n", ""), id="the version as an option"),
        pytest.param(
            "iotedge list",
            Outcome(1, "", "A module runtime error occurred\n\tcaused by: Permission denied (os error 13)\n"),
            id="list is for root",
        ),
        pytest.param(
            "sudo -n iotedge list",
            Outcome(1, "", "A module runtime error occurred\n\tcaused by: Connection refused (os error 111)\n"),
            id="list needs the daemon",
        ),
        pytest.param("systemctl is-active iotedge", Outcome(3, "failed\n", ""), id="is-active of a failed unit"),
        pytest.param("systemctl is-failed -q iotedge", Outcome(0, "", ""), id="is-failed, quietly"),
        pytest.param(
            "systemctl is-active nginx", Outcome(3, "inactive\n", ""), id="is-active of a unit that is not there"
        ),
        pytest.param(
            "systemctl show iotedge.service -p LoadState -p ActiveState -p SubState -p Result -p ExecMainStatus -p NRestarts",
            Outcome(0, FRESH, ""),
            id="show, property by property",
        ),
        pytest.param(
            "systemctl show --property=ActiveState,SubState --value iotedge",
            Outcome(0, "failed\nfailed\n", ""),
            id="show, a list of properties and only the values",
        ),
        pytest.param(
            "systemctl show nginx -p LoadState,ActiveState,SubState", Outcome(0, GONE, ""), id="show of an unknown unit"
        ),
        pytest.param(
            "systemctl restart iotedge",
            Outcome(1, "", "Failed to restart iotedge.service: Interactive authentication required.\n"),
            id="restart is for root",
        ),
        pytest.param(
            "sudo -n systemctl restart nginx",
            Outcome(5, "", "Failed to restart nginx.service: Unit nginx.service not found.\n"),
            id="restart of an unknown unit",
        ),
        pytest.param("sudo -n systemctl daemon-reload", Outcome(0, "", ""), id="daemon-reload"),
        pytest.param("sudo -n systemctl reset-failed iotedge", Outcome(0, "", ""), id="reset-failed"),
        pytest.param(
            "sudo -n systemctl restart iotedge", Outcome(0, "", ""), id="restart says well done to bad settings"
        ),
        pytest.param("sudo -n systemctl fly iotedge", Outcome(1, "", "Unknown command verb fly.\n"), id="no such verb"),
        pytest.param("journalctl -u nginx", Outcome(0, "-- No entries --\n", ""), id="the journal of another unit"),
    ],
)
async def test_a_program_answers_as_on_a_fresh_device(device: Device, command: str, outcome: Outcome) -> None:
    """Status, output and complaints are all there is to a program."""
    # Order in the state file is systemd's, not that of the options.
    answer = await on(device, command)
    if "-p ExecMainStatus" in command:
        assert sorted(answer.output.split()) == sorted(outcome.output.split())
        return
    assert answer == outcome


async def test_sudo_with_a_password_is_of_no_use_here(device: Device) -> None:
    """Without -n it has no terminal; with -n and without the rule it says that it needs a password."""
    assert (await on(device, "sudo id -u")).status == 1
    device.faults.sudo_refuses()
    assert await on(device, "sudo -n id -u") == Outcome(1, "", "sudo: a password is required\n")
    device.faults.clear()
    assert (await on(device, "sudo -n id -u")).output == "0\n"


async def test_restart_by_program_is_counted_and_brings_edge_agent(device: Device) -> None:
    """From the device's own systemctl to its own list, through the simulator."""
    provision(device)
    await on(device, "sudo -n systemctl reset-failed iotedge; sudo -n systemctl restart iotedge.service")
    await until(lambda: device.modules != ())
    listed = await on(device, "sudo -n iotedge list")
    header, row = listed.output.splitlines()
    assert header == "NAME             STATUS           DESCRIPTION      CONFIG"
    assert re.sub(r"\d+ seconds? +", "", row) == (
        "edgeAgent        running          Up mcr.microsoft.com/azureiotedge-agent:1.0"
    )
    assert device.restarts == 1
    assert (await on(device, "systemctl is-active iotedge")).output == "active\n"


async def test_the_journal_can_be_read_and_cut(healthy: Device) -> None:
    """`journalctl` shows the lines that the simulator has, -n the last of them."""
    whole = await on(healthy, "journalctl --no-pager -u iotedge")
    assert tuple(whole.output.splitlines()) == healthy.journal
    assert (await on(healthy, "journalctl -u iotedge.service -n 1")).output.endswith(
        "[INFO] - Edge runtime is running.\n"
    )


async def test_many_restarts_at_once_are_all_answered(device: Device) -> None:
    """They are done one after the other, and every systemctl hears of it."""
    provision(device)
    answer = await on(device, "for i in 1 2 3 4 5; do sudo -n systemctl restart iotedge & done; wait")
    assert answer == Outcome(0, "", "")
    await until(lambda: device.modules != ())
    assert device.restarts == 5


async def test_a_bug_of_the_simulator_keeps_no_program_waiting(
    device: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends with status 1, and the bug is reported."""

    async def ask(request: str) -> None:
        raise ZeroDivisionError(request)

    monkeypatch.setattr(device, "ask", ask)
    assert await on(device, "sudo -n iotedge check") == Outcome(1, "", "the simulator failed\n")
    assert "'check:text:root' failed on press-01" in caplog.text
