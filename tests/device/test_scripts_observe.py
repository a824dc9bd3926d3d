"""What a look at a device says."""

import hashlib
import os
import pathlib
import stat

import pytest
from script_lab import CONFIG, OLD, Machine

import processes
from edgeherd.device import scripts
from edgeherd.device.port import Query

SUPER = "/etc/aziot/edged/config.d/00-super.toml"
TOML = "/etc/aziot/config.toml"


def runs(machine: Machine, version: str) -> None:
    """The device has this runtime."""
    machine.stub("iotedge", f"[ \"$1\" != version ] || echo '{version}'")


def test_everything_is_said_at_once(machine: Machine) -> None:
    """Version, path, kind, owner and mode, the bytes as they are, times, the units, the modules."""
    facts = machine.observe("")
    mode = f"{machine.config.owner()}:{machine.config.group()} {stat.S_IMODE(machine.config.stat().st_mode):o}"
    assert (facts.version, facts.path, facts.kind, facts.mode) == ("1.0.10", CONFIG, "file", mode)
    assert (facts.content, facts.modified, facts.template, facts.taken) == (OLD, 1_600_000_000, None, True)
    assert (facts.unit.name, facts.unit.active_state) == ("iotedge.service", "active")
    assert [(module.name, module.status) for module in facts.modules] == [("edgeAgent", "running")]
    assert (facts.hashes, facts.journal, facts.started) == ((), "", None)


@pytest.mark.parametrize(
    ("said", "version", "path"),
    [
        ("iotedge 1.0.10 (5a1c9d)", "1.0.10", CONFIG),
        ("iotedge 1.0.9.5", "1.0.9.5", CONFIG),
        ("iotedge 1.1.15", "1.1.15", CONFIG),
        ("iotedge 1.1", "1.1", CONFIG),
        ("iotedge 1.1.0~rc2", "1.1.0~rc2", CONFIG),
        ("iotedge 1.2.10", "1.2.10", TOML),
        ("iotedge 1.10.1", "1.10.1", TOML),
        ("iotedge 1.5.44", "1.5.44", TOML),
        ("iotedge 2.0.0", "2.0.0", TOML),
    ],
)
def test_the_runtime_says_where_its_file_and_its_units_are(
    machine: Machine, said: str, version: str, path: str
) -> None:
    """1.0 and 1.1 have one unit and a YAML; all later ones have several and a TOML."""
    runs(machine, said)
    machine.stub("systemctl", 'echo "$*" >> ROOT/shows')
    facts = machine.observe("")
    assert (facts.version, facts.path) == (version, path)
    units = "iotedge.service"
    if path == TOML:
        units = "aziot-edged.service aziot-identityd.service aziot-keyd.service aziot-certd.service"
    assert (machine.root / "shows").read_text().startswith(f"show {units} docker.service -p Id ")


@pytest.mark.parametrize(
    ("stubs", "version"),
    [
        pytest.param({"iotedge": "[ $1 != version ] && echo 'iotedge 1.4.3'"}, "1.4.3", id="it knows --version only"),
        pytest.param({"iotedge": "echo broken >&2; exit 127"}, "", id="no runtime at all"),
        pytest.param(
            {"iotedge": "exit 127", "dpkg-query": "printf 'iotedge 1.5.44-1\\n'; exit 1"},
            "1.5.44-1",
            id="a deb of 1.2+",
        ),
        pytest.param(
            {"iotedge": "exit 127", "dpkg-query": "printf 'iotedge 1.1.15-1\\n'"}, "1.1.15-1", id="a deb of 1.1"
        ),
        pytest.param(
            {"iotedge": "exit 127", "rpm": "echo 'package aziot-edge is not installed'; echo 'iotedge 1.1.15'; exit 1"},
            "1.1.15",
            id="an rpm of 1.1",
        ),
        pytest.param(
            {"iotedge": "exit 127", "rpm": "echo 'package iotedge is not installed'; exit 2"},
            "",
            id="an rpm machine without",
        ),
        pytest.param(
            {"iotedge": "exec sleep 30", "timeout": "exit 124", "dpkg-query": "echo 'iotedge 1.1.15'"},
            "1.1.15",
            id="it hangs",
        ),
    ],
)
def test_a_runtime_whose_program_cannot_run_is_found_by_its_package(
    machine: Machine, stubs: dict[str, str], version: str
) -> None:
    """Broken libraries or another architecture are no reason to say that nothing is installed."""
    for name, body in stubs.items():
        machine.stub(name, body)
    facts = machine.observe("")
    assert (facts.version, facts.path) == (version, CONFIG if version.startswith("1.1") else TOML)


