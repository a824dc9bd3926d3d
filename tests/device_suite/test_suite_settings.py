"""The daemon's file: written once, kept as it was found, put right, and put back where the daemon refuses it."""

import asyncio
import base64

import pytest
from driver import KEY, READY, STRING, Operator, Wire, image_in_use, picture, starts, state, temporary
from subject import SUPER, TOML, YAML, Subject, folder, is_toml, settings, units

from waiting import until

OTHER_IMAGE = "mcr.microsoft.com/azureiotedge-agent:1.5.9"
DISLIKED = "mcr.microsoft.com/azureiotedge-agent:disliked"


def image(name: str) -> dict[str, object]:
    """The part of a spec."""
    return {"runtime": {"agent": {"image": name}}}


@pytest.mark.versions("1.0", "1.1", "1.5", "1.6")
async def test_from_the_package_to_health_with_one_start(subject: Subject, operator: Operator) -> None:
    """The daemon is started once, edgeAgent runs, and owner, mode and folder are the package's."""
    before = await picture(subject)
    assert (await operator.turn()).events == ("Normal IdentityCreated", "Normal ConfigApplied")
    await operator.healthy()
    after = await picture(subject)
    assert (after.starts, operator.applies) == (before.starts + 1, 1)
    assert (await state(subject, units(subject)[0]))[0] == "active"
    assert STRING.encode() in (after.content or b"")
    assert after.folder is not None
    assert before.folder is not None
    assert (after.folder.owner, after.folder.mode) == (before.folder.owner, before.folder.mode)
    assert after.names == (before.names if before.file else tuple(sorted([*before.names, "config.toml"])))


@pytest.mark.versions("1.0", "1.1", "1.5", "1.6")
async def test_a_second_pass_changes_nothing(subject: Subject, healthy: Operator) -> None:
    """Neither content nor time nor inode of the file, nor the daemon, nor anything in the cluster."""
    before, applies, writes = await picture(subject), healthy.applies, list(healthy.cluster.steps.taken)
    for _ in range(2):
        assert (await healthy.turn()).reason == READY
    assert (await picture(subject), healthy.applies, healthy.cluster.steps.taken) == (before, applies, writes)
    assert await temporary(subject) == []


async def test_owner_and_mode_stay(subject: Subject, operator: Operator) -> None:
    """1.1: those of the package. 1.5: the file is root's, and nobody else reads it."""
    before = await subject.stat(settings(subject))
    await operator.healthy()
    after = await subject.stat(settings(subject))
    assert after is not None
    if before is None:
        assert after.mode == "600"
        if "owners" in subject.supports:
            assert after.owner == "root:root"
        return
    assert (after.owner, after.mode, after.kind) == (before.owner, before.mode, "file")
    if "owners" in subject.supports:
        assert (after.owner, after.mode) == ("iotedge:iotedge", "400")


@pytest.mark.versions("1.1")
@pytest.mark.needs("owners")
async def test_a_mode_that_somebody_chose_stays(subject: Subject, operator: Operator) -> None:
    """Such as for a group of people who may look into it."""
    await subject.run("chown", "root:iotedge", YAML)
    await subject.run("chmod", "640", YAML)
    await operator.healthy()
    found = await subject.stat(YAML)
    assert found is not None
    assert (found.owner, found.mode) == ("root:iotedge", "640")


@pytest.mark.versions("1.5", "1.6")
async def test_without_a_file_the_template_becomes_one(subject: Subject, operator: Operator) -> None:
    """Nothing of the package's own text is lost, and 'iotedge config apply' was run."""
    assert await subject.stat(TOML) is None
    template = (await subject.read(f"{TOML}.edge.template")).splitlines()
    await operator.healthy()
    written = (await subject.read(TOML)).splitlines()
    assert [line for line in template if line.startswith(b"##") and line not in written] == []
    assert (await operator.facts()).taken
    assert await subject.read("/var/secrets/aziot/keyd/device-id") == base64.b64decode(KEY)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(KEY, "b3RoZXIta2V5", id="another key"),
        pytest.param("DeviceId=press-01", "DeviceId=press-02", id="another device"),
        pytest.param(":1.4", ":1.3", id="another image"),
    ],
)
async def test_a_hand_edit_of_ours_is_put_right(subject: Subject, healthy: Operator, old: str, new: str) -> None:
    """What the spec says holds again, with one start more."""
    before = await picture(subject)
    assert before.content is not None
    await subject.write(settings(subject), before.content.replace(old.encode(), new.encode()))
    assert (await healthy.turn()).events == ("Normal ConfigDriftCorrected", "Warning DaemonRestarted")
    await healthy.healthy()
    after = await picture(subject)
    assert (after.content, after.starts) == (before.content, before.starts + 1)


