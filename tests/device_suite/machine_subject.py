"""The Debian machine as a subject of the suite: real systemd, OpenSSH and sudo."""

import asyncio
import shlex
from typing import TYPE_CHECKING

import asyncssh
import build
import packages
from subject import Stat

from edgeherd.device.port import Login
from waiting import until

if TYPE_CHECKING:
    from machine import Machine

VERSIONS = packages.VERSIONS

_FLAGS = {"unauthorized", "no_network", "image_pull_fails", "crashes"}
"""The stand-in's own faults: files in its folder."""
_UNITS = ("iotedge.service", "aziot-edged.service", "aziot-identityd.service")
_FILL = """
cp -a {folder} /root/kept
mount -t tmpfs -o size=128k,mode=755 none {folder}
cp -a /root/kept/. {folder}/
cat /dev/zero > {folder}/ballast 2>/dev/null || true
"""
_PACKAGES = {True: "aziot-edge", False: "iotedge"}
_KINDS = {"regular file": "file", "regular empty file": "file", "directory": "folder", "symbolic link": "link"}


class MachineSubject:
    """See `subject.Subject`."""

    supports = frozenset(
        {
            *_FLAGS,
            "owners",
            "accounts",
            "cut",
            "upgrade",
            "dislikes",
            "engine_down",
            "full",
            "read_only",
            "no_sudo",
            "no_runtime",
            "symlinked_folder",
            "open_folder",
            "foreign_folder",
            "wrong_mode",
        }
    )

    def __init__(self, machine: "Machine", key: asyncssh.SSHKey) -> None:
        self.version = ""
        self._machine = machine
        self._key = key
        machine.run("tee", f"/home/{build.USER}/.ssh/authorized_keys", stdin=key.export_public_key("openssh"))

    async def install(self, version: str) -> None:
        """See `Subject`. dpkg does it, and the daemon's first start has failed."""
        if self.version:
            await self.run("dpkg", "--remove", _PACKAGES[not self.version.startswith("1.1")])
        await asyncio.to_thread(packages.install, self._machine, version)
        self.version = version
        await until(self._has_failed)

    @property
    def login(self) -> Login:
        """See `Subject`."""
        return Login(
            host=self._machine.address,
            port=22,
            user=build.USER,
            private_key=self._key.export_private_key("openssh"),
            host_keys=(self._machine.host_key,),
        )

    async def _has_failed(self) -> bool:
        return (await self.run("systemctl", "show", self._unit, "-p", "ActiveState", "--value")).strip() == "failed"

    @property
    def _unit(self) -> str:
        return "iotedge.service" if self.version.startswith("1.1") else "aziot-edged.service"

    @property
    def _folder(self) -> str:
        return "/etc/iotedge" if self.version.startswith("1.1") else "/etc/aziot"

    async def run(self, *command: str, stdin: bytes = b"") -> str:
        """See `Subject`."""
        return await asyncio.to_thread(self._machine.run, *command, stdin=stdin)

    async def read(self, path: str) -> bytes:
        """See `Subject`."""
        done = await asyncio.to_thread(self._machine.attempt, "cat", path)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    async def write(self, path: str, content: bytes) -> None:
        """See `Subject`."""
        await self.run("sh", "-c", f"umask 077; cat > {shlex.quote(path)}", stdin=content)

    async def remove(self, path: str) -> None:
        """See `Subject`."""
        await self.run("rm", path)

    async def stat(self, path: str) -> Stat | None:
        """See `Subject`."""
        done = await asyncio.to_thread(self._machine.attempt, "stat", "--format=%F|%U:%G|%a|%i|%.9Y", path)
        if done.returncode != 0:
            return None
        kind, owner, mode, inode, modified = done.stdout.decode().strip().split("|")
        return Stat(
            kind=_KINDS.get(kind, "other"),
            owner=owner,
            mode=mode,
            inode=int(inode),
            modified=int(modified.replace(".", "")),
        )

    async def listing(self, folder: str) -> tuple[str, ...]:
        """See `Subject`."""
        return tuple(sorted((await self.run("ls", "-A", folder)).split()))

    async def journal(self) -> str:
        """See `Subject`."""
        named = [word for unit in _UNITS for word in ("-u", unit)]
        await self.run("journalctl", "--sync")
        return await self.run("journalctl", "--no-pager", "-o", "cat", *named)

    async def environment(self, unit: str) -> dict[str, str]:
        """See `Subject`: not what systemd says, but what the process has."""
        number = (await self.run("systemctl", "show", unit, "-p", "MainPID", "--value")).strip()
        assert number != "0", f"{unit} does not run"
        text = await self.run("cat", f"/proc/{number}/environ")
        return dict(pair.partition("=")[::2] for pair in text.split("\0") if pair)

    async def at_work(self) -> bool:
        """See `Subject`."""
        found = "grep -lsa '[I]FS= read -r nonce' /proc/[0-9]*/cmdline || true"
        return bool((await self.run("sh", "-c", found)).strip())

    async def fault(self, name: str) -> None:
        """See `Subject`."""
        folder = self._folder
        await self._script(
            {
                "dislikes": "install -d /run/stub; echo disliked > /run/stub/dislikes",
                "engine_down": "install -d /run/stub; touch /run/stub/engine_down; systemctl restart docker || true",
                "full": _FILL.format(folder=folder),
                "read_only": f"mount --bind {folder} {folder}; mount -o remount,bind,ro {folder}",
                "no_sudo": f"mv /etc/sudoers.d/{build.USER} /root/sudoers",
                "no_runtime": f"dpkg --remove {_PACKAGES[not self.version.startswith('1.1')]}",
                "symlinked_folder": f"mv {folder} /srv/settings; ln -s /srv/settings {folder}",
                "open_folder": f"chmod 777 {folder}",
                "foreign_folder": f"chown {build.USER} {folder}",
                "wrong_mode": f"chown root:root {folder}/config.*l; chmod 0 {folder}/config.*l",
            }.get(name, f"install -d /run/stub; touch /run/stub/{name}")
        )

    async def fix(self, name: str) -> None:
        """See `Subject`."""
        folder = self._folder
        await self._script(
            {
                "engine_down": "rm /run/stub/engine_down; systemctl restart docker",
                "full": f"umount {folder}",
                "read_only": f"umount {folder}",
                "no_sudo": f"mv /root/sudoers /etc/sudoers.d/{build.USER}",
                "symlinked_folder": f"rm {folder}; mv /srv/settings {folder}",
                "open_folder": f"chmod 755 {folder}",
                "foreign_folder": f"chown root {folder}",
                "wrong_mode": f"chown iotedge:iotedge {folder}/config.*l; chmod 400 {folder}/config.*l",
            }.get(name, f"rm /run/stub/{name}")
        )

    async def _script(self, text: str) -> None:
        await self.run("sh", "-euc", text)