@pytest.mark.parametrize("version", ["1.0.10", "1.5.44"])
def test_a_path_that_is_given_counts(machine: Machine, version: str) -> None:
    """Whatever the runtime is."""
    runs(machine, f"iotedge {version}")
    machine.write("/etc/other/config.toml", b"other")
    facts = machine.observe("/etc/other/config.toml")
    assert (facts.path, facts.content) == ("/etc/other/config.toml", b"other")


@pytest.mark.parametrize(
    ("version", "there", "template"),
    [
        pytest.param("1.5.44", True, b"# template\n", id="1.2 and later have it"),
        pytest.param("1.5.44", False, None, id="but it may be missing"),
        pytest.param("1.1.15", True, None, id="1.1 makes its file itself"),
    ],
)
def test_what_the_package_has_for_a_fresh_device(
    machine: Machine, version: str, there: bool, template: bytes | None
) -> None:
    """Only where there is no file yet."""
    runs(machine, f"iotedge {version}")
    machine.config.unlink()
    if there:
        machine.write("/etc/aziot/config.toml.edge.template", b"# template\n")
    facts = machine.observe("")
    assert (facts.kind, facts.sha256, facts.content, facts.template) == ("absent", "absent", None, template)


@pytest.mark.parametrize(
    ("file", "applied", "taken"),
    [
        pytest.param(2000, None, False, id="never applied"),
        pytest.param(2000, 3000, True, id="applied since"),
        pytest.param(3000, 2000, False, id="changed since"),
        pytest.param(None, 2000, True, id="there is nothing to apply"),
    ],
)
def test_whether_config_apply_was_run(machine: Machine, file: int | None, applied: int | None, taken: bool) -> None:
    """As `iotedge check` finds it out: by the times of config.toml and 00-super.toml."""
    runs(machine, "iotedge 1.5.44")
    for path, time in ((TOML, file), (SUPER, applied)):
        if time is not None:
            os.utime(machine.write(path, b"x"), (time, time))
    assert machine.observe("").taken is taken


def test_hashes_of_other_files(machine: Machine) -> None:
    """In the order of the question; 'absent' for nothing, 'other' for what is no regular file or cannot be read."""
    for path in ("/etc/edgeherd/proxy.env", "/etc/ö/ *;$(touch x).conf", "/etc/broken", "/etc/-n", "/etc/\\033[1m"):
        machine.write(path, path.encode())
    for path, target in (("/etc/link", "edgeherd/proxy.env"), ("/etc/dangling", "nowhere")):
        machine.at(path).symlink_to(target)
    os.mkfifo(machine.at("/etc/pipe"))
    machine.stub(
        "sha256sum",
        'case $* in *broken*) exit 1 ;; esac; if [ $# = 0 ] && [ "$(wc -c < /proc/self/fd/0)" = 11 ]; then exit 1; fi; exec REAL "$@"',
    )
    expected = {
        "/etc/edgeherd/proxy.env": hashlib.sha256(b"/etc/edgeherd/proxy.env").hexdigest(),
        "/etc/nothing": "absent",
        "/etc/ö/ *;$(touch x).conf": hashlib.sha256("/etc/ö/ *;$(touch x).conf".encode()).hexdigest(),
        "/etc/edgeherd": "other",
        "/etc/link": "other",
        "/etc/dangling": "other",
        "/etc/pipe": "other",
        "/etc/broken": "other",
        "/etc/-n": hashlib.sha256(b"/etc/-n").hexdigest(),
        "/etc/\\033[1m": hashlib.sha256(b"/etc/\\033[1m").hexdigest(),
        "/etc/nothing/at/all": "absent",
    }
    assert machine.observe("", *expected).hashes == tuple(expected.values())


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param("rm -f FILE", "absent", id="nothing"),
        pytest.param("rm -f FILE; mkdir FILE", "other", id="a folder"),
        pytest.param("mv FILE FILE.real; ln -s FILE.real FILE", "symlink", id="a symbolic link"),
        pytest.param("rm -f FILE; ln -s /nowhere FILE", "symlink", id="a dangling symbolic link"),
        pytest.param("rm -f FILE; mkfifo FILE", "other", id="a pipe"),
    ],
)
def test_what_is_no_regular_file_is_named_and_not_read(machine: Machine, make: str, kind: str) -> None:
    """A pipe would hold us for ever."""
    processes.run(["sh", "-c", make.replace("FILE", f"'{machine.config}'")], check=True)
    facts = machine.observe("")
    assert (facts.kind, facts.content, facts.mode) == (kind, None, "")


