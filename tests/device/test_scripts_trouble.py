"""Power cuts, signals and odd names: whatever happens, what is there is whole, and nothing is taken for code."""

import itertools
import os
import pathlib
import shutil
import stat

import hypothesis
from hypothesis import strategies as st
from script_lab import CONFIG, NEW, NONCE, OLD, RESTART, Machine, change, digest, other

from edgeherd.device import scripts
from edgeherd.device.port import Action, Change, Owner, Query
from edgeherd.device.remote_command import RemoteCommand

CERT, LOGIN = "/etc/iotedge/edgeherd/identity.pem", "/etc/edgeherd/proxy.env"
DROP_IN = "/etc/systemd/system/iotedge.service.d/50-edgeherd-proxy.conf"
BEFORE = {CONFIG: OLD, LOGIN: b"old login", DROP_IN: b"old drop-in"}
AFTER = {CONFIG: NEW, LOGIN: b"new login", CERT: b"certificate"}
WANTED = change(
    NEW,
    other(CERT, b"certificate", mode="400"),
    other(LOGIN, b"new login", before=b"old login"),
    other(DROP_IN, None, before=b"old drop-in"),
)
STEPS = ("mktemp", "mkdir", "cat", "chown", "chmod", "sync", "ln", "mv", "rm", "systemctl")


class Interrupted:
    """A machine on which something happens just before the script's step number so-and-so."""

    def __init__(self, machine: Machine, deed: str) -> None:
        self.machine = machine
        counted = "n=0; read -r n 2>/dev/null < ROOT/count; n=$((n + 1)); echo $n > ROOT/count; read -r at < ROOT/at"
        systemctl = machine.root / "stubs/systemctl"
        if not systemctl.with_suffix(".plain").exists():
            systemctl.rename(systemctl.with_suffix(".plain"))
        for name in STEPS:
            behind = {"systemctl": "ROOT/stubs/systemctl.plain", "sync": "true"}.get(name, "REAL")
            machine.stub(name, f'{counted}\n[ "$n" != "$at" ] || {{ {deed}; }}\nexec {behind} "$@"')

    def apply(self, step: int) -> str:
        """The result; the machine was fresh before."""
        shutil.rmtree(self.machine.root / "etc")
        for name in ("count", "calls"):
            (self.machine.root / name).unlink(missing_ok=True)
        for path, content in BEFORE.items():
            self.machine.write(path, content, 0o400)
        (self.machine.root / "at").write_text(f"{step}\n")
        return self.machine.apply(WANTED)

    @property
    def over(self) -> bool:
        """Whether there was no such step any more."""
        return int((self.machine.root / "count").read_text()) < int((self.machine.root / "at").read_text())

    def contents(self) -> dict[str, bytes]:
        """All files, but for ours that are temporary."""
        return {path: trace.content for path, trace in self.machine.files().items() if "/.edgeherd." not in path}


def test_a_power_cut_at_any_step_leaves_whole_files(machine: Machine) -> None:
    """In miniature: every file is the old or the new one, never a mixture; and nobody can read more than before."""
    device = Interrupted(machine, 'kill -9 "-$main"')
    seen: set[frozenset[str]] = set()
    for step in itertools.count(1):
        result = device.apply(step)
        found = device.contents()
        assert all(found.get(path) in {BEFORE.get(path), AFTER.get(path)} for path in {*BEFORE, *AFTER})
        new = frozenset(path for path in {*BEFORE, *AFTER} if found.get(path) == AFTER.get(path))
        # What is named by others is there before them, and goes after them.
        assert CONFIG not in new or CERT in new
        assert DROP_IN not in new or CONFIG in new
        modes = [stat.S_IMODE(path.stat().st_mode) for path in machine.at("/etc").rglob("*") if path.is_file()]
        assert all(mode & 0o177 == 0 for mode in modes)
        seen.add(new)
        if device.over:
            assert (result, found, machine.leftovers()) == ("applied", AFTER, [])
            break
    assert len(seen) == 5


def test_the_run_after_a_power_cut_takes_away_what_was_left(machine: Machine) -> None:
    """In the folders where it writes."""
    device = Interrupted(machine, 'kill -9 "-$main"')
    for step in itertools.count(15):
        assert device.apply(step) == "silence"
        if any(name.endswith(".old") for name in machine.leftovers()):
            break
    (machine.root / "at").write_text("0\n")
    again = {path: machine.at(path).read_bytes() if machine.at(path).exists() else None for path in AFTER}
    others = [other(path, AFTER[path] + b"2", before=again[path]) for path in (CERT, LOGIN)]
    assert machine.apply(change(NEW + b"2", *others, before=again[CONFIG])) == "applied"
    assert [path for path in machine.files() if "/.edgeherd." in path and "/systemd/" not in path] == []


