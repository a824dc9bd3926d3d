"""The scripts for devices, run by the shells that devices have, against files and stub programs."""

import base64
import dataclasses
import hashlib
import os
import pathlib
import shutil
import stat
import subprocess

import pytest

from edgeherd.device import scripts
from edgeherd.device.facts import framed

NONCE = "5e1f"
CONFIG = "/etc/iotedge/config.yaml"
OLD = b'provisioning:\r\n  device_connection_string: "old"\n\xff'
NEW = b"provisioning:\n  device_connection_string: 'new'" + b"\n# filler" * 2000
TOOLS = "sh cat cut tr head stat base64 sha256sum mktemp chown chmod mv rm sync timeout id sed setsid kill ls touch ln"


@dataclasses.dataclass(frozen=True)
class Machine:
    """A folder that is a device, with a shell and tools of one kind and stub programs before them."""

    root: pathlib.Path
    tools: pathlib.Path

    @property
    def stubs(self) -> pathlib.Path:
        """Where programs go that come before the tools."""
        return self.root / "stubs"

    @property
    def config(self) -> pathlib.Path:
        """The daemon's file."""
        return self.root / CONFIG[1:]

    @property
    def calls(self) -> list[str]:
        """How systemctl was called."""
        log = self.root / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def stub(self, name: str, body: str) -> None:
        """Put a program in; REAL in its body is the way to the one behind it."""
        path = self.stubs / name
        path.write_text(f"#!/bin/sh\n{body}\n".replace("REAL", str(self.tools / name)))
        path.chmod(0o755)

    def run(self, script: str, *parameters: str, body: bytes = b"") -> dict[str, bytes]:
        """Run a script as the operator does; what it said."""
        stdin = "\n".join([NONCE, *parameters, ""]).encode() + base64.encodebytes(body)
        environment = {"PATH": f"{self.stubs}:{self.tools}", "EDGEHERD_DEVICE_ROOT": str(self.root)}
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            input=stdin,
            capture_output=True,
            env=environment,
            timeout=30,
            start_new_session=True,
            check=False,
        )
        return framed(done.stdout, NONCE)

    def apply(self, content: bytes = NEW, *, before: bytes = OLD) -> str:
        """Replace the file; the result."""
        hashes = [hashlib.sha256(part).hexdigest() for part in (before, content)]
        said = self.run(scripts.APPLY, CONFIG, *hashes, body=content)
        return said.get("result", b"silence").decode().strip()

    def leftovers(self) -> list[str]:
        """What lies beside the file."""
        return sorted(entry.name for entry in self.config.parent.iterdir() if entry != self.config)


@pytest.fixture(params=["dash", "busybox"])
def machine(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Machine:
    """A machine where everything is in order and whoever logs in is root."""
    kind = shutil.which(request.param)
    if kind is None:
        pytest.skip(f"{request.param} is not installed")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS.split():
        target = kind if request.param == "busybox" or name == "sh" else shutil.which(name)
        assert target is not None
        (tools / name).symlink_to(target)
    found = Machine(root=tmp_path, tools=tools)
    found.stubs.mkdir()
    found.config.parent.mkdir(parents=True)
    found.config.write_bytes(OLD)
    found.config.chmod(0o400)
    found.stub("id", "echo 0")
    found.stub("sudo", 'echo "sudo must not be asked" >&2; exit 1')
    found.stub("systemctl", f'echo "$*" >> {tmp_path}/calls; case $1 in show) echo ActiveState=active;; esac')
    found.stub(
        "iotedge", 'case $1 in version) echo "iotedge 1.0.10";; list) printf "NAME STATUS\\na running\\n";; esac'
    )
    return found


def test_observe_says_everything_at_once(machine: Machine) -> None:
    """Version, kind, owner and mode, the bytes as they are, the unit, the modules, and that this was all."""
    said = machine.run(scripts.OBSERVE, CONFIG)
    status = machine.config.stat()
    mode = f"{machine.config.owner()}:{machine.config.group()} {stat.S_IMODE(status.st_mode):o}\n"
    assert said == {
        "version": b"iotedge 1.0.10\n",
        "kind": b"file\n",
        "mode": mode.encode(),
        "content": OLD,
        "unit": b"ActiveState=active\n",
        "modules": b"NAME STATUS\na running\n",
        "end": b"ok\n",
    }


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param("rm -f FILE", b"absent\n", id="nothing"),
        pytest.param("rm -f FILE; mkdir FILE", b"other\n", id="a folder"),
        pytest.param("mv FILE FILE.real; ln -s FILE.real FILE", b"symlink\n", id="a symbolic link"),
        pytest.param("rm -f FILE; ln -s /nowhere FILE", b"symlink\n", id="a dangling symbolic link"),
        pytest.param("rm -f FILE; mkfifo FILE", b"other\n", id="a pipe"),
    ],
)
def test_observe_names_what_is_no_regular_file_and_reads_none_of_it(machine: Machine, make: str, kind: bytes) -> None:
    """Nothing but a regular file is ever read, and none of these is replaced."""
    subprocess.run(["sh", "-c", make.replace("FILE", f"'{machine.config}'")], check=True)
    said = machine.run(scripts.OBSERVE, CONFIG)
    assert (said["kind"], "content" in said, said["end"]) == (kind, False, b"ok\n")
    assert machine.apply(before=b"") == "changed"
    assert machine.calls == [
        "show iotedge.service -p LoadState -p ActiveState -p SubState -p Result -p ExecMainStatus -p NRestarts"
    ]


