"""Devices whose userland is small or odd: what is missing is named, what can be done without is done without."""

import hashlib
import os

import pytest
from script_lab import APPLY, CONFIG, NEW, OLD, RESTART, TOOLS, UNPARSABLE, Machine, change, digest, other

import processes
from edgeherd.device import linux_scripts
from edgeherd.device.port import Action
from waiting import wait_until

LOGIN = "/etc/edgeherd/proxy.env"


@pytest.mark.parametrize("name", [*linux_scripts.NEEDED, "systemctl", "sha256sum"])
def test_a_tool_that_is_missing_is_named(machine: Machine, name: str) -> None:
    """And no other one; what else is said may be wrong then."""
    assert machine.without(name).observe("", LOGIN).missing == (name,)


def test_all_tools_that_are_missing_are_named_at_once(machine: Machine) -> None:
    """Whoever builds the image builds it once more, not five times."""
    gone = ("dd", "mktemp", "stat", "systemctl", "sha256sum")
    assert machine.without(*gone).observe("").missing == gone


def test_whoever_has_all_tools_hears_nothing(machine: Machine) -> None:
    """What is only of use sometimes is not asked for: the log's end, hard links, packages, labels without SELinux."""
    fewer = machine.without("tail", "ln", "timeout", "readlink", "journalctl")
    assert (machine.observe("").missing, fewer.observe("").missing) == ((), ())


def test_where_files_have_labels_chcon_is_needed(machine: Machine) -> None:
    """Without the right label the daemon could not read its file."""
    machine.write("/sys/fs/selinux/enforce", b"1")
    assert machine.observe("").missing == ("chcon",)
    machine.stub("chcon", ":")
    assert machine.observe("").missing == ()


def test_a_stat_that_knows_no_format_is_none(machine: Machine) -> None:
    """Busybox can be built so. It says how it is used, and ends with 1."""
    machine.stub("stat", 'echo "Usage: stat [-ltf] FILE..." >&2; exit 1')
    assert machine.observe("").missing == ("stat",)


def test_openssl_stands_in_for_sha256sum(machine: Machine) -> None:
    """In a look and in a change."""
    openssl = machine.program("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    fewer = machine.without("sha256sum")
    machine.stub("openssl", f'exec {openssl} "$@"')
    odd = "/etc/odd\\name *.env"
    machine.write(odd, b"odd")
    machine.write(LOGIN, b"old")
    facts = fewer.observe("", LOGIN, odd, "/etc/nothing", "/etc")
    assert (facts.missing, facts.hashes) == ((), (digest(b"old"), digest(b"odd"), "absent", "other"))
    assert fewer.apply(change(NEW, other(LOGIN, b"new", before=b"old"))) == "applied"
    assert (machine.config.read_bytes(), machine.at(LOGIN).read_bytes()) == (NEW, b"new")


# ---- time limits

NO_TIMEOUT = [
    pytest.param(None, id="none"),
    pytest.param("echo \"timeout: can't execute '$3': No such file or directory\" >&2; exit 127", id="busybox 1.30"),
]


def without_timeout(machine: Machine, stub: str | None) -> Machine:
    """There is no `timeout`, or one of another time. Whoever is to be ended is ended soon."""
    fewer = machine.without("timeout")
    machine.stub(
        "sleep",
        "case $1 in 0.5) exit ;; 10 | 15) [ ! -e ROOT/pipe ] || set 0.1 ;; esac\necho $$ >> ROOT/naps; exec REAL $1",
    )
    if stub is not None:
        machine.stub("timeout", stub)
    return fewer


@pytest.mark.parametrize("stub", NO_TIMEOUT)
def test_without_timeout_everything_is_found(machine: Machine, stub: str | None) -> None:
    """Not 'no IoT Edge runtime'."""
    facts, fewer = machine.observe(""), without_timeout(machine, stub).observe("")
    assert (fewer.version, fewer.unit, fewer.modules, fewer.missing) == (facts.version, facts.unit, facts.modules, ())


@pytest.mark.parametrize("stub", NO_TIMEOUT)
@pytest.mark.parametrize(
    ("content", "action", "result"),
    [
        pytest.param(NEW, Action.RESTART, "applied", id="restart"),
        pytest.param(NEW, Action.CONFIG_APPLY, "applied", id="config apply"),
        pytest.param(UNPARSABLE, Action.CONFIG_APPLY, "refused", id="config apply refuses"),
    ],
)
def test_without_timeout_the_daemon_is_restarted(
    machine: Machine, stub: str | None, content: bytes, action: Action, result: str
) -> None:
    """And its refusal heard."""
    assert without_timeout(machine, stub).apply(change(content, action=action)) == result
    assert (machine.calls, machine.leftovers()) == (APPLY if action is Action.CONFIG_APPLY else RESTART, [])
    assert machine.config.read_bytes() == (NEW if result == "applied" else OLD)


@pytest.mark.parametrize("stub", NO_TIMEOUT)
def test_without_timeout_what_hangs_is_ended_all_the_same(machine: Machine, stub: str | None) -> None:
    """It does not heed TERM here. Nobody is left behind: neither it nor the watch."""
    fewer = without_timeout(machine, stub)
    os.mkfifo(machine.root / "pipe")
    machine.stub("iotedge", "trap '' TERM HUP; echo $$ >> ROOT/hung; read -r nothing < ROOT/pipe")
    facts = fewer.observe(CONFIG)
    assert (facts.version, facts.unit.active_state, facts.modules, facts.content) == ("", "active", (), OLD)
    hung, naps = ([int(pid) for pid in (machine.root / name).read_text().split()] for name in ("hung", "naps"))
    assert len(hung) == 3
    wait_until(lambda: not any(map(processes.runs, hung + naps)))


@pytest.mark.parametrize("status", [124, 137])
def test_a_config_apply_that_is_killed_is_no_refusal(machine: Machine, status: int) -> None:
    """GNU and busybox end with 137 then, uutils with 124. The next look says whether it was taken."""
    machine.stub("timeout", f'[ "$3" != 180 ] || exit {status}; PATH=$usual exec REAL "$@"')
    assert machine.apply(change(action=Action.CONFIG_APPLY)) == "applied"
    assert (machine.config.read_bytes(), machine.leftovers()) == (NEW, [])


# ---- cost

COUNTED = 'echo "${0##*/}" >> ROOT/programs; PATH=$usual exec REAL "$@"'


def test_a_look_costs_a_weak_device_few_programs(machine: Machine) -> None:
    """Each one is some milliseconds there, every quarter of an hour. A dozen other files cost one more, and no more."""
    for name in sorted({*TOOLS.split()} - {"sh", "id", "sleep", "sync", "dd", "stat"}):
        machine.stub(name, COUNTED)
    for name in ("dd", "stat"):
        machine.stub(name, COUNTED)
    machine.stub(
        "iotedge",
        'echo "iotedge $1" >> ROOT/programs; [ $1 = list ] && printf "NAME\\nedgeAgent running\\n" || echo iotedge 1.1.15',
    )
    machine.stub("systemctl", "echo systemctl >> ROOT/programs; cat ROOT/units")
    others = [f"/etc/edgeherd/{number}" for number in range(12)]
    for path in others:
        machine.write(path, path.encode())
    facts = machine.observe("", *others)
    assert facts.hashes == tuple(hashlib.sha256(path.encode()).hexdigest() for path in others)
    programs = (machine.root / "programs").read_text().splitlines()
    assert programs == [
        "sha256sum",
        "timeout",
        "iotedge version",
        "timeout",
        "systemctl",
        "date",
        "timeout",
        "iotedge list",
        "stat",
        "dd",
    ]
