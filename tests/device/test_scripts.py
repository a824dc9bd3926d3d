"""The command lines: whatever the login shell and the user, the script runs as root and hides nothing but secrets."""

import base64
import re
import shutil

import pytest
from script_lab import NEW, RESTART, Machine, change, other

import processes
from edgeherd.device import linux_scripts, scripts
from edgeherd.device.port import Query
from edgeherd.device.remote_command import RemoteCommand

COMMANDS = {
    "observe": scripts.observe(Query()),
    "apply": scripts.apply(change()),
    "check": scripts.check(),
}


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh", "zsh", "mksh", "yash", "ksh93", "fish", "tcsh"])
def test_every_login_shell_runs_the_scripts(machine: Machine, shell: str) -> None:
    """One word in single quotes is the same to all of them, as long as no line breaks are in it."""
    name, *rest = shell.split()
    program = machine.program(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    machine.stub("iotedge", "echo '{}'")
    assert machine.run(scripts.check(), login=(program, *rest)) == {"check": b"{}\n", "end": b""}
    assert machine.run(scripts.apply(change()), login=(program, *rest)) == {"result": b"applied", "end": b""}
    assert machine.config.read_bytes() == NEW


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_one_line_that_csh_and_fish_can_quote(name: str) -> None:
    """A csh takes no line break and no exclamation mark in quotes; fish takes a backslash before two characters."""
    assert not re.search(r"[\n!]|\\['\\]", COMMANDS[name].command)


PREDEFINED = {
    "mksh": "autoload functions hash history integer local login nameref nohup r source stop type",
    "ksh93": "autoload command compound fc float functions hash history integer nameref r redirect source stop suspend times type",
    "busybox ash": "chdir getopts hash help let local printf times type ulimit",
    "zsh": "bye chdir dirs disable echotc enable fc functions hash integer limit log noglob print sched stat unlimit where which",
}
"""Aliases and commands that shells have by themselves, from their manuals."""


@pytest.mark.parametrize("shell", [*PREDEFINED, "sh", "bash", "busybox sh", "dash", "mksh", "yash", "ksh93", "zsh"])
def test_no_function_has_a_name_that_a_shell_predefines(shell: str) -> None:
    """In mksh an alias comes before the function: each hash of a file was none there."""
    text = "".join(getattr(linux_scripts, name) for name in ("FRAME", "OBSERVE", "APPLY", "CHECK"))
    names = re.findall(r"^(?:if .*then )?(\w+)\(\) [{(]", text, re.MULTILINE)
    assert {"say", "limited", "sums", "is", "result"} < set(names)
    if shell in PREDEFINED:
        assert set(names).isdisjoint(PREDEFINED[shell].split())
        return
    program, *rest = shell.split()
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = processes.run(
        [program, *rest, "-c", f"PATH=/nowhere; for name in {' '.join(names)}; do command -v $name; done"]
    )
    assert done.stdout == b""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_script_parses(machine: Machine, name: str) -> None:
    """And says nothing on standard error, so that there what is said is sudo's."""
    done = machine.output(COMMANDS[name])
    assert (done.returncode, done.stderr) == (0, b"")


def test_whoever_is_root_needs_no_sudo(machine: Machine) -> None:
    """It may not even be installed."""
    assert machine.apply(change()) == "applied"


def test_whoever_is_not_root_goes_through_sudo_without_a_password(machine: Machine) -> None:
    """`sudo -n` gets the script as it is; its standard input stays for the parameters."""
    machine.stub("id", "echo 1000")
    machine.stub("sudo", '[ "$1" = -n ] || exit 9; shift; echo "$1 $2 $#" > ROOT/sudo; PATH=$usual exec "$@"')
    assert machine.apply(change()) == "applied"
    assert (machine.root / "sudo").read_text() == "sh -c 4\n"
    assert machine.calls == RESTART


REFUSES = "echo 'edgeops: not on this machine' >&2; exit 1"


@pytest.mark.parametrize(
    ("stubs", "said"),
    [
        pytest.param({}, "edgeherd: no sudo and no doas", id="neither is installed"),
        pytest.param({"sudo": REFUSES}, "edgeherd: sudo refuses", id="sudo says no, in whatever words"),
        pytest.param({"doas": REFUSES}, "edgeherd: doas refuses", id="doas does"),
        pytest.param({"doas": REFUSES, "sudo": REFUSES}, "edgeherd: sudo refuses", id="both do"),
    ],
)
def test_who_may_not_become_root_hears_so(machine: Machine, stubs: dict[str, str], said: str) -> None:
    """On standard error, after what the program itself says: sudo, sudo-rs and doas have many words for it."""
    machine.stub("id", "echo 1000")
    (machine.root / "stubs/sudo").unlink()
    for name, body in stubs.items():
        machine.stub(name, body)
    done = machine.output(COMMANDS["observe"])
    assert (done.stdout, done.stderr.decode().splitlines()[-1:]) == (b"", [said])


def test_a_script_that_fails_is_not_sudos_fault(machine: Machine) -> None:
    """What it was given is cut off here."""
    machine.stub("id", "echo 1000")
    machine.stub("sudo", 'shift; PATH=$usual exec "$@"')
    done = machine.output(COMMANDS["observe"], stdin=b"5e1f\nhalf a script")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(scripts.observe(Query(path="/a\nb")), id="a line break in the path"),
        pytest.param(scripts.observe(Query(others=("/a\rb",))), id="a carriage return"),
        pytest.param(scripts.observe(Query(others=("/a\0b",))), id="a NUL"),
        pytest.param(scripts.apply(change(None, other("/a\nb", b""))), id="a line break in another file's path"),
        pytest.param(scripts.observe(Query(path="/\udcff")), id="a surrogate: what was no UTF-8 stays here"),
    ],
)
def test_what_would_arrive_as_something_else_is_not_sent(command: RemoteCommand) -> None:
    """The parameters are lines of UTF-8."""
    with pytest.raises(ValueError, match=r"line break|surrogates not allowed"):
        command.stdin("5e1f")


def test_nothing_of_an_errand_shows_in_its_repr() -> None:
    """It may hold keys."""
    command = scripts.apply(change(b"SECRET", other("/etc/x", b"SECRET")))
    assert not [form for form in ("SECRET", base64.b64encode(b"SECRET").decode()) if form in repr(command)]


def test_no_process_ever_shows_the_content(machine: Machine) -> None:
    """Neither in an argument nor in the environment, at every moment when something is under way."""
    key, cert = b"SharedAccessKey=aHVzaGh1c2g=", b"-----BEGIN PRIVATE KEY-----"
    for program in ("sync", "dd", "cat", "sha256sum", "mv", "chown"):
        machine.stub(
            program,
            'for p in /proc/[0-9]*; do cat $p/cmdline $p/environ; done >> ROOT/seen 2>/dev/null; exec REAL "$@"',
        )
    assert machine.apply(change(key, other("/etc/iotedge/edgeherd/key.pem", cert))) == "applied"
    shown = (machine.root / "seen").read_bytes()
    assert b"EDGEHERD_DEVICE_ROOT" in shown
    assert not [form for part in (key, cert) for form in (part, base64.b64encode(part), part[16:]) if form in shown]


def test_check_passes_on_what_is_printed(machine: Machine) -> None:
    """It exits with 1 for the smallest error, so its status says nothing."""
    machine.stub("iotedge", 'echo "$* {}"; echo trouble >&2; exit 1')
    assert machine.run(scripts.check()) == {"check": b"check --output json {}\n", "end": b""}
