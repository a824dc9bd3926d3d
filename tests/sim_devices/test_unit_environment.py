"""Drop-ins of a unit: what systemd makes of them, and when they count."""

import pathlib

import pytest
from device_lab import on, status_of

from edgeherd_sim.devices import environment, messages
from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.environment import Environment
from edgeherd_sim.devices.filesystem import FileSystem
from waiting import until

UNIT = "iotedge.service"


def drop_in(root: pathlib.Path, text: str, *, unit: str = UNIT, name: str = "edgeherd.conf") -> None:
    """Write a drop-in, without a reload."""
    folder = root / f"etc/systemd/system/{unit}.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("text", "said", "shown"),
    [
        pytest.param("[Service]\nEnvironment=A=b\n", {"A": "b"}, "Environment=A=b\n", id="bare"),
        pytest.param('[Service]\nEnvironment="A=b c"\n', {"A": "b c"}, "Environment=[unprintable]\n", id="quoted"),
        pytest.param('[Service]\nEnvironment=A=1 "B=2"\n', {"A": "1", "B": "2"}, "Environment=A=1 B=2\n", id="two"),
        pytest.param('[Service]\nEnvironment=A="b"\n', {"A": "b"}, "Environment=A=b\n", id="quoted inside"),
        pytest.param(
            '[Service]\nEnvironment="https_proxy=http://u:p%%40w@h:1"\n',
            {"https_proxy": "http://u:p%40w@h:1"},
            "Environment=https_proxy=http://u:p%40w@h:1\n",
            id="a doubled percent sign is one",
        ),
        pytest.param(r"[Service]" + '\nEnvironment="A=b\\"c"\n', {"A": 'b"c'}, 'Environment=A=b"c\n', id="a backslash"),
        pytest.param("[Unit]\nEnvironment=A=b\n", {}, "", id="another section"),
        pytest.param("[Service]\n#Environment=A=b\n", {}, "", id="a comment"),
        pytest.param(
            "[Service]\nEnvironment=A=b\nEnvironment=\nEnvironment=C=d\n", {"C": "d"}, "Environment=C=d\n", id="reset"
        ),
        pytest.param(
            "[Service]\nEnvironmentFile=-/etc/x\n",
            {},
            "Environment=\nEnvironmentFiles=/etc/x (ignore_errors=yes)\n",
            id="a file is only named",
        ),
    ],
)
def test_what_a_drop_in_says(tmp_path: pathlib.Path, text: str, said: dict[str, str], shown: str) -> None:
    """By systemd's rules of quoting."""
    drop_in(tmp_path, text)
    loaded = environment.load(FileSystem(tmp_path), UNIT)
    assert (loaded.said, loaded.shown()) == (said, shown)


def test_later_drop_ins_win(tmp_path: pathlib.Path) -> None:
    """In the order of their names."""
    drop_in(tmp_path, "[Service]\nEnvironment=A=late B=late\n", name="90-b.conf")
    drop_in(tmp_path, "[Service]\nEnvironment=A=early C=early\n", name="10-a.conf")
    drop_in(tmp_path, "[Service]\nEnvironment=A=never\n", name="99-c.off")
    assert environment.load(FileSystem(tmp_path), UNIT).said == {"A": "late", "B": "late", "C": "early"}


def test_a_file_is_read_when_the_process_starts(tmp_path: pathlib.Path) -> None:
    """It has the last word, and no percent signs are doubled in it. One that must be there must be there."""
    files = FileSystem(tmp_path)
    unit = Environment(said={"A": "1", "B": "1"}, files=("/etc/env", "-/etc/none"))
    with pytest.raises(FileNotFoundError):
        unit.of_process(files)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/env").write_text("# a remark\nB=\"x%40 y\"\n\nC='z'\nnonsense\n")
    assert unit.of_process(files) == {"A": "1", "B": "x%40 y", "C": "z"}


