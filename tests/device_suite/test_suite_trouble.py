"""What is wrong with a device: told apart, and nothing is made worse."""

import re

import pytest
from driver import ID, KEY, Operator, picture, starts, state, temporary
from subject import Subject, folder, is_toml, settings, units

from waiting import until


@pytest.mark.parametrize(
    ("fault", "reason", "word"),
    [
        pytest.param("full", "ConfigUnwritable", "is full", id="a full disk"),
        pytest.param("read_only", "ConfigUnwritable", "is read-only", id="a read-only disk"),
        pytest.param("symlinked_folder", "ConfigPathUnsafe", "symbolic link", id="a folder that is a link"),
        pytest.param("foreign_folder", "ConfigPathUnsafe", "belongs to a user", id="somebody else's folder"),
        pytest.param("open_folder", "ConfigPathUnsafe", "by everybody", id="everybody's folder"),
        pytest.param("no_sudo", "SudoRefused", "NOPASSWD", id="a user who may not become root"),
    ],
)
async def test_what_cannot_be_written_is_said(
    subject: Subject, operator: Operator, fault: str, reason: str, word: str
) -> None:
    """Nothing was changed and nothing is left behind; once it is fixed it goes on."""
    await subject.fault(fault)
    before = await picture(subject)
    turn = await operator.turn()
    assert (turn.reason, word in turn.message) == (reason, True), turn
    assert await picture(subject) == before
    assert await temporary(subject) == []
    await subject.fix(fault)
    await operator.healthy()


async def test_a_folder_that_is_linked_on_purpose(subject: Subject, operator: Operator) -> None:
    """To a data partition, say: the message has the path to name, and with it all goes well."""
    await subject.fault("symlinked_folder")
    turn = await operator.turn()
    real = re.search(r"set spec.runtime.configPath to '(/srv/\S+)'", turn.message)
    assert real is not None, turn
    operator.wants(runtime={"configPath": real[1]})
    await operator.healthy()
    assert KEY.encode() in await subject.read(real[1])
    found = await subject.stat(folder(subject))
    assert found is not None
    assert found.kind == "link"
    assert await temporary(subject) == []
    await subject.fix("symlinked_folder")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param("unauthorized", "HubRefusesKey", id="the hub refuses the key"),
        pytest.param("no_network", "HubNameNotResolved", id="no name is known"),
        pytest.param("image_pull_fails", "ImagePullFailed", id="there is no image"),
        pytest.param("clock", "ClockSkewed", id="the clock is wrong"),
    ],
)
async def test_why_edge_agent_does_not_run_is_said(
    subject: Subject, operator: Operator, fault: str, reason: str
) -> None:
    """The file is written all the same; the daemon is started by us but once."""
    await subject.fault(fault)
    turn = await operator.until(reason)
    assert "journalctl" in turn.message or reason == "ClockSkewed"
    assert (await operator.turn()).reason == reason
    assert operator.applies == 1
    await subject.fix(fault)
    await operator.healthy()


@pytest.mark.needs("engine_down")
async def test_a_container_engine_that_is_down_is_said(subject: Subject, healthy: Operator) -> None:
    """The daemon is not to blame: neither it nor its file is touched, and it goes on by itself."""
    before, applies = await picture(subject), healthy.applies
    await subject.fault("engine_down")
    for _ in range(2):
        assert (await healthy.turn()).reason == "ContainerEngineDown"
    await subject.fix("engine_down")
    await healthy.healthy()
    assert (await picture(subject), healthy.applies) == (before, applies)


@pytest.mark.needs("crashes")
async def test_a_daemon_that_ends_again_and_again_is_told_from_bad_settings(
    subject: Subject, healthy: Operator
) -> None:
    """Whatever is wrong, the file is not to blame: it stays, and we start the daemon at most once."""
    before, applies = await picture(subject), healthy.applies
    await subject.fault("crashes")
    await subject.run("systemctl", "restart", units(subject)[0])
    await healthy.until("DaemonCrashing", "DaemonNotRunning", "ContainerEngineDown")  # 1.5 blames its engine in the log
    await healthy.turn()
    assert healthy.applies - applies <= 1
    after = await picture(subject)
    assert (after.content, after.file) == (before.content, before.file)
    await subject.fix("crashes")


@pytest.mark.versions("1.1")
@pytest.mark.needs("wrong_mode")
async def test_a_file_that_the_daemon_may_not_read(subject: Subject, operator: Operator) -> None:
    """Root reads it; the daemon does not. Its mode is somebody's decision: it stays, and so does the file."""
    await subject.fault("wrong_mode")
    before = await picture(subject)
    facts = await operator.facts()
    assert (facts.mode.rpartition(" ")[2], facts.content) == ("0", before.content)
    if "owners" in subject.supports:
        assert facts.mode == "root:root 0"
    assert (await operator.turn()).reason == "ConfigRejected"
    after = await picture(subject)
    assert (after.content, after.file) == (before.content, before.file)
    await subject.fix("wrong_mode")


