"""The machine's file system: a small Debian with systemd, sshd and sudo, built once and kept in a cache."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

SUITE = "bookworm"
_SCRIPTS = pathlib.Path("/usr/share/debootstrap/scripts")
USER = "edgeops"
"""Who logs in: not root, but sudo asks no password of it."""

_MIRROR = "http://deb.debian.org/debian"
_PACKAGES = ("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo")
_SETTING_UP = f"""
set -e
useradd --create-home --shell /bin/bash {USER}
install -d -m 700 -o {USER} -g {USER} /home/{USER}/.ssh
echo '{USER} ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/{USER}
chmod 440 /etc/sudoers.d/{USER}
visudo -cq
echo edge-device > /etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 edge-device\\n' > /etc/hosts
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer
apt-get clean
"""


def trouble() -> str:
    """Why no machine can be had here; nothing where it can."""
    if os.geteuid() != 0:
        return "only root can build and boot a machine"
    missing = [name for name in ("debootstrap", "systemd-nspawn", "ip", "nsenter", "unshare") if not shutil.which(name)]
    return f"not installed: {', '.join(missing)}" if missing else ""


def base() -> pathlib.Path:
    """The folder with the machine's file system, built now unless it was before. Nobody writes to it."""
    return file_system(SUITE, _PACKAGES, _SETTING_UP)


def file_system(suite: str, packages: tuple[str, ...], setting_up: str) -> pathlib.Path:
    """A Debian of a suite with these packages, after these commands; kept in a cache. Nobody writes to it."""
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    inputs = "\0".join([suite, *packages, setting_up])
    found = cache / hashlib.sha256(inputs.encode()).hexdigest()[:16]
    if found.is_dir():
        return found
    with _locked(cache / "lock"):
        if not found.is_dir():
            _build(found, suite, packages, setting_up)
    return found


def _cache() -> pathlib.Path:
    named = os.environ.get("EDGEHERD_MACHINE_CACHE")
    return pathlib.Path(named) if named else pathlib.Path.home() / ".cache" / "edgeherd" / "machine"


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    """Two builds at once would be one too many."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(target: pathlib.Path, suite: str, packages: tuple[str, ...], setting_up: str) -> None:
    """Build beside the target, so that half a file system is never taken for a whole one."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building.") as folder:
        root = pathlib.Path(folder) / "root"
        included = f"--include={','.join(packages)}"
        # A suite that is younger than debootstrap is made like all newer ones.
        script = [] if (_SCRIPTS / suite).exists() else [str(_SCRIPTS / "sid")]
        _run(["debootstrap", "--variant=minbase", included, suite, str(root), _mirror(suite), *script])
        _run(["chroot", str(root), "sh", "-c", setting_up])
        root.rename(target)


def _run(command: list[str]) -> None:
    """In a mount namespace: what debootstrap mounts must be gone before anything is removed, also when it fails."""
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join(done.stdout.decode(errors="replace").splitlines()[-30:])
        raise RuntimeError(f"{command[0]} ended with status {done.returncode}:\n{said}")


def _mirror(suite: str) -> str:
    """The one that this machine's own apt has for the suite, or for another one."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Identifier: Packages"],
        capture_output=True,
        check=False,
        text=True,
    )
    found: dict[str, str] = {}
    for line in listing.stdout.splitlines():
        site, _, rest = line.partition(" ")
        if rest.endswith(" main") and site.endswith("/debian"):
            found[rest.removesuffix(" main")] = site
    return found.get(suite) or next(iter(found.values()), _MIRROR)


if __name__ == "__main__":
    if why := trouble():
        sys.exit(f"no machine: {why}")
    base()