def test_observe_takes_a_read_error_for_a_read_error(machine: Machine) -> None:
    """An empty file could be edited; one that cannot be read must not look like it."""
    machine.stub("head", 'case $* in *config.yaml) exit 1;; esac; exec REAL "$@"')
    said = machine.run(scripts.OBSERVE, CONFIG)
    assert ("content" in said, said["readable"]) == (False, b"no\n")


def test_observe_of_a_bare_machine_is_an_answer(machine: Machine) -> None:
    """Without systemd and IoT Edge the values are empty, not missing."""
    for name in ("iotedge", "systemctl"):
        machine.stub(name, "exit 127")
    said = machine.run(scripts.OBSERVE, CONFIG)
    assert (said["version"], said["unit"], said["modules"], said["end"]) == (b"", b"", b"", b"ok\n")


def test_observe_is_not_misled_by_talkative_programs(machine: Machine) -> None:
    """Programs that read standard input or forge answers change nothing: they know no nonce."""
    machine.stub("iotedge", "cat; echo 'kind Zm9v'; echo '0000 kind Zm9v'")
    assert machine.run(scripts.OBSERVE, CONFIG)["kind"] == b"file\n"


@pytest.mark.parametrize(
    "name",
    [
        "with space.yaml",
        "$(touch ROOT$(echo)oops).yaml",
        "`touch oops`.yaml",
        "'quoted'.yaml",
        '"double".yaml',
        "*.yaml",
        "-rf.yaml",
        "back\\slash.yaml",
        "; touch oops;.yaml",
        "ümläut\t.yaml",
    ],
)
def test_no_path_is_ever_taken_for_code(machine: Machine, name: str) -> None:
    """It travels on standard input and is only ever used in quotes."""
    path = f"/etc/iotedge/{name}"
    odd = machine.root / path[1:]
    odd.write_bytes(OLD)
    assert machine.run(scripts.OBSERVE, path)["content"] == OLD
    hashes = [hashlib.sha256(part).hexdigest() for part in (OLD, NEW)]
    assert machine.run(scripts.APPLY, path, *hashes, body=NEW)["result"] == b"applied\n"
    assert (odd.read_bytes(), machine.config.read_bytes()) == (NEW, OLD)
    assert machine.leftovers() == [name]
    assert not list(machine.root.rglob("*oops"))


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o444])
def test_apply_replaces_the_file_and_restarts_once(machine: Machine, mode: int) -> None:
    """New bytes, the old owner and mode, one restart, nothing left beside it."""
    if os.geteuid() == 0:
        os.chown(machine.config, 1234, 4321)
    machine.config.chmod(mode)
    before = machine.config.stat()
    assert machine.apply() == "applied"
    after = machine.config.stat()
    assert machine.config.read_bytes() == NEW
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert after.st_ino != before.st_ino
    assert machine.leftovers() == []
    assert machine.calls == ["reset-failed iotedge.service", "restart iotedge.service"]


def test_apply_is_a_compare_and_swap(machine: Machine) -> None:
    """Somebody else's change, seen or unseen, is never overwritten."""
    machine.config.chmod(0o600)
    machine.config.write_bytes(b"mine")
    assert machine.apply() == "changed"
    assert (machine.config.read_bytes(), machine.leftovers(), machine.calls) == (b"mine", [], [])


def test_apply_sees_a_change_that_happens_while_it_writes(machine: Machine) -> None:
    """The hash is compared again just before the swap."""
    machine.stub("sync", f"chmod 600 '{machine.config}'; echo mine > '{machine.config}'")
    assert machine.apply() == "changed"
    assert (machine.config.read_bytes(), machine.leftovers(), machine.calls) == (b"mine\n", [], [])