async def test_a_hand_edit_is_reported_where_the_policy_says_so(subject: Subject, healthy: Operator) -> None:
    """And nothing is touched."""
    content = (await subject.read(settings(subject))).replace(b":1.4", b":1.3")
    await subject.write(settings(subject), content)
    before, applies = await picture(subject), healthy.applies
    healthy.wants(**image("mcr.microsoft.com/azureiotedge-agent:1.4"), driftPolicy="Report")
    turn = await healthy.turn()
    assert (turn.reason, [change.action for change in turn.plan]) == ("DriftDetected", ["Change"])
    assert (await picture(subject), healthy.applies) == (before, applies)


@pytest.mark.versions("1.5", "1.6")
async def test_a_hand_edit_that_was_not_applied_is_applied(subject: Subject, healthy: Operator) -> None:
    """It is in nothing that the spec names, so it holds; but a person forgot 'iotedge config apply'."""
    healthy.wants()
    await healthy.healthy()
    before = await starts(subject)
    content = (await subject.read(TOML)).replace(b":1.4", b":1.3")
    await subject.write(TOML, content)
    assert (await healthy.turn()).events == ("Normal ConfigApplied", "Warning DaemonRestarted")
    await healthy.healthy()
    assert (await subject.read(TOML), await starts(subject)) == (content, before + 1)
    assert b":1.3" in await subject.read(SUPER)
    assert (await healthy.turn()).reason == READY


@pytest.mark.versions("1.1")
async def test_a_hand_edit_without_a_restart_gets_one(subject: Subject, healthy: Operator) -> None:
    """The file is newer than the daemon's start: it runs with something else than what the file says."""
    healthy.wants()
    await healthy.healthy()
    await asyncio.sleep(3.2)  # more than the slack for clocks that show whole seconds
    content = (await subject.read(YAML)).replace(b":1.4", b":1.3")
    before = await starts(subject)
    await subject.write(YAML, content)
    assert (await healthy.turn()).events == ("Warning DaemonRestarted",)
    await healthy.healthy()
    assert (await subject.read(YAML), await starts(subject)) == (content, before + 1)
    assert await image_in_use(subject) == "mcr.microsoft.com/azureiotedge-agent:1.3"


@pytest.mark.parametrize(
    ("yaml", "toml"),
    [
        pytest.param(b"\tnote: a tab\n", b"[provisioning\n", id="syntax"),
        pytest.param(b"agent: 7\n", b"[agent.config]\nimage = 7\n", id="a value of another kind"),
    ],
)
async def test_what_a_person_broke_is_left_alone(subject: Subject, healthy: Operator, yaml: bytes, toml: bytes) -> None:
    """It is reported, and not one byte is changed; the daemon goes on with what it has."""
    await subject.write(settings(subject), await subject.read(settings(subject)) + (toml if is_toml(subject) else yaml))
    before, applies = await picture(subject), healthy.applies
    turn = await healthy.turn()
    assert (turn.reason, turn.stalled) == ("ConfigNotEditable", True)
    assert (await picture(subject), healthy.applies) == (before, applies)
    assert (await state(subject, units(subject)[0]))[0] == "active"