def test_a_signal_at_any_step_is_all_or_nothing(machine: Machine) -> None:
    """Before the swap it cleans up; from then on a new file gets its restart. The connection may be gone by now."""
    swap = 0
    for signal in ("HUP", "TERM", "INT", "PIPE"):
        device = Interrupted(machine, f'kill -{signal} "$main"')
        # All steps for one of them; around the swap for the others.
        steps = itertools.count(1) if signal == "HUP" else range(swap - 3, swap + 3)
        outcomes = []
        for step in steps:
            result = device.apply(step)
            outcomes.append(device.contents() == AFTER)
            if outcomes[-1]:
                assert (result, machine.calls, machine.leftovers()) == ("applied", ["daemon-reload", *RESTART], [])
            else:
                assert (result, device.contents(), machine.calls, machine.leftovers()) == ("silence", BEFORE, [], [])
            if device.over:
                swap = outcomes.index(True) + 1
                break
        assert outcomes == sorted(outcomes)
        assert {True, False} == set(outcomes)


# ---- names

BYTES = bytes(byte for byte in range(1, 256) if byte not in b"\n\r/")
"""All that can be in a name. A line break is refused before it is sent, see test_scripts.py."""


def raw(command: RemoteCommand) -> bytes:
    """What the script reads, with bytes that are no UTF-8: the operator would not send them, but the script takes them."""
    sent = f"{NONCE}\n{command.script}{NONCE}\n" + "".join(f"{line}\n" for line in command.lines)
    return sent.encode("utf-8", "surrogateescape") + command.body


def place(machine: Machine, path: str, content: bytes) -> None:
    """Put a file there."""
    file = os.fsencode(machine.at(path))
    pathlib.Path(os.fsdecode(file)).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(os.fsdecode(file)).write_bytes(content)


def observed(machine: Machine, path: str, *others: str) -> dict[str, bytes]:
    """What a look says."""
    command = scripts.observe(Query(path=path, others=others))
    return machine.run(command, stdin=raw(command))


def applied(machine: Machine, wanted: Change) -> bytes:
    """What a change leads to."""
    command = scripts.apply(wanted)
    return machine.run(command, stdin=raw(command)).get("result", b"silence")


def test_every_byte_may_be_in_a_name_that_is_looked_at(machine: Machine) -> None:
    """At its beginning, in its middle and at its end."""
    names = [f"/etc/{name}" for byte in BYTES for name in [os.fsdecode(bytes([byte, 0x78, byte]))]]
    path = os.fsdecode(b"/etc/" + BYTES[:120] + b"/" + BYTES[120:])
    for name in (path, *names):
        place(machine, name, os.fsencode(name))
    for others in (names[:120], names[120:]):  # no more answers are looked at than a device has reason to give
        said = observed(machine, path, *others)
        assert (said["path"], said["content"]) == (os.fsencode(path), os.fsencode(path))
        assert [said[f"hash:{number}"] for number in range(len(others))] == [
            digest(os.fsencode(name)).encode() for name in others
        ]


def test_every_byte_may_be_in_a_name_that_is_written(machine: Machine) -> None:
    """In the folders and files of one change; and every byte in what is written."""
    path = os.fsdecode(b"/etc/" + BYTES[:120] + b"/" + BYTES[120:])
    place(machine, path, OLD)
    others = {os.fsdecode(b"/etc/" + BYTES[at : at + 32] + b"/" + BYTES[at : at + 32]): at for at in range(0, 255, 32)}
    content = bytes(range(256)) * 3
    wishes = [other(name, content + bytes([at])) for name, at in others.items()]
    assert applied(machine, change(content, *wishes, path=path)) == b"applied"
    assert machine.at(path).read_bytes() == content
    assert [machine.at(name).read_bytes()[-1] for name in others] == list(others.values())
    assert (machine.leftovers(), machine.calls) == ([], RESTART)
    assert machine.config.read_bytes() == OLD


