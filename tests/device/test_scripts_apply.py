"""What a change does: all files or none, then one restart; undone if the daemon refuses its settings."""

import os
import pathlib
import signal
import time

import pytest
from script_lab import (
    APPLY,
    CONFIG,
    NEW,
    NONCE,
    OLD,
    REFUSED,
    RESTART,
    UNPARSABLE,
    Machine,
    Trace,
    change,
    other,
)

import processes
from edgeherd.device import scripts
from edgeherd.device.facts import sections
from edgeherd.device.port import Action, Change, OtherFile, Owner, Query

CERT, KEY = "/etc/iotedge/edgeherd/identity.pem", "/etc/iotedge/edgeherd/identity.key.pem"
LOGIN, DROP_IN = "/etc/edgeherd/proxy.env", "/etc/systemd/system/iotedge.service.d/50-edgeherd-proxy.conf"


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o444])
def test_the_file_is_replaced_and_the_daemon_restarted_once(machine: Machine, mode: int) -> None:
    """New bytes, the old owner and mode, one restart, nothing left beside it."""
    if os.geteuid() == 0:
        os.chown(machine.config, 1234, 4321)
    machine.config.chmod(mode)
    before = machine.config.stat()
    assert machine.apply(change()) == "applied"
    after = machine.config.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert after.st_ino != before.st_ino
    assert list(machine.files()) == [CONFIG]
    assert (machine.config.read_bytes(), machine.calls) == (NEW, RESTART)


ACTIONS = [
    pytest.param(Action.RESTART, RESTART, id="restart"),
    pytest.param(Action.CONFIG_APPLY, APPLY, id="config apply"),
    pytest.param(Action.RETIRE, RESTART, id="retire"),
    pytest.param(Action.NONE, [], id="nothing"),
]


@pytest.mark.parametrize(("action", "calls"), ACTIONS)
def test_what_makes_the_daemon_read_its_file(machine: Machine, action: Action, calls: list[str]) -> None:
    """A failed state is forgotten first, so that systemd's start limit is no obstacle. The file may stay as it is."""
    before = Trace.of(machine.config)
    assert machine.apply(change(None, action=action)) == "applied"
    assert (machine.calls, Trace.of(machine.config)) == (calls, before)


@pytest.mark.parametrize("action", [Action.RETIRE, Action.NONE])
def test_a_device_that_is_let_go_keeps_what_its_daemon_refuses(machine: Machine, action: Action) -> None:
    """Without its identity it cannot but refuse."""
    assert machine.apply(change(REFUSED, action=action)) == "applied"
    assert machine.config.read_bytes() == REFUSED


def test_config_apply_is_told_the_path(machine: Machine) -> None:
    """It would read /etc/aziot/config.toml else."""
    machine.write("/etc/my/config.toml", OLD)
    assert machine.apply(change(path="/etc/my/config.toml", action=Action.CONFIG_APPLY)) == "applied"
    assert machine.calls[-1] == "iotedge config apply -c /etc/my/config.toml"


def test_a_file_that_was_not_there(machine: Machine) -> None:
    """It is root's, and closed."""
    machine.config.unlink()
    assert machine.apply(change(before=None)) == "applied"
    status = machine.config.stat()
    root = machine.root.stat()
    assert (machine.config.read_bytes(), status.st_mode & 0o7777) == (NEW, 0o600)
    assert (status.st_uid, status.st_gid) == (root.st_uid, root.st_gid)


SETS = [
    pytest.param({}, [other(CERT, b"a")], id="one more, in a folder that is not there"),
    pytest.param({CERT: b"a"}, [other(CERT, b"b", before=b"a")], id="one is changed"),
    pytest.param({CERT: b"a"}, [other(CERT, None, before=b"a")], id="one is removed"),
    pytest.param({}, [other(CERT, None)], id="one that is not there is removed"),
    pytest.param({CERT: b"a"}, [other(CERT, b"a", before=b"a")], id="one stays as it is"),
    pytest.param({}, [other(CERT, b"")], id="an empty one"),
    pytest.param({}, [other(CERT, bytes(range(256)) * 1000)], id="a long one with all bytes"),
    pytest.param(
        {LOGIN: b"a", DROP_IN: b"b"},
        [other(CERT, b"c"), other(KEY, b"d"), other(LOGIN, b"e", before=b"a"), other(DROP_IN, None, before=b"b")],
        id="several at once",
    ),
]