@pytest.mark.parametrize(
    ("program", "body", "result"),
    [
        pytest.param("mktemp", "exit 1", "unwritable", id="no file can be made"),
        pytest.param("mktemp", 't=$(REAL "$@"); ln -sf /dev/full "$t"; echo "$t"', "unwritable", id="the disk is full"),
        pytest.param(
            "base64", '[ "$1" != -d ] || { head -c 10; exit 0; }; exec REAL "$@"', "incomplete", id="half of it"
        ),
        pytest.param("chown", "exit 1", "owner", id="the owner cannot be kept"),
        pytest.param("chmod", "exit 1", "owner", id="the mode cannot be kept"),
        pytest.param("mv", "exit 1", "unwritable", id="the swap fails"),
    ],
)
def test_apply_says_what_went_wrong_and_leaves_the_old_file(
    machine: Machine, program: str, body: str, result: str
) -> None:
    """No restart, and nothing lies around."""
    machine.stub(program, body)
    assert machine.apply() == result
    assert (machine.config.read_bytes(), machine.leftovers(), machine.calls) == (OLD, [], [])


def test_a_cut_transfer_leaves_the_old_file(machine: Machine) -> None:
    """What arrives is hashed before it is used."""
    hashes = [hashlib.sha256(part).hexdigest() for part in (OLD, NEW)]
    said = machine.run(scripts.APPLY, CONFIG, *hashes, body=NEW[:1000])
    assert said["result"] == b"incomplete\n"
    assert (machine.config.read_bytes(), machine.leftovers(), machine.calls) == (OLD, [], [])


STEPS = ["stat", "sha256sum", "mktemp", "base64", "cat", "chown", "chmod", "sync", "mv", "systemctl"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("program", STEPS)
def test_killed_at_any_step_the_file_is_whole(machine: Machine, program: str, when: str) -> None:
    """A power cut in miniature: the old file or the new one, never a mixture, never another mode."""
    real = "REAL" if program != "systemctl" else "true"
    machine.stub(program, {"before": "kill -9 0", "after": f'{real} "$@"; kill -9 0'}[when])
    machine.apply()
    assert machine.config.read_bytes() == (NEW if program == "systemctl" or (program, when) == ("mv", "after") else OLD)
    assert stat.S_IMODE(machine.config.stat().st_mode) == 0o400
    assert all(stat.S_IMODE((machine.config.parent / name).stat().st_mode) <= 0o600 for name in machine.leftovers())


@pytest.mark.parametrize("number", ["HUP", "TERM", "INT"])
def test_a_signal_before_the_swap_cleans_up(machine: Machine, number: str) -> None:
    """Nothing was changed, so nothing is left."""
    machine.stub("sync", f"kill -{number} $PPID")
    machine.apply()
    assert (machine.config.read_bytes(), machine.leftovers(), machine.calls) == (OLD, [], [])


@pytest.mark.parametrize("number", ["HUP", "TERM", "INT", "PIPE"])
def test_a_signal_after_the_swap_does_not_keep_the_daemon_from_its_restart(machine: Machine, number: str) -> None:
    """A new file without its restart would be a change that nobody sees until the next boot."""
    machine.stub("mv", f'REAL "$@"; kill -{number} $PPID')
    assert machine.apply() == "applied"
    assert machine.config.read_bytes() == NEW
    assert machine.calls == ["reset-failed iotedge.service", "restart iotedge.service"]


def test_no_process_ever_shows_the_content(machine: Machine) -> None:
    """Neither in an argument nor in the environment, at the moment when everything is under way."""
    secret = b"SharedAccessKey=aHVzaGh1c2g="
    seen = machine.root / "seen"
    machine.stub("sync", f"for p in /proc/[0-9]*; do cat $p/cmdline $p/environ; done > '{seen}' 2>/dev/null")
    assert machine.apply(secret) == "applied"
    shown = seen.read_bytes()
    assert not [form for form in (secret, base64.b64encode(secret), secret[16:]) if form in shown]


def test_restart_restarts(machine: Machine) -> None:
    """A failed state is forgotten first, so that systemd's start limit is no obstacle."""
    assert machine.run(scripts.RESTART) == {"restart": b"0\n", "result": b"applied\n"}
    assert machine.calls == ["reset-failed iotedge.service", "restart iotedge.service"]


def test_a_restart_that_fails_says_so(machine: Machine) -> None:
    """The status is systemctl's."""
    machine.stub("systemctl", "exit 5")
    assert machine.run(scripts.RESTART)["restart"] == b"5\n"


def test_whoever_is_not_root_goes_through_sudo_without_a_password(machine: Machine) -> None:
    """`sudo -n` gets the script as it is; its standard input stays for the parameters."""
    machine.stub("id", "echo 1000")
    machine.stub("sudo", f'[ "$1" = -n ] || exit 9; shift; echo "$1 $2" > {machine.root}/sudo; exec "$@"')
    assert machine.run(scripts.OBSERVE, CONFIG)["content"] == OLD
    assert (machine.root / "sudo").read_text() == "sh -c\n"