@pytest.mark.parametrize(
    ("make", "real"),
    [
        pytest.param("", "", id="no link at all"),
        pytest.param("mv DIR ROOT/data; ln -s ROOT/data DIR", "/data/config.yaml", id="the folder is one"),
        pytest.param("mv ROOT/etc ROOT/data; ln -s data ROOT/etc", "/data/iotedge/config.yaml", id="a folder above it is one"),
        pytest.param("mv DIR/config.yaml ROOT/mine.yaml; ln -s ../../mine.yaml DIR/config.yaml", "/mine.yaml", id="the file is one"),
        pytest.param("mv DIR ROOT/data; ln -s ROOT/data DIR; rm -f ROOT/data/*", "/data/config.yaml", id="and there is no file"),
    ],
)  # fmt: skip
def test_where_the_file_is_if_there_is_a_link_on_the_way(machine: Machine, make: str, real: str) -> None:
    """Each A/B image has its data elsewhere. Where nobody can tell, there is no answer to that."""
    script = make.replace("DIR", str(machine.config.parent)).replace("ROOT", str(machine.root))
    processes.run(["sh", "-ec", script], check=True)
    assert machine.observe("").real_path == real
    assert machine.without("readlink").observe("").real_path == ""


def test_a_folder_that_is_not_there(machine: Machine) -> None:
    """Half a package, or another kind of it."""
    runs(machine, "iotedge 1.5.44")
    facts = machine.observe("")
    assert (facts.kind, facts.has_folder, facts.path) == ("absent", False, TOML)
    machine.at("/etc/aziot").mkdir()
    assert machine.observe("").has_folder


def test_a_read_error_is_no_empty_file(machine: Machine) -> None:
    """An empty file could be edited; one that cannot be read must not look like it."""
    machine.stub("dd", 'case $* in *config.yaml*) printf half; exit 1 ;; esac; exec REAL "$@"')
    facts = machine.observe("")
    assert (facts.kind, facts.content) == ("file", None)


def test_an_empty_file_is_a_file(machine: Machine) -> None:
    """It is just as long as it is."""
    machine.config.chmod(0o600)
    machine.config.write_bytes(b"")
    assert machine.observe("").content == b""


def test_a_huge_file_is_cut(machine: Machine) -> None:
    """One byte more than what is edited tells that it is too long."""
    machine.config.chmod(0o600)
    machine.config.write_bytes(b"#" * 2_000_000)
    assert len(machine.observe("").content or b"") == 256 * 1024 + 1


def test_a_bare_machine_is_an_answer(machine: Machine) -> None:
    """Without systemd and IoT Edge the values are empty, not missing."""
    for name in ("iotedge", "systemctl", "journalctl"):
        (machine.root / "stubs" / name).unlink()
    facts = machine.observe("")
    assert (facts.version, facts.unit.name, facts.modules, facts.journal) == ("", "", (), "")


def test_talkative_programs_mislead_nobody(machine: Machine) -> None:
    """Programs that read standard input or forge answers change nothing: they know no nonce."""
    machine.stub("iotedge", "cat; echo 'kind Zm9v'; echo '0000 kind Zm9v'")
    machine.stub("systemctl", "cat; echo '0000 end Zm9v'")
    assert machine.observe(CONFIG, CONFIG).kind == "file"


UNITS = """\
Id=UNIT
LoadState=loaded
ActiveState=ACTIVE
SubState=SUB
Result=success
NRestarts=2
ExecMainStatus=STATUS
ExecMainStartTimestampMonotonic=STARTED

Id=aziot-identityd.service
LoadState=loaded
ActiveState=failed
ExecMainStatus=1
ExecMainStartTimestampMonotonic=77000000

Id=docker.service
LoadState=loaded
ActiveState=active
ExecMainStartTimestampMonotonic=55000000
"""


def units(active: str = "active", *, sub: str = "running", status: int = 0, started: str = "10123456") -> str:
    """Three units, the daemon's first."""
    text = UNITS.replace("UNIT", "aziot-edged.service").replace("ACTIVE", active).replace("SUB", sub)
    return text.replace("STATUS", str(status)).replace("STARTED", started)


