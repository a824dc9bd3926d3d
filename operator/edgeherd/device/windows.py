"""The scripts that run on a Windows device: Windows PowerShell 5.1, nothing of a manifest ever interpolated.

The command line is one small bootstrap, the same for every script: it fits into cmd.exe's 8191 characters, and cmd.exe
and PowerShell, either of which may be OpenSSH's shell, read it the same. It reads the nonce and the script from stdin;
the script reads its parameters from there. All but the nonce is base64, one value a line, so neither code pages nor
quoting can go wrong, and nothing shows in a process list. No line is left open: the end of stdin is not waited for.

What a script says comes back as lines `NONCE name base64`; the rest (CLIXML, what cmdlets print) is noise.

The bootstrap must not name PowerShell's variable `$input`: PowerShell would read stdin itself.
"""

import base64
import hashlib
import re
from collections.abc import Sequence

from edgeherd.device import facts, windows_scripts
from edgeherd.device.port import Action, Change, Initialization, Query
from edgeherd.device.remote_command import RemoteCommand

COMMAND_CHARACTERS = 8191
"""What cmd.exe takes."""

_BOOTSTRAP = (
    "$ProgressPreference='SilentlyContinue';$ErrorActionPreference='Stop';"
    "$stdin=New-Object IO.StreamReader([Console]::OpenStandardInput(),[Text.Encoding]::ASCII);"
    "$nonce=$stdin.ReadLine();"
    "&([ScriptBlock]::Create([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($stdin.ReadLine()))))"
)

COMMAND = (
    "powershell.exe -NoLogo -NoProfile -NonInteractive -EncodedCommand "
    + base64.b64encode(_BOOTSTRAP.encode("utf-16-le")).decode()
)

answers = facts.framed
"""How the output of a script is read."""

_SERVICE_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


def observe(query: Query) -> RemoteCommand:
    """Looks at everything once.

    Says: admin, version, path, kind, modified, mode, content, readable, package, hash:N, units, now, started, modules,
    journal, end.

    Raises:
        ValueError: a path holds a line break or a NUL, or another file has none.
    """
    if "" in query.others:
        raise ValueError("another file has no path")
    return _command(windows_scripts.OBSERVE, [query.path, *query.others, ""], seconds=120)


def apply(change: Change) -> RemoteCommand:
    """Carries out the change if the file still is what was observed. Says: result.

    Raises:
        ValueError: what Windows devices do not have (other files, `iotedge config apply`), or a parameter is malformed.
    """
    if change.others:
        raise ValueError("a Windows device has no other files")
    if change.action is Action.CONFIG_APPLY:
        raise ValueError("a Windows device has no 'iotedge config apply'")
    if not change.path:
        raise ValueError("the file has no path")
    # The name goes into a WQL query, which knows other quotes than PowerShell does.
    service = change.unit.removesuffix(".service")
    if not _SERVICE_NAME.fullmatch(service):
        raise ValueError("that is no name of a service")
    after = "-" if change.content is None else hashlib.sha256(change.content).hexdigest()
    parameters = [change.path, change.before, after, service, change.action.value, change.started]
    return _command(windows_scripts.APPLY, parameters, body=f"{_base64(change.content or b'')}\n".encode(), seconds=300)


def check() -> RemoteCommand:
    """Says: check."""
    return _command(windows_scripts.CHECK, [], seconds=270)


def initialize(initialization: Initialization) -> RemoteCommand:
    """Runs `Initialize-IoTEdge` where there is no config.yaml. Says: result.

    Raises:
        ValueError: a parameter holds a line break or a NUL, or is missing.
    """
    if not initialization.connection_string or not initialization.container_os:
        raise ValueError("a parameter is missing")
    parameters = [initialization.connection_string, initialization.container_os, initialization.script]
    return _command(windows_scripts.INITIALIZE, parameters, seconds=300)


def _command(script: str, parameters: Sequence[str], *, body: bytes = b"", seconds: float) -> RemoteCommand:
    # base64 would carry a line break; nothing that is asked of a device has one, and a YAML line would be broken by it.
    if any(character in parameter for parameter in parameters for character in "\n\r\0"):
        raise ValueError("a parameter holds a line break")
    lines = (_base64(script.encode()), *(_base64(parameter.encode()) for parameter in parameters))
    return RemoteCommand(command=COMMAND, lines=lines, body=body, seconds=seconds)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