@pytest.mark.parametrize(("there", "others"), SETS)
def test_files_beside_the_daemons(machine: Machine, there: dict[str, bytes], others: list[OtherFile]) -> None:
    """Added, changed, removed; nothing else lies around afterwards."""
    for path, data in there.items():
        machine.write(path, data)
    assert machine.apply(change(None, *others)) == "applied"
    expected = there | {CONFIG: OLD} | {wish.path: wish.content for wish in others}
    assert {path: trace.content for path, trace in machine.files().items()} == {
        path: data for path, data in expected.items() if data is not None
    }


@pytest.mark.parametrize(
    ("owner", "mode", "whose"),
    [
        pytest.param(Owner.ROOT, "644", "5:6", id="root's"),
        pytest.param(Owner.DAEMON, "400", "77:78", id="the daemon's"),
        pytest.param(Owner.KEY_SERVICE, "600", "aziotks:4711", id="a service's, with its group"),
        pytest.param(Owner.CERTIFICATE_SERVICE, "400", "5:6", id="of a user that is not there: root's"),
    ],
)
def test_owner_and_mode_of_another_file(machine: Machine, owner: Owner, mode: str, whose: str) -> None:
    """They are right before the file is there."""
    machine.stub("chown", 'echo "$1 $(ls ROOT/etc/iotedge/edgeherd)" >> ROOT/owners')
    machine.stub(
        "stat", 'case $* in *%u:%g*config.yaml) echo 77:78 600 ;; *%u:%g*) echo 5:6 ;; *) exec REAL "$@" ;; esac'
    )
    # The folders are as if they were of these two.
    machine.stub("stat", "case $* in *config.yaml) echo 77:78 600 ;; *%u:%g*) echo 5:6 ;; *) echo 5 755 ;; esac")
    assert machine.apply(change(None, other(KEY, b"key", owner=owner, mode=mode))) == "applied"
    assert (machine.root / "owners").read_text().split()[0] == whose
    assert machine.at(KEY).stat().st_mode & 0o7777 == int(mode, 8)
    assert machine.at(KEY).parent.stat().st_mode & 0o7777 == 0o755


def test_the_new_file_is_on_the_disk_before_the_swap(machine: Machine) -> None:
    """Or a power cut would leave an empty one. The tools can do it for one file; if not, for all."""
    machine.stub("sync", 'echo "$#" >> ROOT/synced; exec REAL "$@"')
    machine.stub("mv", 'echo mv >> ROOT/synced; exec REAL "$@"')
    assert machine.apply(change(NEW, other(CERT, b"x"))) == "applied"
    assert (machine.root / "synced").read_text().split() == ["1", "1", "mv", "mv"]
    machine.stub("sync", 'echo "$#" >> ROOT/synced; [ $# = 0 ]')
    assert machine.apply(change(OLD, before=NEW)) == "applied"
    assert (machine.root / "synced").read_text().split()[4:] == ["1", "0", "mv"]


def test_the_tools_take_a_user_with_its_group(machine: Machine) -> None:
    """`chown NAME:` leaves the group as it is with uutils, so the group is asked for."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    machine.stub("id", '[ $1 = -u ] && echo 0 || exec REAL "$@"')
    command = scripts.apply(change(None, other(KEY, b"key", owner=Owner.KEY_SERVICE)))
    stdin = command.stdin(NONCE).replace(b"\naziotks\n", b"\ndaemon\n")
    assert machine.run(command, stdin=stdin)["result"] == b"applied"
    assert (machine.at(KEY).owner(), machine.at(KEY).group()) == ("daemon", "daemon")


@pytest.mark.parametrize(
    ("path", "reloads"),
    [
        pytest.param(DROP_IN, True, id="a drop-in"),
        pytest.param("/etc/systemd-not/x", False, id="something of that name"),
        pytest.param(LOGIN, False, id="another file"),
    ],
)
@pytest.mark.parametrize("kind", ["added", "changed", "removed", "as it was"])
def test_systemd_reads_its_files_anew_only_when_they_changed(
    machine: Machine, path: str, reloads: bool, kind: str
) -> None:
    """Before the restart."""
    if kind != "added":
        machine.write(path, b"a")
    wish = {
        "added": other(path, b"b"),
        "changed": other(path, b"b", before=b"a"),
        "removed": other(path, None, before=b"a"),
        "as it was": other(path, b"a", before=b"a"),
    }[kind]
    assert machine.apply(change(None, wish)) == "applied"
    assert machine.calls == (["daemon-reload"] if reloads and kind != "as it was" else []) + RESTART


# ---- compare and swap

FOREIGN = [
    pytest.param(CONFIG, "echo mine > FILE", id="the daemon's file was changed"),
    pytest.param(CONFIG, "rm -f FILE", id="the daemon's file was removed"),
    pytest.param(CONFIG, "rm -f FILE; mkdir FILE", id="the daemon's file is a folder"),
    pytest.param(CONFIG, "rm -f FILE; mkfifo FILE", id="the daemon's file is a pipe"),
    pytest.param(CONFIG, "mv FILE FILE.real; ln -s FILE.real FILE", id="the daemon's file is a symbolic link"),
    pytest.param(LOGIN, "echo mine > FILE", id="another file was changed"),
    pytest.param(LOGIN, "rm -f FILE", id="another file was removed"),
    pytest.param(LOGIN, "mv FILE FILE.real; ln -s FILE.real FILE", id="another file is a symbolic link"),
    pytest.param(CERT, "mkdir -p DIR; echo mine > FILE", id="another file was added"),
    pytest.param(CERT, "mkdir -p DIR; ln -s /nowhere FILE", id="another file is a dangling link"),
    pytest.param(CERT, "mkdir -p FILE", id="another file is a folder"),
    pytest.param(DROP_IN, "rm -f FILE", id="a file that is to be removed is gone"),
]


def _set_of_all_kinds(machine: Machine, content: bytes = NEW, action: Action = Action.RESTART) -> Change:
    """The daemon's file and three others: added, changed, removed."""
    machine.write(LOGIN, b"old login")
    machine.write(DROP_IN, b"old drop-in", 0o644)
    return change(
        content,
        other(CERT, b"new certificate"),
        other(LOGIN, b"new login", before=b"old login"),
        other(DROP_IN, None, before=b"old drop-in"),
        action=action,
    )


