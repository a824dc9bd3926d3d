"""The scripts that run on a device: fixed text, POSIX `sh`, nothing of a manifest ever interpolated.

Parameters travel on stdin, one a line, so no quoting can go wrong and nothing shows in a process list. What a script
says comes back as lines `NONCE name base64`, so that banners, MOTD and odd shells cannot be mistaken for an answer.

Absolute paths are prefixed with $EDGEHERD_DEVICE_ROOT, which is empty on a device; a simulated device keeps its file
system in a folder (in the manner of DESTDIR).
"""

import shlex

_FRAME = r"""
set -u
IFS= read -r nonce
R=${EDGEHERD_DEVICE_ROOT-}
b64() { base64 | tr -d '\n'; }
say() { printf '%s %s ' "$nonce" "$1"; b64; printf '\n'; }
"""

_OBSERVE = r"""
IFS= read -r path
file=$R$path
{ timeout 10 iotedge version || timeout 10 iotedge --version; } 2>/dev/null </dev/null | head -n 1 | say version
if [ -L "$file" ]; then echo symlink | say kind
elif [ -f "$file" ]; then
  echo file | say kind
  stat -c '%U:%G %a' "$file" 2>/dev/null | say mode
  # A read error must not pass for an empty file: that one would be edited.
  if head -c 1048577 "$file" >/dev/null 2>&1; then head -c 1048577 "$file" | say content; else echo no | say readable; fi
elif [ -e "$file" ]; then echo other | say kind
else echo absent | say kind
fi
timeout 20 systemctl show iotedge.service -p LoadState -p ActiveState -p SubState -p Result -p ExecMainStatus \
  -p NRestarts 2>/dev/null </dev/null | say unit
timeout 15 iotedge list 2>/dev/null </dev/null | head -n 200 | say modules
echo ok | say end
"""

_APPLY = r"""
IFS= read -r path
IFS= read -r before
IFS= read -r after
file=$R$path
hash() { sha256sum < "$1" | cut -d ' ' -f 1; }
if [ -L "$file" ] || [ ! -f "$file" ]; then echo changed | say result; exit 0; fi
if [ "$(hash "$file")" != "$before" ]; then echo changed | say result; exit 0; fi
umask 077
if ! temp=$(mktemp "${file%/*}/.edgeherd.XXXXXX" 2>/dev/null); then echo unwritable | say result; exit 0; fi
trap 'rm -f "$temp"' EXIT
trap 'exit 1' HUP INT TERM
# What cat says is about the disk; what base64 says is about the connection, and the hash says it better.
if ! base64 -d 2>/dev/null | cat > "$temp" 2>/dev/null; then echo unwritable | say result; exit 0; fi
if [ "$(hash "$temp")" != "$after" ]; then echo incomplete | say result; exit 0; fi
if ! chown "$(stat -c '%u:%g' "$file")" "$temp" 2>/dev/null || ! chmod "$(stat -c '%a' "$file")" "$temp" 2>/dev/null; then
  echo owner | say result; exit 0
fi
sync "$temp" 2>/dev/null || sync
if [ "$(hash "$file")" != "$before" ]; then echo changed | say result; exit 0; fi
# From here on it must be finished, whatever becomes of the connection: a new file needs its restart.
trap '' HUP INT PIPE TERM
if ! mv -f "$temp" "$file"; then echo unwritable | say result; exit 0; fi
timeout -k 5 20 systemctl reset-failed iotedge.service >/dev/null 2>&1 </dev/null
timeout -k 5 120 systemctl restart iotedge.service >/dev/null 2>&1 </dev/null
echo "$?" | say restart
echo applied | say result
"""

_PLACE = r"""
IFS= read -r path
IFS= read -r like
IFS= read -r after
file=$R$path
if [ -f "$file" ] && [ ! -L "$file" ] && [ "$(sha256sum < "$file" | cut -d ' ' -f 1)" = "$after" ]; then
  echo same | say result; exit 0
fi
umask 077
folder=${file%/*}
own() { chown "$(stat -c '%u:%g' "$R$like" 2>/dev/null)" "$1" 2>/dev/null; }
# A new folder is the daemon's, as its file is: it must be able to look into it. One that is there stays as it is.
if [ ! -d "$folder" ]; then
  if ! mkdir -p "$folder" 2>/dev/null; then echo unwritable | say result; exit 0; fi
  own "$folder"
fi
if ! temp=$(mktemp "$folder/.edgeherd.XXXXXX" 2>/dev/null); then echo unwritable | say result; exit 0; fi
trap 'rm -f "$temp"' EXIT
trap 'exit 1' HUP INT TERM
if ! base64 -d 2>/dev/null | cat > "$temp" 2>/dev/null; then echo unwritable | say result; exit 0; fi
if [ "$(sha256sum < "$temp" | cut -d ' ' -f 1)" != "$after" ]; then echo incomplete | say result; exit 0; fi
if ! own "$temp"; then echo owner | say result; exit 0; fi
chmod 400 "$temp"
sync "$temp" 2>/dev/null || sync
if mv -f "$temp" "$file"; then echo placed | say result; else echo unwritable | say result; fi
"""

_RESTART = r"""
timeout -k 5 20 systemctl reset-failed iotedge.service >/dev/null 2>&1 </dev/null
timeout -k 5 120 systemctl restart iotedge.service >/dev/null 2>&1 </dev/null
echo "$?" | say restart
echo applied | say result
"""


def _command(script: str) -> str:
    """The script as one command line for the device's login shell, as root.

    `sh -c` because stdin is for the parameters; `sudo -n` because nobody is there to type a password.
    """
    inner = shlex.quote(f"{_FRAME}{script}")
    outer = 'if [ "$(id -u)" = 0 ]; then exec sh -c "$0"; else exec sudo -n sh -c "$0"; fi'
    return f"exec /bin/sh -c {shlex.quote(outer)} {inner}"


OBSERVE = _command(_OBSERVE)
"""Says: version, kind, mode, content, readable, unit, modules, end. Parameters: nonce, path."""

APPLY = _command(_APPLY)
"""Replaces the file and restarts the daemon, if the file still is what was observed.

Parameters: nonce, path, SHA-256 before, SHA-256 after; then the content in base64 until the end. Says: result.
"""

PLACE = _command(_PLACE)
"""Writes a file that only the daemon may read, unless it is there already.

Parameters: nonce, path, a file whose owner it gets, SHA-256; then the content in base64 until the end. Says: result.
"""

RESTART = _command(_RESTART)
"""Restarts the daemon. Parameters: nonce. Says: restart, result."""