async def test_a_drop_in_counts_after_a_reload_and_a_restart(healthy: Device) -> None:
    """Neither alone is enough; `show` says what systemd knows, the process what it was started with."""
    show = "systemctl show iotedge -p Environment"
    drop_in(healthy.root, "[Service]\nEnvironment=https_proxy=http://proxy:3128\n")
    await on(healthy, "sudo -n systemctl restart iotedge")
    assert (healthy.daemon_environment, (await on(healthy, show)).output) == ({}, "Environment=\n")
    await on(healthy, "sudo -n systemctl daemon-reload")
    assert healthy.daemon_environment == {}
    assert (await on(healthy, show)).output == "Environment=https_proxy=http://proxy:3128\n"
    await on(healthy, "sudo -n systemctl restart iotedge")
    assert healthy.daemon_environment == {"https_proxy": "http://proxy:3128"}
    (healthy.root / "etc/systemd/system/iotedge.service.d/edgeherd.conf").unlink()
    await on(healthy, "sudo -n systemctl daemon-reload; sudo -n systemctl restart iotedge")
    assert (healthy.daemon_environment, (await on(healthy, show)).output) == ({}, "Environment=\n")


async def test_a_reload_is_for_root(device: Device) -> None:
    """And says so in its own words."""
    answer = await on(device, "systemctl daemon-reload")
    assert (answer.status, answer.errors) == (1, "Failed to reload daemon: Interactive authentication required.\n")


async def test_a_missing_file_keeps_the_unit_from_its_restart(healthy: Device) -> None:
    """The job fails, as that of a unit without resources does."""
    drop_in(healthy.root, "[Service]\nEnvironmentFile=/etc/none\n")
    answer = await on(healthy, "sudo -n systemctl daemon-reload; sudo -n systemctl restart iotedge")
    assert (answer.status, answer.errors) == (1, "Job for iotedge.service failed.\n")
    unit = healthy.daemon.unit
    assert (unit.active, unit.result) == ("failed", "resources")
    assert status_of(healthy) == [("edgeAgent", "stopped")]


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        pytest.param("http://proxy:3128", "http://proxy:3128/", id="nothing to hide"),
        pytest.param("https://me:secret@proxy:3128", "https://me:******@proxy:3128/", id="a password"),
        pytest.param("http://me@proxy/x", "http://me@proxy/x", id="a user without one"),
    ],
)
def test_a_proxys_password_is_masked(proxy: str, shown: str) -> None:
    """As the daemons do."""
    assert messages.masked(proxy) == shown


async def test_the_journal_names_the_proxy(healthy: Device) -> None:
    """Without the password."""
    drop_in(healthy.root, '[Service]\nEnvironment="https_proxy=http://me:secret@proxy:3128"\n')
    await on(healthy, "sudo -n systemctl daemon-reload; sudo -n systemctl restart iotedge")
    await until(
        lambda: any("Detected HTTPS proxy server http://me:******@proxy:3128/" in line for line in healthy.journal)
    )
    assert not any("secret" in line for line in healthy.journal)


async def test_apply_restarts_the_helper_with_its_environment(applied: Device) -> None:
    """A restart of aziot-edged alone does not: aziot-identityd, which asks the hub, keeps running."""
    text = '[Service]\nEnvironment="https_proxy=http://proxy:3128"\n'
    for unit in ("aziot-edged.service", "aziot-identityd.service", "docker.service"):
        drop_in(applied.root, text, unit=unit)
    expected = {"https_proxy": "http://proxy:3128"}
    await on(applied, "sudo -n systemctl daemon-reload; sudo -n systemctl restart aziot-edged docker")
    assert applied.daemon_environment == applied.environment_of("docker.service") == expected
    assert applied.environment_of("aziot-identityd.service") == {}
    await on(applied, "sudo -n iotedge config apply")
    assert applied.environment_of("aziot-identityd.service") == expected
    await until(lambda: any("aziot-identityd" in line and "Detected HTTPS proxy" in line for line in applied.journal))