@pytest.mark.parametrize("late", [False, True], ids=["since the look", "while the new ones are written"])
@pytest.mark.parametrize(("path", "deed"), FOREIGN)
def test_nobody_elses_change_is_written_over(machine: Machine, path: str, deed: str, late: bool) -> None:
    """All files are compared first, and once more just before the swap."""
    wanted = _set_of_all_kinds(machine)
    file = machine.at(path)
    command = deed.replace("FILE", f"'{file}'").replace("DIR", f"'{file.parent}'")
    if late:
        machine.stub("sync", f'case $1 in */etc/iotedge/.edgeherd.*) {command} ;; esac; exec REAL "$@"')
        assert machine.apply(wanted) == "changed"
    else:
        os.system(command)  # noqa: S605 - a table of commands reads best
        assert machine.apply(wanted) == "changed"
    content = {trace.content for trace in machine.files().values()}
    assert not content & {NEW, b"new certificate", b"new login"}
    assert (machine.leftovers(), machine.calls) == ([], [])


# ---- undone

_NO_SPACE = b"could not create /etc/aziot/keyd/config.d/00-super.toml: No space left on device (os error 28)"
_READ_ONLY = b"could not create /etc/aziot/keyd/config.d/00-super.toml: Read-only file system (os error 30)"
_HOST_NAME = (
    b"could not: Cannot apply config because the hostname in the config a is different from the previous hostname b"
)
REFUSALS = [
    pytest.param(REFUSED, "refused", RESTART, RESTART, id="the daemon ends with 153"),
    pytest.param(REFUSED, "refused", APPLY, APPLY, id="it does so after config apply"),
    pytest.param(UNPARSABLE, "refused", APPLY, [], id="config apply refuses"),
    pytest.param(_HOST_NAME, "hostname", APPLY, [], id="config apply refuses another host name"),
    pytest.param(_NO_SPACE, "full", APPLY, [], id="config apply finds the disk full, which says nothing of the file"),
    pytest.param(_READ_ONLY, "readonly", APPLY, [], id="config apply finds the disk read-only"),
]


@pytest.mark.parametrize(("content", "result", "calls", "again"), REFUSALS)
def test_what_the_daemon_refuses_is_undone(
    machine: Machine, content: bytes, result: str, calls: list[str], again: list[str]
) -> None:
    """Bytes, owner, mode and time of every file, and the daemon runs with them again."""
    if os.geteuid() == 0:
        os.chown(machine.config, 1234, 4321)
    wanted = _set_of_all_kinds(machine, content, Action.CONFIG_APPLY if calls is APPLY else Action.RESTART)
    before = machine.files()
    assert machine.apply(wanted) == result
    assert machine.files() == before
    assert machine.calls == ["daemon-reload", *calls, "daemon-reload", *again]


@pytest.mark.parametrize("action", [Action.RESTART, Action.CONFIG_APPLY])
def test_a_first_file_that_is_refused_is_removed(machine: Machine, action: Action) -> None:
    """There was none before."""
    machine.config.unlink()
    content = REFUSED if action is Action.RESTART else UNPARSABLE
    assert machine.apply(change(content, before=None, action=action)) == "refused"
    assert machine.files() == {}


