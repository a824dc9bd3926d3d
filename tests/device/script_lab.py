"""A device for the Linux scripts: a folder with files, the tools of one kind, and stub programs before them."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator, Sequence

import pytest
import userlands
from userlands import Userland

import processes
from edgeherd.device import linux_scripts, scripts
from edgeherd.device.facts import Facts, parse, sections
from edgeherd.device.port import ABSENT, Action, Change, OtherFile, Owner, Query
from edgeherd.device.remote_command import RemoteCommand

NONCE = "5e1f"
CONFIG = "/etc/iotedge/config.yaml"
OLD = b'provisioning:\r\n  device_connection_string: "old"\n\xff'
NEW = b"provisioning:\n  device_connection_string: 'new'" + b"\n# filler" * 2000
REFUSED = b"exit=153\n"
"""Settings with which the daemon of the lab ends."""
UNPARSABLE = b"could not parse\n"
"""Settings that `iotedge config apply` of the lab does not take."""
RESTART = ["reset-failed iotedge.service", "restart iotedge.service"]
APPLY = ["reset-failed iotedge.service", "iotedge config apply -c /etc/iotedge/config.yaml"]
TOOLS = f"sh {' '.join(linux_scripts.NEEDED)} sha256sum timeout tail ln readlink"
REMEDY = "apt-get install busybox, which asks PATH first, as busybox-static does not"
_PRELUDE = "#!/bin/sh\nexport usual=${usual-$PATH} PATH=/usr/bin:/bin\nread -r _ _ _ _ _ main _ < /proc/self/stat\n"
"""Of every stub: the tools of the machine itself; the PATH of the device in $usual, the script's process in $main."""
_STUBS = {
    "id": 'case $1 in -u) echo 0 ;; *) [ "$3" = aziotks ] && echo 4711 ;; esac',
    "sudo": 'echo "sudo must not be asked" >&2; exit 1',
    "sleep": "echo >> ROOT/slept",
    # The disk of the machine that runs the tests may be slow.
    "sync": ":",
    "daemon": """
status=$(sed -n 's/^exit=//p' 'ROOT/etc/iotedge/config.yaml' 2>/dev/null)
if [ -n "$status" ]; then state=failed; else state=active status=0; fi
printf '%s\\n' Id=iotedge.service "ActiveState=$state" "ExecMainStatus=$status" > ROOT/units""",
    "systemctl": """
case $1 in
  show) cat ROOT/units ;;
  *) echo "$*" >> ROOT/calls ;;
esac
[ "$1" != restart ] || ROOT/stubs/daemon""",
    "iotedge": """
case $* in
  version) echo 'iotedge 1.0.10 (5a1c)' ;;
  list) printf 'NAME             STATUS           DESCRIPTION      CONFIG\\nedgeAgent        running          Up 5 minutes     x\\n' ;;
  'config apply -c '*)
    echo "iotedge $*" >> ROOT/calls
    if grep -q 'could not' "ROOT$4"; then cat "ROOT$4" >&2; exit 1; fi
    echo 'Note: Symmetric key will be written to /var/secrets/aziot/keyd/device-id'
    echo 'Azure IoT Edge has been configured successfully!'
    ROOT/stubs/daemon ;;
esac""",
    "journalctl": 'echo "journalctl $*"',
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All that can be seen of a file."""

    content: bytes
    uid: int
    gid: int
    mode: int
    mtime_ns: int

    @classmethod
    def of(cls, path: pathlib.Path) -> "Trace":
        """Of one file."""
        status = path.lstat()
        return cls(
            content=path.read_bytes(),
            uid=status.st_uid,
            gid=status.st_gid,
            mode=stat.S_IMODE(status.st_mode),
            mtime_ns=status.st_mtime_ns,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """A folder that is a device."""

    root: pathlib.Path
    tools: pathlib.Path
    userland: Userland | None = None
    """Of which the tools are; None: of this machine."""

    @property
    def config(self) -> pathlib.Path:
        """The daemon's file."""
        return self.at(CONFIG)

    @property
    def calls(self) -> list[str]:
        """What was asked of systemctl, but for `show`, and of `iotedge config`."""
        log = self.root / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def at(self, path: str) -> pathlib.Path:
        """Where a file of the device is."""
        return self.root / path.removeprefix("/")

    def write(self, path: str, content: bytes, mode: int = 0o600) -> pathlib.Path:
        """Put a file there, and its folders."""
        file = self.at(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
        return file

    def stub(self, name: str, body: str) -> None:
        """Put a program in. REAL is the one behind it, ROOT the device; see also _PRELUDE."""
        if "REAL" in body and not (self.tools / name).is_symlink():
            pytest.skip(f"there is no '{name}' in this userland")
        path = self.root / "stubs" / name
        text = f"{_PRELUDE}{body}\n".replace("REAL", str(self.tools / name)).replace("ROOT", str(self.root))
        path.write_text(text)
        path.chmod(0o755)

    def without(self, *names: str) -> "Machine":
        """The same machine, where these programs are not installed."""
        fewer = self.root / "fewer"
        fewer.mkdir()
        for tool in self.tools.iterdir():
            if tool.name not in names:
                (fewer / tool.name).symlink_to(tool.readlink())
        for name in names:
            (self.root / "stubs" / name).unlink(missing_ok=True)
        return dataclasses.replace(self, tools=fewer)

    def program(self, name: str) -> str | None:
        """Where it has a program that is none of its tools."""
        if self.userland is None:
            return shutil.which(name)
        try:
            return Userland(suite=self.userland.suite).find(name)
        except StopIteration:
            return None

    def units(self, text: str) -> None:
        """What `systemctl show` prints."""
        (self.root / "units").write_text(text)

    def run(
        self, command: RemoteCommand, *, stdin: bytes | None = None, login: Sequence[str] = ("/bin/sh",)
    ) -> dict[str, bytes]:
        """Run a script as the operator does; what it said."""
        return sections(self.output(command, stdin=stdin, login=login).stdout, NONCE)

    def output(
        self, command: RemoteCommand, *, stdin: bytes | None = None, login: Sequence[str] = ("/bin/sh",)
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a script as the operator does."""
        inside = userlands.inside(userlands.release(self.userland.suite), self.root / "cwd") if self.userland else []
        return processes.run(
            [*inside, *login, "-c", command.command],
            stdin=command.stdin(NONCE) if stdin is None else stdin,
            env={"PATH": f"{self.root}/stubs:{self.tools}", "EDGEHERD_DEVICE_ROOT": str(self.root), "HOME": "/nowhere"},
            cwd=self.root / "cwd",
        )

    def observe(self, path: str = CONFIG, *others: str) -> Facts:
        """Look at it."""
        return parse(self.run(scripts.observe(Query(path=path, others=others))), others=len(others))

    def apply(self, wanted: Change) -> str:
        """Change it; the result, or 'silence'."""
        return self.run(scripts.apply(wanted)).get("result", b"silence").decode().strip()

    def files(self) -> dict[str, Trace]:
        """All files under /etc, by path."""
        etc = self.root / "etc"
        return {f"/{file.relative_to(self.root)}": Trace.of(file) for file in etc.rglob("*") if file.is_file()}

    def leftovers(self) -> list[str]:
        """Temporary files, anywhere."""
        return sorted(path.name for path in (self.root / "etc").rglob(".edgeherd.*"))


def digest(content: bytes | None) -> str:
    """What stands for a file's content in a change."""
    return ABSENT if content is None else hashlib.sha256(content).hexdigest()


def change(
    content: bytes | None = NEW,
    *others: OtherFile,
    before: bytes | None = OLD,
    path: str = CONFIG,
    action: Action = Action.RESTART,
    started: str = "",
) -> Change:
    """A change of the daemon's file."""
    return Change(
        path=path,
        before=digest(before),
        content=content,
        others=others,
        unit="iotedge.service",
        action=action,
        started=started,
    )


def other(
    path: str,
    content: bytes | None,
    *,
    before: bytes | None = None,
    owner: Owner = Owner.ROOT,
    mode: str = "600",
) -> OtherFile:
    """A change of a file beside it."""
    return OtherFile(path=path, before=digest(before), content=content, owner=owner, mode=mode)


USERLANDS = {userland.name: userland for userland in userlands.USERLANDS} if userlands.wanted() else {}


@pytest.fixture(scope="session", params=[*USERLANDS] or ["dash", "busybox"])
def userland_name(request: pytest.FixtureRequest) -> str:
    """What shell and tools the device has: of this machine, or with `make test-shells` of many."""
    return str(request.param)


@pytest.fixture(scope="session")
def tools(userland_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """A folder with the shell and the tools of one kind; whoever starts them ignores no signal."""
    folder = tmp_path_factory.mktemp(userland_name)
    userland = USERLANDS.get(userland_name)
    busybox = userland.find("sh") if userland and userland.sh == "busybox" else shutil.which("busybox")
    if userland_name == "busybox" and busybox is None:
        pytest.skip("busybox is not installed")
    inside = userlands.inside(userlands.release(userland.suite), folder) if userland else []
    probe = tmp_path_factory.mktemp("probe")
    if "busybox" in userland_name and (own := _own_programs([*inside, str(busybox)], probe)):
        pytest.skip(f"the shell of {busybox} runs its own {own[0]} and no stub of it: {REMEDY}")
    for name in TOOLS.split():
        if userland is None:
            target = busybox if userland_name == "busybox" else shutil.which("dash" if name == "sh" else name)
        elif name in userland.without:
            continue
        else:
            target = userland.find(name)
        assert target is not None
        (folder / name).symlink_to(target)
    with _no_signal_ignored():
        yield folder


def _own_programs(busybox: Sequence[str], folder: pathlib.Path) -> list[str]:
    """Those of the tools that its shell does not look for in PATH, because it has them itself."""
    for name in TOOLS.split():
        (folder / name).write_text('#!/bin/sh\necho "stub ${0##*/}"\n')
        (folder / name).chmod(0o755)
    script = "\n".join(f"{name} --help" for name in TOOLS.split())
    path = {"PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"} if len(busybox) > 1 else {"PATH": str(folder)}
    said = processes.run([*busybox, "sh", "-c", f"PATH={folder}\n{script}"], env=path).stdout.decode().splitlines()
    return [name for name in TOOLS.split() if f"stub {name}" not in said]


@contextlib.contextmanager
def _no_signal_ignored() -> Iterator[None]:
    """A shell cannot trap what was ignored when it was started, as by `nohup`; what is handled here is default there."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)  # SIGPIPE is subprocess's own care
    ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def machine(userland_name: str, tools: pathlib.Path, tmp_path: pathlib.Path) -> Machine:
    """A machine where everything is in order and whoever logs in is root."""
    found = Machine(root=tmp_path, tools=tools, userland=USERLANDS.get(userland_name))
    for name in ("stubs", "cwd"):
        (tmp_path / name).mkdir()
    for name, body in _STUBS.items():
        found.stub(name, body)
    flock = found.program("flock")  # busybox may be built without it, and a device may lack it
    assert flock is not None
    (tmp_path / "stubs/flock").symlink_to(flock)
    found.write(CONFIG, OLD, 0o400)
    os.utime(found.config, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    found.units("Id=iotedge.service\nLoadState=loaded\nActiveState=active\nSubState=running\n")
    return found
