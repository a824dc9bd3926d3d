"""The scripts that run on a Linux device: fixed text, POSIX `sh`, nothing of a manifest ever interpolated.

The command line is one short bootstrap, the same for every script: Dropbear ends a connection over a command of 9,000
characters, and sudo writes commands into the device's log. The script travels on stdin, and its parameters and files' contents
after it, so no quoting can go wrong and nothing shows in a process list. What a script says comes back in sections that
begin with `NONCE name`, so that banners, MOTD and odd shells cannot be mistaken for an answer.

Absolute paths are prefixed with $EDGEHERD_DEVICE_ROOT, which is empty on a device; a simulated device keeps its file
system in a folder (in the manner of DESTDIR).
"""

import hashlib
import re
import shlex

from edgeherd.device import facts, linux_scripts
from edgeherd.device.port import Change, OtherFile, Query
from edgeherd.device.remote_command import RemoteCommand

NAME = "edgeherd-script"
"""How our shells are called on a device: `$0`. One change knows by it that the maker of a temporary file is still at work, where no lock tells it."""

_BECOME_ROOT = (
    # One whose id cannot tell may be root: the script says what is missing.
    f"""case $(id -u 2>/dev/null) in 0 | "") exec sh -c "$0" {NAME};; esac; """
    # `-n` because nobody is there to type a password.
    """for by in sudo doas; do if command -v $by >/dev/null 2>&1; then """
    f"""$by -n sh -c "$0" {NAME}; ended=$?; [ $ended -eq 1 ] && echo "edgeherd: $by refuses" >&2; exit $ended; fi; done; """
    f"""echo "edgeherd: no sudo and no doas" >&2; exit 1"""
)
_READ_SCRIPT = (
    # A line break: csh takes none in quotes. Nor does it take an exclamation mark, so it is 'until'.
    """newline=${IFS#??}; IFS= read -r nonce; script=; """
    # Half a script is none. `read` takes byte by byte, so that what follows the script stays where it is.
    """until IFS= read -r line || exit 3; [ "$line" = "$nonce" ]; do script=$script$line$newline; done; eval "$script\""""
)
COMMAND = f"exec /bin/sh -c {shlex.quote(_BECOME_ROOT)} {shlex.quote(_READ_SCRIPT)}"
"""What the device's login shell is given, whatever shell that is."""

answers = facts.sections
"""How the output of a script is read."""


def _script(text: str) -> str:
    """Without remarks and indentation, because each byte is read by itself."""
    lines = (re.sub(r"( {) #.*", r"\1", line.strip()) for line in f"{linux_scripts.FRAME}{text}".splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))


_OBSERVE, _APPLY, _CHECK = map(_script, (linux_scripts.OBSERVE, linux_scripts.APPLY, linux_scripts.CHECK))


def observe(query: Query) -> RemoteCommand:
    """Looks at everything once.

    Says: hash:N, version, path, taken, units, now, started, modules, journal, real, kind, folder, about, content, readable,
    template, missing, end.
    """
    return RemoteCommand(command=COMMAND, script=_OBSERVE, lines=(query.path, *query.others, ""), seconds=120)


def apply(change: Change) -> RemoteCommand:
    """Carries out the change if everything still is what was observed. Says: result, end."""
    after = "-" if change.content is None else hashlib.sha256(change.content).hexdigest()
    lines = [change.path, change.before, after, change.unit, change.action.value, change.started]
    body = b""
    for other in change.others:
        content = _sent(other)
        lines += [other.path, other.owner.value, other.mode, other.before, other.after, str(len(content))]
        body += content
    body += change.content or b""
    return RemoteCommand(command=COMMAND, script=_APPLY, lines=(*lines, ""), body=body, seconds=300)


def _sent(other: OtherFile) -> bytes:
    """The script takes no content of a file that stays as it is."""
    return b"" if other.before == other.after else other.content or b""


def check() -> RemoteCommand:
    """Says: check, end."""
    return RemoteCommand(command=COMMAND, script=_CHECK, lines=(), seconds=270)