def test_nothing_is_undone_where_nothing_was_changed(machine: Machine) -> None:
    """A restart of a daemon that refuses its old file is one restart."""
    machine.config.chmod(0o600)
    machine.config.write_bytes(REFUSED)
    assert machine.apply(change(None, before=REFUSED)) == "refused"
    assert (machine.config.read_bytes(), machine.calls) == (REFUSED, RESTART)


def test_other_files_alone_are_undone_too(machine: Machine) -> None:
    """A drop-in with which the daemon refuses its settings is taken away again, and systemd told."""
    machine.stub(
        "daemon",
        "if [ -e ROOT/etc/systemd/system/iotedge.service.d/50-edgeherd-proxy.conf ]; then s=failed; else s=active; fi;"
        'printf "%s\\n" ActiveState=$s ExecMainStatus=153 > ROOT/units',
    )
    assert machine.apply(change(None, other(DROP_IN, b"x"))) == "refused"
    assert list(machine.files()) == [CONFIG]
    assert machine.calls == ["daemon-reload", *RESTART, "daemon-reload", *RESTART]


@pytest.mark.parametrize("status", [1, 101, 150, 152, 154])
def test_a_daemon_that_fails_otherwise_keeps_its_new_file(machine: Machine, status: int) -> None:
    """The old one would fail as well: no network, a wrong key. Another swap would only cost another restart."""
    content = f"exit={status}\n".encode()
    assert machine.apply(change(content)) == "applied"
    assert (machine.config.read_bytes(), machine.calls) == (content, RESTART)


def test_what_somebody_else_writes_meanwhile_is_not_undone(machine: Machine) -> None:
    """A file that is neither the old nor the new one is left alone; the others are put back."""
    wanted = _set_of_all_kinds(machine, REFUSED)
    before = machine.files()
    machine.stub(
        "daemon",
        f"echo by hand > ROOT{LOGIN}; printf '%s\\n' ActiveState=failed ExecMainStatus=153 > ROOT/units",
    )
    assert machine.apply(wanted) == "changed"
    after = machine.files()
    assert after.pop(LOGIN).content == b"by hand\n"
    assert after == {path: trace for path, trace in before.items() if path != LOGIN}


def test_what_cannot_be_undone_is_said(machine: Machine) -> None:
    """A disk that becomes read-only meanwhile; the result is not that everything is as before."""
    machine.stub("mv", 'case $2 in *.old) exit 1 ;; esac; exec REAL "$@"')
    assert machine.apply(change(REFUSED)) == "unwritable"
    assert machine.config.read_bytes() == REFUSED


