"""What can be wrong with a device. Every knob is turned by a call and turned back by another, or all by `clear`."""

import dataclasses
import shlex
import stat
from collections.abc import Callable

from edgeherd_sim.devices import broken
from edgeherd_sim.devices.behavior import Behavior
from edgeherd_sim.devices.daemon import AGENT, Daemon
from edgeherd_sim.devices.filesystem import FileSystem, write

SHELL = ("/bin/sh",)
_ENGINE = (
    "Id=docker.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nNRestarts=3\n"
    "ExecMainStatus=1\n"
)


@dataclasses.dataclass(slots=True)
class Line:
    """What is wrong with the way to the device. The SSH server looks here."""

    delay: float = 0.0
    dead: bool = False
    reset_after: int | None = None
    shell: tuple[str, ...] = SHELL
    mute: bool = False
    noisy: bool = False


class Faults:
    """The knobs of one device."""

    def __init__(
        self, *, files: FileSystem, behavior: Behavior, line: Line, daemon: Daemon, listen: Callable[[bool], None]
    ) -> None:
        self.line = line
        self._files = files
        self._behavior = behavior
        self._daemon = daemon
        self._listen = listen
        self._good_mode: int | None = None

    # ---- the way to the device

    def slow(self, seconds: float) -> None:
        """Every command waits so long before it starts."""
        self.line.delay = seconds

    def dead(self, on: bool = True) -> None:
        """New connections are accepted and never hear anything."""
        self.line.dead = on

    def refuse_connections(self, on: bool = True) -> None:
        """Nobody listens any more."""
        self._listen(not on)

    def reset_mid_transfer(self, after: int | None = 8000) -> None:
        """The connection breaks when a command has got so many bytes of its standard input; None: it holds.

        The script of a look fits into 8,000, that of a change does with its parameters, and most files do not.
        """
        self.line.reset_after = after

    # ---- the login user's shell

    def mute(self, on: bool = True) -> None:
        """The shell runs no command, prints nothing, and says that all is well: a login for something else."""
        self.line.mute = on

    def noisy(self, on: bool = True) -> None:
        """The shell prints some KB of a greeting on standard output, before and after every command."""
        self.line.noisy = on

    def odd_shell(self, command: str | None = "busybox sh") -> None:
        """Another shell runs the commands; None: /bin/sh again."""
        self.line.shell = tuple(shlex.split(command)) if command else SHELL

    def sudo_refuses(self, on: bool = True) -> None:
        """The user may not use sudo without a password."""
        if on:
            self._files.no_sudo.touch()
        else:
            self._files.no_sudo.unlink(missing_ok=True)

    # ---- the disk and the clock

    def disk_full(self, on: bool = True) -> None:
        """Files can be made, but nothing can be written into them."""
        self._programs(broken.full_disk(), on)

    def read_only(self, on: bool = True) -> None:
        """The disk was mounted read-only: mktemp and mkdir say so, and `iotedge config apply` does."""
        self._behavior.read_only = on
        self._programs(broken.read_only_disk(), on)

    def unreadable_file(self, on: bool = True) -> None:
        """The settings cannot be read, by anybody: their place on the disk is broken."""
        self._programs(broken.broken_disk(), on)
        self.wrong_mode(0o000 if on else None)

    def wrong_mode(self, mode: int | None = 0o000) -> None:
        """The settings get another mode; None: the one they had. Without 0400 the daemon cannot read them."""
        if not self._files.config_file.exists():
            return
        if self._good_mode is None and mode is not None:
            self._good_mode = stat.S_IMODE(self._files.config_file.stat().st_mode)
        elif mode is None:
            mode, self._good_mode = self._good_mode, None
        if mode is not None:
            self._files.config_file.chmod(mode)

    def symlinked_folder(self, on: bool = True) -> None:
        """/etc/iotedge or /etc/aziot is a symbolic link: the files are in /srv."""
        folder = self._files.folder
        elsewhere = self._files.root / "srv" / folder.name
        if on and not folder.is_symlink():
            elsewhere.parent.mkdir(exist_ok=True)
            folder.rename(elsewhere)
            folder.symlink_to(f"../srv/{folder.name}")
        elif not on and folder.is_symlink():
            folder.unlink()
            elsewhere.rename(folder)
            elsewhere.parent.rmdir()

    def clock_skew(self, seconds: int) -> None:
        """The clock is so far ahead, or behind; 0: it is right. Tokens of a clock an hour behind are of no use."""
        self._behavior.clock_skew = seconds
        self._programs(broken.wrong_clock(seconds), on=bool(seconds))

    # ---- the daemon

    def daemon_refuses(self, status: int = 1) -> None:
        """The daemon ends with this status whenever it is started: 153 at once and for good; 0 fixes it."""
        self._behavior.refuses = status

    def dislikes(self, text: bytes = b"") -> None:
        """The daemon refuses settings with this text in them, for a reason that no reader could know; empty fixes it."""
        self._behavior.dislikes = text

    def crash_loop(self, on: bool = True) -> None:
        """The daemon ends with status 1 whenever it is started, and systemd never gives up."""
        self._behavior.crashes = on

    def apply_lies(self, status: int = 1) -> None:
        """`iotedge config apply` says that all is well, and the daemon ends with this status afterwards; 0 fixes it."""
        self._behavior.apply_lies = status
        if not status:
            self._behavior.refuses = 0

    def no_network(self, on: bool = True) -> None:
        """The daemon cannot resolve the hub's name."""
        self._behavior.no_network = on

    # ---- the containers

    def image_pull_fails(self, on: bool = True) -> None:
        """The hub accepts the device, but edgeAgent's image cannot be pulled."""
        self._behavior.agent_never_comes = on

    def module_image_pull_fails(self, on: bool = True) -> None:
        """No image of a deployment can be pulled: edgeAgent, which runs, reports that it failed."""
        self._behavior.module_image_pull_fails = on

    def agent_never_comes(self, on: bool = True) -> None:
        """The same."""
        self.image_pull_fails(on)

    def agent_stopped(self, status: str | None = "stopped") -> None:
        """The container of edgeAgent is there, and ends as soon as it was started: `stopped` or `failed`; None fixes it."""
        self._behavior.agent_status = status or ""
        if status and self._daemon.agent_status == "running":
            self._daemon.modules.end(AGENT, status)
            self._daemon.look_again()

    def engine_down(self, on: bool = True) -> None:
        """The container engine failed, and its containers with it."""
        if on == self._behavior.engine_down:
            return
        self._behavior.engine_down = on
        unit = self._files.unit("docker.service")
        if not on:
            unit.unlink()
            return
        write(unit, _ENGINE.encode(), 0o644)
        self._daemon.modules.stop()
        self._daemon.look_again()

    def clear(self) -> None:
        """A device like any other again."""
        self.slow(0)
        self.dead(on=False)
        self.refuse_connections(on=False)
        self.reset_mid_transfer(after=None)
        self.mute(on=False)
        self.noisy(on=False)
        self.odd_shell(None)
        self.sudo_refuses(on=False)
        self.disk_full(on=False)
        self.read_only(on=False)
        self.unreadable_file(on=False)
        self.symlinked_folder(on=False)
        self.clock_skew(0)
        self.daemon_refuses(0)
        self.dislikes()
        self.crash_loop(on=False)
        self.apply_lies(0)
        self.no_network(on=False)
        self.image_pull_fails(on=False)
        self.module_image_pull_fails(on=False)
        self.agent_stopped(None)
        self.engine_down(on=False)

    def _programs(self, texts: dict[str, str], on: bool) -> None:
        for name, text in texts.items():
            path = self._files.program(name)
            if on:
                write(path, text.encode(), 0o755)
            else:
                path.unlink(missing_ok=True)