@pytest.mark.versions("1.0", "1.1", "1.5", "1.6")
@pytest.mark.needs("dislikes")
async def test_what_the_daemon_refuses_is_put_back(subject: Subject, healthy: Operator) -> None:
    """For a reason that nobody could know: all is as before, the daemon runs, and it is not tried again."""
    before = await picture(subject)
    await subject.fault("dislikes")
    healthy.wants(**image(DISLIKED))
    turn = await healthy.turn()
    assert (turn.reason, turn.stalled) == ("ConfigRejected", True)
    after = await picture(subject)
    assert (after.content, after.file, after.names) == (before.content, before.file, before.names)
    assert await temporary(subject) == []
    await until(lambda: _runs(subject, "mcr.microsoft.com/azureiotedge-agent:1.4"))
    settled, applies = await picture(subject), healthy.applies
    assert (await healthy.turn()).reason == "ConfigRejected"
    assert (await picture(subject), healthy.applies) == (settled, applies)
    healthy.wants(**image(OTHER_IMAGE))
    await healthy.healthy()
    assert await image_in_use(subject) == OTHER_IMAGE


@pytest.mark.needs("dislikes")
async def test_what_the_daemon_refuses_at_first_is_put_back(subject: Subject, operator: Operator) -> None:
    """The package's file is there again, or none; the next spec finds its way."""
    before = await picture(subject)
    await subject.fault("dislikes")
    operator.wants(**image(DISLIKED))
    assert (await operator.turn()).reason == "ConfigRejected"
    after = await picture(subject)
    assert (after.content, after.file, after.names) == (before.content, before.file, before.names)
    operator.wants(**image(OTHER_IMAGE))
    await operator.healthy()
    assert await image_in_use(subject) == OTHER_IMAGE


@pytest.mark.versions("1.5", "1.6")
async def test_another_host_name_is_refused_while_there_are_containers(subject: Subject, healthy: Operator) -> None:
    """By 'iotedge config apply', which says so; the file is put back."""
    before = await picture(subject)
    healthy.wants(runtime={"hostname": "elsewhere", "agent": {"image": "mcr.microsoft.com/azureiotedge-agent:1.4"}})
    turn = await healthy.turn()
    assert (turn.reason, turn.stalled) == ("HostNameInUse", True)
    assert await picture(subject) == before


@pytest.mark.needs("cut")
@pytest.mark.parametrize(
    ("share", "seconds"),
    [
        pytest.param(0.2, 0.0, id="within the command"),
        pytest.param(0.9, 0.0, id="within the content"),
        pytest.param(1.0, 0.0, id="when all is there"),
        pytest.param(1.0, 0.3, id="while the daemon is restarted"),
    ],
)
async def test_a_connection_that_breaks_leaves_the_old_or_the_new(
    subject: Subject, healthy: Operator, share: float, seconds: float
) -> None:
    """Whole, with the daemon running with it, before anybody looks again; and then it is finished."""
    old = await subject.read(settings(subject))
    healthy.wants(**image(OTHER_IMAGE))
    async with Wire(subject, share=share, seconds=seconds).laid() as wire:
        healthy.wire = wire
        turn = await healthy.turn()
    healthy.wire = None
    assert (wire.was_cut, turn.reason) == (True, "DeviceUnreachable")
    await until(lambda: _idle(subject))
    left = await subject.read(settings(subject))
    assert left in {old, old.replace(b"azureiotedge-agent:1.4", b"azureiotedge-agent:1.5.9")}
    if share < 1:
        assert left == old
    assert await temporary(subject) == []
    await until(lambda: _runs(subject, OTHER_IMAGE if left != old else "mcr.microsoft.com/azureiotedge-agent:1.4"))
    await healthy.healthy()
    assert await image_in_use(subject) == OTHER_IMAGE


@pytest.mark.versions("1.1")
@pytest.mark.needs("upgrade")
async def test_an_upgrade_to_1_5_starts_from_its_template(subject: Subject, healthy: Operator) -> None:
    """The old file is left where it is, and counts for nothing."""
    await subject.install("1.5.44")
    await healthy.healthy()
    assert is_toml(subject)
    assert (await state(subject, "aziot-edged.service"))[0] == "active"
    assert await image_in_use(subject) == "mcr.microsoft.com/azureiotedge-agent:1.4"
    assert "config.toml" in await subject.listing(folder(subject))


async def _runs(subject: Subject, name: str) -> bool:
    return await image_in_use(subject) == name


async def _idle(subject: Subject) -> bool:
    return not await subject.at_work()