@pytest.mark.parametrize("link", [True, False], ids=["hard links", "no hard links"])
def test_the_old_file_is_kept_aside_meanwhile(machine: Machine, link: bool) -> None:
    """Some file systems have no hard links: then it is a copy, with the same time and mode."""
    if not link:
        machine.stub("ln", "exit 1")
    before = Trace.of(machine.config)
    machine.stub(
        "daemon",
        "[ -e ROOT/kept ] || cat ROOT/etc/iotedge/.edgeherd.*.old > ROOT/kept; printf 'ActiveState=failed\\nExecMainStatus=153\\n' > ROOT/units",
    )
    assert machine.apply(change()) == "refused"
    after = Trace.of(machine.config)
    assert (machine.root / "kept").read_bytes() == OLD
    assert (after.content, after.mode, after.mtime_ns // 10**9) == (OLD, before.mode, before.mtime_ns // 10**9)
    assert machine.leftovers() == []


# ---- whether the daemon took it


def test_the_daemon_is_waited_for(machine: Machine) -> None:
    """It is active at once, but serves only when it has read its settings."""
    machine.stub("daemon", "echo ActiveState=activating > ROOT/units")
    machine.stub("sleep", "echo >> ROOT/slept; [ $(wc -l < ROOT/slept) -lt 3 ] || echo ActiveState=active > ROOT/units")
    machine.stub("iotedge", "[ $(wc -l < ROOT/slept) -ge 5 ]")
    assert machine.apply(change()) == "applied"
    assert len((machine.root / "slept").read_text()) == 5


@pytest.mark.parametrize("state", ["activating", "inactive", "active", ""])
def test_the_wait_is_bounded(machine: Machine, state: str) -> None:
    """A daemon of which nobody knows has not refused anything: what becomes of it, the next look says."""
    machine.stub("daemon", f"echo 'ActiveState={state}' > ROOT/units")
    machine.stub("iotedge", "exit 1")
    assert machine.apply(change()) == "applied"
    assert len((machine.root / "slept").read_text()) == 20
    assert machine.calls == RESTART


def test_a_refusal_that_comes_late_is_seen(machine: Machine) -> None:
    """The daemon may need some time until it ends."""
    machine.stub("daemon", "echo ActiveState=active > ROOT/units")
    machine.stub("iotedge", "exit 1")
    machine.stub("sleep", "printf 'ActiveState=failed\\nExecMainStatus=153\\n' > ROOT/units")
    assert machine.apply(change()) == "refused"


def test_a_config_apply_that_does_not_end_is_ended_and_says_nothing(machine: Machine) -> None:
    """It may not even heed TERM. The file stays; the next look says whether it was taken."""
    machine.stub(
        "timeout", '[ "$3" != 180 ] || { shift 3; PATH=$usual exec REAL -s KILL 1 "$@"; }; PATH=$usual exec REAL "$@"'
    )
    machine.stub("iotedge", "[ $1 != config ] || exec sleep 20")
    assert machine.apply(change(action=Action.CONFIG_APPLY)) == "applied"
    assert machine.config.read_bytes() == NEW


def test_a_restart_that_fails_is_for_the_next_look(machine: Machine) -> None:
    """What systemctl says tells little: 0 for a daemon that ends at once, 1 for a job that was cancelled."""
    machine.stub("systemctl", "case $1 in show) echo ActiveState=active ;; *) exit 5 ;; esac")
    assert machine.apply(change()) == "applied"


# ---- SELinux

ENFORCE = "/sys/fs/selinux/enforce"


@pytest.mark.parametrize("there", [False, True], ids=["without SELinux", "with SELinux"])
def test_selinux_contexts(machine: Machine, there: bool) -> None:
    """A file that replaces another one has its context; a new one has what the policy says."""
    for name in ("chcon", "restorecon"):
        machine.stub(name, f'echo "{name} $*" | sed "s#ROOT##g; s#[.]edgeherd.*#TEMP#" >> ROOT/contexts')
    if there:
        machine.write(ENFORCE, b"1")
    assert machine.apply(_set_of_all_kinds(machine)) == "applied"
    log = machine.root / "contexts"
    expected = [
        f"chcon --reference={LOGIN} /etc/edgeherd/TEMP",
        f"chcon --reference={CONFIG} /etc/iotedge/TEMP",
        f"restorecon {CERT}",
    ]
    assert (log.read_text().splitlines() if log.exists() else []) == (expected if there else [])


def test_a_context_that_cannot_be_kept(machine: Machine) -> None:
    """The daemon could not read the file."""
    machine.write(ENFORCE, b"1")
    machine.stub("chcon", "exit 1")
    assert machine.apply(change()) == "owner"
    assert (machine.config.read_bytes(), machine.leftovers(), machine.calls) == (OLD, [], [])


def test_a_policy_that_knows_nothing_of_a_new_file(machine: Machine) -> None:
    """It has its folder's context then, which is right nearly always."""
    machine.write(ENFORCE, b"1")
    machine.stub("restorecon", "exit 1")
    assert machine.apply(change(None, other(CERT, b"x"))) == "applied"


# ---- the folders on the way


@pytest.mark.parametrize("folder", ["/etc/iotedge", "/etc/edgeherd", "/etc"])
@pytest.mark.parametrize(
    "deed",
    [
        pytest.param("mv DIR DIR.real; ln -s DIR.real DIR", id="a symbolic link"),
        pytest.param("chmod 757 DIR", id="open for everybody"),
        pytest.param("chmod 1777 DIR", id="like /tmp: others may put links there"),
        pytest.param("chmod 702 DIR", id="writable for others alone"),
        pytest.param("foreign", id="somebody else's"),
    ],
)
def test_a_way_that_somebody_else_may_change(machine: Machine, folder: str, deed: str) -> None:
    """Nothing is changed, not even read further."""
    machine.write("/etc/edgeherd/proxy.env", b"old")
    if deed == "foreign":
        machine.stub("stat", f'case $* in "-c %u %a ROOT{folder}") echo 4242 755 ;; *) exec REAL "$@" ;; esac')
    else:
        os.system(deed.replace("DIR", f"'{machine.at(folder)}'"))  # noqa: S605 - a table of commands reads best
    assert machine.apply(change(NEW, other("/etc/edgeherd/proxy.env", b"new", before=b"old"))) == "parent"
    contents = {trace.content for trace in machine.files().values()}
    assert not contents & {NEW, b"new"}
    assert (machine.leftovers(), machine.calls) == ([], [])


@pytest.mark.parametrize(
    "stat_line",
    [
        pytest.param("77 755", id="the daemon's own"),
        pytest.param("ROOT 750", id="root's"),
        pytest.param("77 775", id="its group's"),
    ],
)
def test_a_way_that_is_the_daemons(machine: Machine, stat_line: str) -> None:
    """The runtime's packages make it so."""
    line = stat_line.replace("ROOT", str(os.geteuid()))
    machine.stub(
        "stat",
        f'case $* in "-c %u %a ROOT/etc/iotedge") echo {line} ;; *"%u:%g %a ROOT{CONFIG}") echo 77:78 400 ;; *) exec REAL "$@" ;; esac',
    )
    assert machine.apply(change()) == "applied"


@pytest.mark.parametrize("path", ["config.yaml", "etc/iotedge/config.yaml", ""])
def test_a_path_that_is_not_absolute_is_none(machine: Machine, path: str) -> None:
    """And does not keep the script busy for ever."""
    assert machine.run(scripts.apply(change(path=path)))["result"] in {b"parent", b"changed"}


# ---- the disk

FULL, READ_ONLY = "No space left on device", "Read-only file system"


@pytest.mark.parametrize("first", [True, False], ids=["at the daemon's file", "at another file"])
@pytest.mark.parametrize(
    ("program", "body", "result"),
    [
        pytest.param("mktemp", f"echo 'mktemp: {FULL}' >&2; exit 1", "full", id="no inode left"),
        pytest.param("mktemp", f"echo 'mktemp: {READ_ONLY}' >&2; exit 1", "readonly", id="read-only"),
        pytest.param("mktemp", "echo 'mktemp: Permission denied' >&2; exit 1", "unwritable", id="not allowed"),
        pytest.param("mktemp", 't=$(REAL "$@"); ln -sf /dev/full "$t"; echo "$t"', "full", id="no block left"),
        pytest.param("cat", "echo 'cat: write error: Disk quota exceeded' >&2; exit 1", "full", id="quota"),
        pytest.param("cat", "echo 'cat: Input/output error' >&2; exit 1", "unwritable", id="a broken disk"),
        pytest.param("cat", "head -c 2", "incomplete", id="half"),
        pytest.param("chown", "exit 1", "owner", id="the owner cannot be kept"),
        pytest.param("chmod", "exit 1", "owner", id="the mode cannot be kept"),
        pytest.param("mv", f"echo 'mv: {READ_ONLY}' >&2; exit 1", "readonly", id="read-only just before the swap"),
        pytest.param("mv", f"echo 'mv: {FULL}' >&2; exit 1", "full", id="full just before the swap"),
        pytest.param("mv", "exit 1", "unwritable", id="the swap fails"),
        pytest.param(
            "ln",
            f"echo no >&2; PATH=ROOT/stubs:$PATH; printf '#!/bin/sh\\necho {FULL} >&2; exit 1' > ROOT/stubs/cp; chmod 755 ROOT/stubs/cp; exit 1",
            "full",
            id="no room for the old one",
        ),
    ],
)
def test_what_goes_wrong_is_named_and_the_old_file_stays(
    machine: Machine, program: str, body: str, result: str, first: bool
) -> None:
    """No restart, and nothing lies around."""
    machine.write("/etc/edgeherd/proxy.env", b"old")
    before = machine.files()
    machine.stub(program, body)
    others = [] if first else [other("/etc/edgeherd/proxy.env", b"new", before=b"old")]
    assert machine.apply(change(NEW, *others)) == result
    assert (machine.files(), machine.leftovers(), machine.calls) == (before, [], [])


@pytest.mark.parametrize(
    ("said", "result"),
    [(FULL, "full"), ("Disk quota exceeded", "full"), (READ_ONLY, "readonly"), ("Permission denied", "unwritable")],
)
def test_a_folder_that_cannot_be_made(machine: Machine, said: str, result: str) -> None:
    """It is needed for a file that is not there yet."""
    machine.stub("mkdir", f'echo "mkdir: can\'t create directory: {said}" >&2; exit 1')
    assert machine.apply(change(NEW, other(CERT, b"x"))) == result
    assert (list(machine.files()), machine.config.read_bytes(), machine.calls) == ([CONFIG], OLD, [])


@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize("program", ["mv", "rm"])
def test_a_swap_that_fails_half_way_is_undone(machine: Machine, program: str, number: int) -> None:
    """All files or none."""
    wanted = _set_of_all_kinds(machine)
    before = machine.files()
    # Swaps that put something back, and the end's cleaning, are not disturbed.
    skip = "*.old*" if program == "mv" else "*.edgeherd.*"
    machine.stub(
        program,
        f'case $* in {skip}) exec REAL "$@" ;; esac; echo >> ROOT/count\n'
        f'[ $(wc -l < ROOT/count) != {number} ] || {{ echo "{READ_ONLY}" >&2; exit 1; }}; exec REAL "$@"',
    )
    expected = number <= (3 if program == "mv" else 1)
    assert machine.apply(wanted) == ("readonly" if expected else "applied")
    if expected:
        assert (machine.files(), machine.calls) == (before, [])
    assert machine.leftovers() == []


def test_what_is_removed_goes_last(machine: Machine) -> None:
    """Should the power go in between, no file names another one that is gone."""
    wanted = _set_of_all_kinds(machine)
    for program in ("mv", "rm"):
        machine.stub(
            program,
            'for last; do :; done; case $last in *.edgeherd.*) ;; *) echo "$last" >> ROOT/order ;; esac; exec REAL "$@"',
        )
    assert machine.apply(wanted) == "applied"
    order = [line.removeprefix(str(machine.root)) for line in (machine.root / "order").read_text().splitlines()]
    assert order == [CERT, LOGIN, CONFIG, DROP_IN]


# ---- the connection


@pytest.mark.parametrize("content", [b"short", None], ids=["with the daemon's file", "other files alone"])
def test_a_cut_transfer_changes_nothing(machine: Machine, content: bytes | None) -> None:
    """Wherever it is cut: in a line, between lines, between files. What arrives is counted and hashed."""
    command = scripts.apply(change(content, other(CERT, b""), other(LOGIN, b"x")))
    whole = command.stdin(NONCE)
    before = machine.files()
    first = whole.index(b"\n/etc") + 1
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n") and index > first]
    # The hash of the file as it was is only part of one: that is not told from another hash.
    said = [machine.run(command, stdin=whole[:cut]) for cut in (*ends, ends[5] + 9, ends[-1], len(whole) - 1)]
    assert all(answer == {"result": b"incomplete", "end": b""} for answer in said)
    assert (machine.files(), machine.leftovers(), machine.calls) == (before, [], [])


@pytest.mark.parametrize("name", ["observe", "apply"])
def test_half_a_script_is_none(machine: Machine, name: str) -> None:
    """Wherever it is cut, nothing of it runs."""
    command = {"observe": scripts.observe(Query()), "apply": scripts.apply(change())}[name]
    whole = command.stdin(NONCE)
    end = whole.index(f"\n{NONCE}\n".encode()) + len(NONCE)
    before = machine.files()
    for cut in (0, 3, 5, 100, whole.index(b"limited()") + 4, end // 2, end - 7, end):
        done = machine.output(command, stdin=whole[:cut])
        assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")
    assert (machine.files(), machine.calls) == (before, [])


def test_a_body_that_is_cut(machine: Machine) -> None:
    """At the end, at the beginning, in the middle."""
    command = scripts.apply(change())
    whole = command.stdin(NONCE)
    body = whole.index(b"\n\n") + 2
    for end in (body, body + 1, body + 77, (body + len(whole)) // 2, len(whole) - 1):
        assert machine.run(command, stdin=whole[:end]) == {"result": b"incomplete", "end": b""}
    assert (machine.config.read_bytes(), machine.leftovers(), machine.calls) == (OLD, [], [])


# ---- what was left


def test_what_a_power_cut_left_is_swept(machine: Machine) -> None:
    """In every folder that is written to; nothing else that begins with a dot."""
    left = [
        "/etc/iotedge/.edgeherd.999999999.abcdef",
        "/etc/iotedge/.edgeherd.999999999.abcdef.old",
        "/etc/edgeherd/.edgeherd.x",
    ]
    for path in [*left, "/etc/iotedge/.edgeherd", "/etc/iotedge/.other"]:
        machine.write(path, b"key")
    assert machine.apply(change(NEW, other(LOGIN, b"x"))) == "applied"
    assert set(machine.files()) == {CONFIG, LOGIN, "/etc/iotedge/.edgeherd", "/etc/iotedge/.other"}


def _begins_another(machine: Machine, wanted: Change, *, ends: str = "active") -> None:
    """While the first change waits for its daemon's start, another one arrives. The daemon of the first ends up so."""
    command = scripts.apply(wanted)
    (machine.root / "stdin").write_bytes(command.stdin(NONCE))
    (machine.root / "command").write_text(command.command)
    machine.stub(
        "daemon",
        "mkdir ROOT/once 2>/dev/null || { echo ActiveState=active > ROOT/units; exit 0; }\n"
        'PATH=$usual sh -c "$(cat ROOT/command)" < ROOT/stdin > ROOT/said 2>&1\n'
        f"ls -A ROOT/etc/iotedge > ROOT/listed; printf '%s\\n' ActiveState={ends} ExecMainStatus=153 > ROOT/units",
    )


def _said(machine: Machine) -> dict[str, bytes]:
    return sections((machine.root / "said").read_bytes(), NONCE)


def test_what_belongs_to_another_apply_is_not_swept(machine: Machine) -> None:
    """Its connection broke, but it is still at it: it may need the old file. A clock says nothing about that."""
    (machine.root / "stubs/flock").unlink()  # with it they would not meet
    _begins_another(machine, change(b"second", before=REFUSED), ends="failed")
    # The second one succeeds while the first one waits; the first one sees that and lets it be.
    assert machine.apply(change(REFUSED)) == "changed"
    assert machine.config.read_bytes() == b"second"
    assert _said(machine) == {"result": b"applied", "end": b""}
    assert [name for name in (machine.root / "listed").read_text().split() if name.endswith(".old")]
    assert machine.leftovers() == []


MEANWHILE = [
    pytest.param(change(b"second", before=NEW), id="another content"),
    pytest.param(change(None, before=NEW), id="a restart, because the file is newer than the daemon's start"),
    pytest.param(change(None, before=NEW, action=Action.CONFIG_APPLY), id="config apply, because it was not yet run"),
    pytest.param(change(None, other(CERT, b"x"), before=NEW), id="another file"),
]


@pytest.mark.parametrize("wanted", MEANWHILE)
def test_two_changes_at_once_are_one(machine: Machine, wanted: Change) -> None:
    """The first goes on when its operator is gone; what another operator asks for meanwhile is not done."""
    _begins_another(machine, wanted)
    assert machine.apply(change()) == "applied"
    assert _said(machine) == {"result": b"changed", "end": b""}
    assert (machine.calls, list(machine.files()), machine.config.read_bytes()) == (RESTART, [CONFIG], NEW)
    assert machine.apply(wanted) == "applied"


def test_the_lock_of_a_change_that_was_killed_is_nobodys(machine: Machine) -> None:
    """The kernel has it, so there is nothing to clean up. What had begun is found out by hashes."""
    machine.stub("mv", "kill -9 $main")
    machine.output(scripts.apply(change()))
    machine.stub("mv", 'exec REAL "$@"')
    deadline = time.monotonic() + processes.SECONDS
    while (result := machine.apply(change())) == "changed":  # what it had just started may not have ended yet
        assert time.monotonic() < deadline
    assert (result, machine.calls) == ("applied", RESTART)


def test_the_lock_is_not_the_daemons(machine: Machine) -> None:
    """Nor that of anything else that is started meanwhile and stays."""
    machine.stub(
        "daemon", "sleep 30 < /dev/null > /dev/null 2>&1 & echo $! > ROOT/daemon; echo ActiveState=active > ROOT/units"
    )
    try:
        assert machine.apply(change()) == "applied"
        assert machine.apply(change(OLD, before=NEW)) == "applied"
    finally:
        os.kill(int((machine.root / "daemon").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("started", "result"),
    [
        pytest.param("77", "applied", id="as it was seen"),
        pytest.param("76", "changed", id="another operator has started it since"),
        pytest.param("", "applied", id="it was not told"),
    ],
)
@pytest.mark.parametrize("action", [Action.RESTART, Action.CONFIG_APPLY])
def test_a_restart_is_for_the_start_that_was_seen(machine: Machine, started: str, result: str, action: Action) -> None:
    """A file that is right says nothing about how often the daemon was restarted for it."""
    machine.units("ActiveState=active\n")
    machine.stub(
        "systemctl",
        'case "$*" in *Monotonic*) echo ExecMainStartTimestampMonotonic=77 ;; *show*) cat ROOT/units ;; esac',
    )
    assert machine.apply(change(None, action=action, started=started)) == result


def test_a_number_that_is_another_process_by_now_is_swept(machine: Machine) -> None:
    """After a boot the numbers begin anew."""
    machine.write(f"/etc/iotedge/.edgeherd.{os.getppid()}.abcdef", b"key")
    assert scripts.NAME not in pathlib.Path(f"/proc/{os.getppid()}/cmdline").read_text()
    assert machine.apply(change()) == "applied"
    assert machine.leftovers() == []
