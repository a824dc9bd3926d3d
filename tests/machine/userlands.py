"""The userlands of `make test-shells`: what shells and tools devices have, out of four releases of Debian.

Each release is a file system of its own, built once and kept in a cache, in which the device's side runs (`chroot`): its tools
need its own C library. Nothing of it is installed on this machine.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

import build

SWITCH = "EDGEHERD_TEST_SHELLS"
GUEST = "edgeguest"
"""Who may not become root."""

_PACKAGES = ("openssh-server", "dropbear-bin", "sudo", "doas", "busybox", "openssl", "procps")
_MORE = {
    "bullseye": (),
    "bookworm": ("mksh", "yash", "ksh93u+m", "zsh", "toybox", "rust-coreutils"),
    "trixie": ("sudo-rs", "rust-coreutils"),
    "forky": ("sudo-rs", "rust-coreutils"),
}
RELEASES = {"bullseye": "Debian 11", "bookworm": "Debian 12", "trixie": "Debian 13", "forky": "Debian 14 (testing)"}

_KEPT = "EDGEHERD_DEVICE_ROOT EDGEHERD_SIM_UID PATH"
"""What a simulated device needs to know; on a real one it is empty."""
_SETTING_UP = f"""
set -e
for user in {build.USER} {GUEST}; do useradd --create-home --shell /bin/sh "$user"; usermod --password '*' "$user"; done
printf '%s\\n' 'Defaults env_keep += "{_KEPT}"' 'root ALL=(ALL) ALL' '{build.USER} ALL=(root) NOPASSWD: ALL' > /etc/sudoers
chmod 440 /etc/sudoers
echo 'permit nopass setenv {{ {_KEPT} }} {build.USER} as root' > /etc/doas.conf
chmod 600 /etc/doas.conf
mkdir -p /run/sshd /dev/shm
apt-get clean
"""

_ENTER = """
path=$PATH PATH=/usr/sbin:/usr/bin:/sbin:/bin
top=$1 cwd=$2 && shift 2 && mount --rbind "$top" "$0$top" && mount -t proc proc "$0/proc" &&
exec chroot "$0" /usr/bin/env -C "$cwd" "PATH=$path" "$@"
"""


def trouble() -> str:
    """Why they cannot be had here; nothing where they can."""
    if os.geteuid() != 0:
        return "only root can build a file system and run something in it"
    missing = [name for name in ("debootstrap", "chroot", "unshare") if not shutil.which(name)]
    return f"not installed: {', '.join(missing)}" if missing else ""


def release(suite: str) -> pathlib.Path:
    """The file system of a release of Debian, built now unless it was before."""
    return build.file_system(suite, (*_PACKAGES, *_MORE[suite]), _SETTING_UP)


def inside(root: pathlib.Path, cwd: pathlib.Path) -> list[str]:
    """What comes before a command that shall run in a file system, with the tests' files where they are here."""
    top = f"/{cwd.parts[1]}" if cwd.parts[1] != "dev" else "/dev/shm"  # noqa: S108 - where tests/conftest.py puts them
    unshare = shutil.which("unshare") or "unshare"
    return [unshare, "--mount", "--propagation=private", "/bin/sh", "-c", _ENTER, str(root), top, str(cwd)]


def version(suite: str, package: str) -> str:
    """Of a package of a release, as upstream has it."""
    listing = ["dpkg-query", f"--admindir={release(suite)}/var/lib/dpkg", "-W", "-f=${Version}", package]
    text = subprocess.run(listing, capture_output=True, check=True, text=True).stdout
    return text.rpartition(":")[2].rpartition("-")[0].partition("+")[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Userland:
    """A shell as `sh`, and where the tools come from."""

    suite: str
    sh: str = "dash"
    tools: str = "coreutils"
    without: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As it is called in the tests' names."""
        left = "-least" if self.without else ""
        return (
            f"{self.suite}-{self.sh}-{self.tools}{left}" if self.sh != self.tools else f"{self.suite}-{self.sh}{left}"
        )

    def find(self, tool: str) -> str:
        """Where a tool is in the file system of its release."""
        if tool == "sh":
            return self._program(self.sh)
        multicall = {"busybox": "busybox", "toybox": "toybox"}.get(self.tools)
        if multicall is not None and self._has(multicall, tool):
            return self._program(multicall)
        if self.tools == "rust-coreutils" and (self._root / f"usr/lib/cargo/bin/coreutils/{tool}").is_symlink():
            return f"/usr/lib/cargo/bin/coreutils/{tool}"
        return self._program(tool)

    @property
    def _root(self) -> pathlib.Path:
        return release(self.suite)

    def _program(self, name: str) -> str:
        found = (f"/{folder}/{name}" for folder in ("usr/bin", "bin", "usr/sbin", "sbin"))
        return next(path for path in found if os.path.lexists(f"{self._root}{path}"))

    def _has(self, multicall: str, tool: str) -> bool:
        listing = {"busybox": ["--list"], "toybox": []}[multicall]
        command = ["chroot", str(self._root), self._program(multicall), *listing]
        return tool in subprocess.run(command, capture_output=True, check=False, text=True).stdout.split()


USERLANDS = (
    Userland(suite="bullseye"),
    Userland(suite="bullseye", sh="busybox", tools="busybox"),
    Userland(suite="bookworm"),
    Userland(suite="bookworm", sh="bash"),
    Userland(suite="bookworm", sh="mksh"),
    Userland(suite="bookworm", sh="yash"),
    Userland(suite="bookworm", sh="ksh93"),
    Userland(suite="bookworm", sh="zsh"),
    Userland(suite="bookworm", sh="busybox", tools="busybox"),
    Userland(suite="bookworm", sh="busybox", tools="busybox", without=("ln", "readlink", "tail", "timeout")),
    Userland(suite="bookworm", tools="toybox"),
    Userland(suite="bookworm", tools="rust-coreutils"),
    Userland(suite="trixie"),
    Userland(suite="trixie", sh="busybox", tools="busybox"),
    Userland(suite="trixie", tools="rust-coreutils"),
    Userland(suite="forky"),
    Userland(suite="forky", sh="busybox", tools="busybox"),
    Userland(suite="forky", tools="rust-coreutils"),
)


def wanted() -> bool:
    """Whether these are what the tests run in."""
    return os.environ.get(SWITCH) == "1"


if __name__ == "__main__":
    if why := trouble():
        sys.exit(f"no userlands: {why}")
    for suite, name in RELEASES.items():
        print(f"{name}: {release(suite)}", flush=True)  # noqa: T201 - it takes minutes