@pytest.mark.needs("unreadable")
async def test_a_file_that_cannot_be_read_is_not_taken_for_an_empty_one(subject: Subject, healthy: Operator) -> None:
    """Its place on the disk is broken."""
    await subject.fault("unreadable")
    turn = await healthy.turn()
    assert (turn.reason, turn.stalled) == ("ConfigUnreadable", True)
    await subject.fix("unreadable")
    await healthy.healthy()


@pytest.mark.needs("no_runtime")
async def test_no_runtime_is_an_answer(subject: Subject, operator: Operator) -> None:
    """Nothing is installed."""
    await subject.fault("no_runtime")
    assert (await operator.turn()).reason == "RuntimeNotFound"


@pytest.mark.versions("1.0", "1.1", "1.5", "1.6")
async def test_to_look_at_a_failed_daemon_does_not_start_it(subject: Subject, operator: Operator) -> None:
    """'iotedge list' would, by its socket; and that uses up systemd's patience."""
    before = await picture(subject)
    for _ in range(3):
        facts = await operator.facts()
        assert (facts.unit.active_state, facts.unit.exec_main_status) == ("failed", 153)
    assert await picture(subject) == before


async def test_to_look_at_a_stopped_daemon_does_not_start_it(subject: Subject, healthy: Operator) -> None:
    """Somebody stopped it for a reason; the operator says so and leaves it."""
    await subject.run("systemctl", "stop", units(subject)[0])
    before, applies = await starts(subject), healthy.applies
    for _ in range(2):
        assert (await healthy.turn()).reason == "DaemonNotRunning"
    assert (await starts(subject), healthy.applies) == (before, applies)
    assert (await state(subject, units(subject)[0]))[0] == "inactive"


@pytest.mark.needs("dislikes")
async def test_a_daemon_that_failed_is_started_again(subject: Subject, operator: Operator) -> None:
    """Its file is right, and what was wrong is fixed by now: one start is all that it needs."""
    await _failed_with_the_right_file(subject, operator)
    await subject.fix("dislikes")
    before = await starts(subject)
    assert (await operator.turn()).events == ("Warning DaemonRestarted",)
    await operator.healthy()
    assert (await starts(subject), operator.applies) == (before + 1, 2)


@pytest.mark.needs("dislikes")
async def test_a_daemon_that_fails_with_the_right_file_is_started_but_once(
    subject: Subject, operator: Operator
) -> None:
    """Whatever is wrong, starts do not fix it, and each of them stops what runs."""
    await _failed_with_the_right_file(subject, operator)
    assert (await operator.turn()).reason == "ConfigRejected"
    before = await picture(subject)
    for _ in range(2):
        assert (await operator.turn()).reason == "DaemonRefusesConfig"
    assert (await picture(subject), operator.applies) == (before, 2)


async def _failed_with_the_right_file(subject: Subject, operator: Operator) -> None:
    operator.wants(runtime={"agent": {"image": "mcr.microsoft.com/azureiotedge-agent:disliked"}})
    await operator.healthy()
    await subject.fault("dislikes")
    await subject.run("systemctl", "restart", units(subject)[0])
    await until(lambda: _has_failed(subject))


async def test_a_user_whom_nobody_knows(subject: Subject, operator: Operator) -> None:
    """The device refuses the login; that is not a broken connection."""
    before = await picture(subject)
    operator.wants(ssh={"user": "nobody-here"})
    turn = await operator.turn()
    assert (turn.reason, turn.stalled, "'nobody-here'" in turn.message) == ("SshLoginRefused", True, True), turn
    assert (await picture(subject), operator.applies) == (before, 0)


async def test_a_device_that_is_let_go_has_no_key_of_ours(subject: Subject, healthy: Operator) -> None:
    """1.1: the daemon has refused the placeholder. 1.5: it goes on with what the hub has forgotten."""
    healthy.wants(runtime={"proxy": {"httpsProxy": "http://proxy.example.net:3128"}})
    await healthy.healthy()
    before = await picture(subject)
    assert await healthy.let_go() == (None, ("Normal ConfigurationRemoved", "Normal IdentityReleased"))
    assert (healthy.cluster.devices, await healthy.hub.get(ID)) == ({}, None)
    after = await picture(subject)
    assert KEY.encode() not in (after.content or b"")
    assert b"SharedAccessKey" not in b"".join(
        line for line in (after.content or b"").splitlines() if not line.strip().startswith(b"#")
    )
    assert (after.file and after.file.mode, after.names) == (before.file and before.file.mode, before.names)
    for unit in units(subject):
        assert await subject.stat(f"/etc/systemd/system/{unit}.d/50-edgeherd-proxy.conf") is None
    assert await temporary(subject) == []
    if is_toml(subject):
        assert after.starts == before.starts
        return
    await until(lambda: _has_failed(subject))
    assert await state(subject, units(subject)[0]) == ("failed", "153")
    assert settings(subject) in (await healthy.facts()).path


async def _has_failed(subject: Subject) -> bool:
    return (await state(subject, units(subject)[0]))[0] == "failed"