def test_all_units_are_told(machine: Machine) -> None:
    """The daemon's is the first one, the engine's is among the others."""
    machine.units(units("failed", sub="failed", status=153))
    facts = machine.observe("")
    assert (facts.unit.active_state, facts.unit.exec_main_status, facts.unit.restarts) == ("failed", 153, 2)
    assert [(unit.name, unit.active_state) for unit in facts.services] == [
        ("aziot-identityd.service", "failed"),
        ("docker.service", "active"),
    ]
    assert facts.engine is not None
    assert facts.engine.name == "docker.service"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param(units(started="10123456"), 10, id="so many seconds after the boot"),
        pytest.param(units(started="1000000"), 1, id="the first second"),
        pytest.param(units(started="0"), None, id="never: the other units' starts are not its own"),
        pytest.param("", None, id="no systemd"),
        pytest.param("ExecMainStartTimestampMonotonic=12x3000000", None, id="nonsense"),
    ],
)
def test_when_the_daemon_started(machine: Machine, text: str, seconds: int | None) -> None:
    """By the clock that nobody sets, told in the other one."""
    machine.units(text)
    facts = machine.observe("")
    if seconds is None:
        assert facts.started is None
        return
    assert facts.now is not None
    assert facts.started is not None
    uptime = float(pathlib.Path("/proc/uptime").read_text().split()[0])
    assert abs(facts.now - uptime + seconds - facts.started) <= 2


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        pytest.param(units("active"), True, id="it runs"),
        pytest.param(units("failed", sub="failed"), False, id="it failed"),
        pytest.param(units("inactive", sub="dead"), False, id="it is stopped"),
        pytest.param(units("activating", sub="auto-restart"), False, id="it is about to be started again"),
        pytest.param(units("deactivating"), False, id="it is being stopped"),
        pytest.param("", True, id="nobody knows"),
    ],
)
def test_a_daemon_that_does_not_run_is_not_asked(machine: Machine, text: str, asked: bool) -> None:
    """The question would start it, by its socket, and use up systemd's patience with it."""
    machine.units(text)
    machine.stub("iotedge", "echo \"$1\" >> ROOT/asked; echo 'iotedge 1.5.44'")
    machine.observe("")
    assert ("list" in (machine.root / "asked").read_text().split()) is asked


AGENT = "NAME   STATUS   DESCRIPTION  CONFIG\nedgeAgent   STATE   Up 5 minutes  x\nlogger   running   Up 2 days   y\n"


@pytest.mark.parametrize(
    ("modules", "journal"),
    [
        pytest.param(AGENT.replace("STATE", "running"), False, id="it runs"),
        pytest.param(AGENT.replace("   STATE", "\trunning"), False, id="it runs, after a tab"),
        pytest.param(AGENT.replace("STATE", "failed"), True, id="it failed"),
        pytest.param(
            AGENT.replace("edgeAgent", "edgeAgent2").replace("STATE", "running"), True, id="it is another one"
        ),
        pytest.param("", True, id="there is none"),
    ],
)
def test_the_journal_is_read_where_edge_agent_does_not_run(machine: Machine, modules: str, journal: bool) -> None:
    """It is long, it may hold secrets, and it is of use only then."""
    (machine.root / "modules").write_text(modules)
    machine.stub("iotedge", "if [ $1 = list ]; then cat ROOT/modules; else echo iotedge 1.1.15; fi")
    expected = "journalctl -u iotedge.service -n 200 --no-pager -o cat" if journal else ""
    assert machine.observe("").journal == expected


def test_the_journal_is_that_of_the_present_run(machine: Machine) -> None:
    """What was said before the daemon's start is history; aziot-identityd is who talks to the hub."""
    runs(machine, "iotedge 1.5.44")
    machine.units(units(started="10000000"))
    facts = machine.observe("")
    assert facts.started is not None
    assert facts.journal == (
        f"journalctl -u aziot-edged.service -u aziot-identityd.service --since @{facts.started - 2} -n 200 --no-pager -o cat"
    )


def test_a_question_that_is_cut_is_not_answered(machine: Machine) -> None:
    """Without its last line it might be another question."""
    whole = scripts.observe(Query(others=("/etc/a", "/etc/b")))
    stdin = whole.stdin("5e1f")
    for end in (len(stdin) - 2, stdin.index(b"/etc/b"), stdin.index(b"/etc/a") + 3):
        assert "end" not in machine.run(whole, stdin=stdin[:end])