CODE = [
    "$(touch oops)",
    "`touch oops`",
    ";touch oops;",
    "&&touch oops&&",
    "|touch oops",
    ">oops",
    "<oops",
    "'",
    '"',
    "\\",
    "\\n",
    "\\'",
    "*",
    "?",
    "[a-z]",
    "{a,b}",
    "-rf",
    "--",
    "-",
    " ",
    "  ",
    "\t",
    "$PATH",
    "${IFS}",
    "$#",
    "%s",
    "%n",
    "%%",
    "~",
    "!",
    "!!",
    "#",
    "=",
    "..",
    ".edgeherd.",
    ".old",
    "absent",
    "\x01",
    "\x7f",
    "ü",
    "\u2028",
    "\udc81",
    "\udc88",
    "\udcff",
]
NAMES = (
    st.lists(
        st.one_of(st.sampled_from(CODE), st.binary(min_size=1, max_size=3).map(os.fsdecode)), min_size=1, max_size=6
    )
    .map(lambda parts: "".join(parts).translate({ord(character): "" for character in "\n\r\0/"}))
    # The bytes of several may make one character.
    .map(lambda name: os.fsdecode(os.fsencode(name)))
    .filter(lambda name: name not in {"", ".", ".."} and not name.startswith(".edgeherd."))
)


@hypothesis.settings(
    max_examples=8,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(names=st.lists(NAMES, min_size=4, max_size=9, unique=True), content=st.binary(max_size=200))
def test_no_name_is_ever_taken_for_code(machine: Machine, names: list[str], content: bytes) -> None:
    """It travels on standard input and is only ever used in quotes. Folders and files are called so, ours and others."""
    shutil.rmtree(machine.at("/etc"))
    folder, *files = names
    paths = [f"/etc/{folder}/{name}" for name in files]
    for number, path in enumerate(paths):
        place(machine, path, b"%d" % number)
    main, *beside = paths
    said = observed(machine, main, *beside)
    assert (said["path"], said["content"]) == (os.fsencode(main), b"0")
    assert [said[f"hash:{number}"] for number in range(len(beside))] == [
        digest(b"%d" % number).encode() for number in range(1, len(paths))
    ]
    gone, *changed = beside
    wishes = [
        other(gone, None, before=b"1"),
        *(other(path, content + b"x", before=b"%d" % number) for number, path in enumerate(changed, 2)),
        other(f"/etc/{files[-1]} /{folder}/{files[0]}", content, owner=Owner.DAEMON),
    ]
    assert applied(machine, change(content, *wishes, before=b"0", path=main)) == b"applied"
    expected = {main: content, **dict.fromkeys(changed, content + b"x"), wishes[-1].path: content}
    found = {f"/{os.fsdecode(file).removeprefix(f'{machine.root}/')}": file for file in _files(machine)}
    assert {path: pathlib.Path(file).read_bytes() for path, file in found.items()} == expected
    assert not list((machine.root / "cwd").iterdir())


def _files(machine: Machine) -> list[str]:
    return [os.path.join(top, name) for top, _, names in os.walk(machine.at("/etc")) for name in names]  # noqa: PTH118 - odd names


def test_no_user_name_is_ever_taken_for_code(machine: Machine) -> None:
    """One that is not there makes the file root's."""
    machine.stub("id", 'case $1 in -u) echo 0 ;; *) [ "$2" = -- ] && PATH=$usual && exec REAL "$@" ;; esac')
    odd = [*CODE, "a b", "root; touch oops", "-c", "-u", "--version", "../../etc/passwd", "", os.fsdecode(BYTES)]
    paths = [f"/etc/iotedge/{number}" for number in range(len(odd))]
    command = scripts.apply(change(None, *(other(path, b"x", owner=Owner.KEY_SERVICE) for path in paths)))
    lines = raw(command).split(b"\n")
    names = iter(odd)
    stdin = b"\n".join(os.fsencode(next(names)) if line == b"aziotks" else line for line in lines)
    assert machine.run(command, stdin=stdin)["result"] == b"applied"
    owner = machine.root.stat().st_uid
    assert [machine.at(path).stat().st_uid for path in paths] == [owner] * len(odd)
    assert not list((machine.root / "cwd").iterdir())


def test_a_unit_is_never_taken_for_code(machine: Machine) -> None:
    """It goes to systemctl as it is."""
    wanted = Change(
        path=CONFIG, before=digest(OLD), content=None, unit="$(touch oops) *;`x`.service", action=Action.RESTART
    )
    assert machine.apply(wanted) == "applied"
    assert machine.calls == [f"{verb} $(touch oops) *;`x`.service" for verb in ("reset-failed", "restart")]
    assert not list((machine.root / "cwd").iterdir())
