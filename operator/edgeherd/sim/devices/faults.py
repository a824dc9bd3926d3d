"""What can be wrong with a device. Every knob is turned by a call and turned back by another, or all by `clear`."""

import dataclasses
import stat
from collections.abc import Callable

from edgeherd.sim.devices.daemon import Moods
from edgeherd.sim.devices.filesystem import FileSystem, write

_MKTEMP = """#!/bin/sh
# mktemp on a full disk: the name can be made, but nothing fits into the file.
path=$(PATH=${PATH#*:} mktemp "$@") || exit 1
ln -sf /dev/full "$path"
printf '%s\\n' "$path"
"""
_HEAD = """#!/bin/sh
# head on a disk that cannot read the settings any more.
case "$*" in
  *config.yaml*) echo "head: error reading: Input/output error" >&2; exit 1 ;;
  *) PATH=${PATH#*:} exec head "$@" ;;
esac
"""


@dataclasses.dataclass(slots=True)
class Line:
    """What is wrong with the way to the device. The SSH server looks here."""

    delay: float = 0.0
    dead: bool = False
    reset_after: int | None = None


class Faults:
    """The knobs of one device."""

    def __init__(self, files: FileSystem, moods: Moods, listen: Callable[[bool], None]) -> None:
        self.line = Line()
        self._files = files
        self._moods = moods
        self._listen = listen
        self._good_mode: int | None = None

    def slow(self, seconds: float) -> None:
        """Every command waits so long before it starts."""
        self.line.delay = seconds

    def dead(self, on: bool = True) -> None:
        """New connections are accepted and never hear anything."""
        self.line.dead = on

    def refuse_connections(self, on: bool = True) -> None:
        """Nobody listens any more."""
        self._listen(not on)

    def reset_mid_transfer(self, after: int | None = 1024) -> None:
        """The connection breaks when a command has got so many bytes of its standard input; None: it holds."""
        self.line.reset_after = after

    def disk_full(self, on: bool = True) -> None:
        """Files can be made, but nothing can be written into them."""
        self._program("mktemp", _MKTEMP, on)

    def unreadable_file(self, on: bool = True) -> None:
        """The settings cannot be read, by anybody: their place on the disk is broken."""
        self._program("head", _HEAD, on)
        self.wrong_mode(0o000 if on else None)

    def wrong_mode(self, mode: int | None = 0o000) -> None:
        """The settings get another mode; None: the one they had. Without 0400 the daemon cannot read them."""
        if self._good_mode is None and mode is not None:
            self._good_mode = stat.S_IMODE(self._files.config_file.stat().st_mode)
        elif mode is None:
            mode, self._good_mode = self._good_mode, None
        if mode is not None:
            self._files.config_file.chmod(mode)

    def daemon_refuses(self, status: int = 1) -> None:
        """The daemon ends with this status whenever it is started: 153 at once and for good; 0 mends it."""
        self._moods.refuses = status

    def agent_never_comes(self, on: bool = True) -> None:
        """The hub accepts the device, but edgeAgent's image cannot be pulled."""
        self._moods.agent_never_comes = on

    def sudo_refuses(self, on: bool = True) -> None:
        """The user may not use sudo without a password."""
        if on:
            self._files.no_sudo.touch()
        else:
            self._files.no_sudo.unlink(missing_ok=True)

    def clear(self) -> None:
        """A device like any other again."""
        self.slow(0)
        self.dead(on=False)
        self.refuse_connections(on=False)
        self.reset_mid_transfer(after=None)
        self.disk_full(on=False)
        self.unreadable_file(on=False)
        self.daemon_refuses(0)
        self.agent_never_comes(on=False)
        self.sudo_refuses(on=False)

    def _program(self, name: str, text: str, on: bool) -> None:
        path = self._files.program(name)
        if on:
            write(path, text.encode(), 0o755)
        else:
            path.unlink(missing_ok=True)
