"""The scripts that run on a Linux device: fixed text, POSIX `sh`, nothing of a manifest ever interpolated.

Parameters travel on stdin, one a line, so no quoting can go wrong and nothing shows in a process list. What a script
says comes back as lines `NONCE name base64`, so that banners, MOTD and odd shells cannot be mistaken for an answer.

Absolute paths are prefixed with $EDGEHERD_DEVICE_ROOT, which is empty on a device; a simulated device keeps its file
system in a folder (in the manner of DESTDIR).
"""

import base64
import hashlib
import shlex

from edgeherd.device.port import Change, Query
from edgeherd.device.remote_command import RemoteCommand

_FRAME = r"""
set -u
IFS= read -r nonce || exit 1
R=${EDGEHERD_DEVICE_ROOT-}
LC_ALL=C
export LC_ALL
b64() { base64 | tr -d '\n'; }
say() { printf '%s %s ' "$nonce" "$1"; b64; printf '\n'; }
hash() { sha256sum < "$1" | cut -d ' ' -f 1; }
"""

_OBSERVE = r"""
# Told in one go: each write is a packet, and a packet costs more than what is in it.
said=$(
IFS= read -r path
version=$({ timeout 10 iotedge version || timeout 10 iotedge --version; } 2>/dev/null </dev/null | head -n 1)
# A program that cannot run (broken libraries, other architecture) still is a package.
[ -n "$version" ] || version=$(dpkg-query -W -f='iotedge ${Version}\n' aziot-edge iotedge 2>/dev/null | head -n 1)
[ -n "$version" ] || version=$(rpm -q --qf 'iotedge %{VERSION}\n' aziot-edge iotedge 2>/dev/null | grep '^iotedge [0-9]' | head -n 1)
printf '%s' "$version" | say version
case $version in
  'iotedge 1.'[01] | 'iotedge 1.'[01][!0-9]*) unit=iotedge.service more= usual=/etc/iotedge/config.yaml ;;
  *)
    unit=aziot-edged.service usual=/etc/aziot/config.toml
    more='aziot-identityd.service aziot-keyd.service aziot-certd.service' ;;
esac
[ -n "$path" ] || path=$usual
printf '%s' "$path" | say path
file=$R$path
if [ -L "$file" ]; then echo symlink | say kind
elif [ -f "$file" ]; then
  echo file | say kind
  stat -c '%U:%G %a' "$file" 2>/dev/null | say mode
  stat -c '%Y' "$file" 2>/dev/null | say modified
  # A read error must not pass for an empty file: that one would be edited.
  if head -c 262145 "$file" >/dev/null 2>&1; then head -c 262145 "$file" | say content; else echo no | say readable; fi
elif [ -e "$file" ]; then echo other | say kind
else
  echo absent | say kind
  template=$R/etc/aziot/config.toml.edge.template
  [ "$unit" = iotedge.service ] || [ ! -f "$template" ] || head -c 262145 "$template" 2>/dev/null | say template
fi
if [ "$unit" != iotedge.service ]; then
  super=$R/etc/aziot/edged/config.d/00-super.toml
  if [ ! -f "$super" ] || [ "$file" -nt "$super" ]; then echo no; else echo yes; fi | say taken
fi
number=0
while IFS= read -r other || exit 1; [ -n "$other" ]; do
  found=absent
  if [ -f "$R$other" ] && [ ! -L "$R$other" ]; then found=$(hash "$R$other" 2>/dev/null)
  elif [ -e "$R$other" ] || [ -L "$R$other" ]; then found=other
  fi
  # One that cannot be read is not absent: it would be written over.
  echo "${found:-other}" | say "hash:$number"
  number=$((number + 1))
done
units=$(timeout 20 systemctl show $unit $more docker.service -p Id -p LoadState -p ActiveState -p SubState -p Result \
  -p ExecMainStatus -p NRestarts -p ExecMainStartTimestampMonotonic 2>/dev/null </dev/null)
printf '%s' "$units" | say units
daemon=$(printf '%s\n' "$units" | sed '/^$/q')
# systemd tells when the daemon started on the clock that nobody sets; the file has the other one.
uptime=$(cut -d '.' -f 1 /proc/uptime 2>/dev/null)
now=$(date +%s)
mono=$(printf '%s\n' "$daemon" | sed -n 's/^ExecMainStartTimestampMonotonic=\([0-9][0-9]*\)[0-9]\{6\}$/\1/p')
echo "$now" | say now
started=
if [ -n "$uptime" ] && [ -n "$mono" ]; then
  started=$((now - uptime + mono))
  echo "$started" | say started
fi
# Asking a daemon that does not run would start it, by its socket, and use up systemd's patience with it.
modules=
case $(printf '%s\n' "$daemon" | sed -n 's/^ActiveState=//p') in
  active | '') modules=$(timeout 15 iotedge list 2>/dev/null </dev/null | head -n 200) ;;
esac
printf '%s' "$modules" | say modules
if ! printf '%s\n' "$modules" | grep -q '^edgeAgent[[:space:]][[:space:]]*running'; then
  set -- -u "$unit"
  [ -z "$more" ] || set -- "$@" -u aziot-identityd.service
  [ -z "$started" ] || set -- "$@" --since "@$((started - 2))"
  timeout 10 journalctl "$@" -n 200 --no-pager -o cat 2>/dev/null </dev/null | tail -c 32768 | say journal
fi
echo ok | say end
)
printf '%s\n' "$said"
"""

_APPLY = r"""
result() { echo "$1" | say result; exit 0; }
IFS= read -r path
IFS= read -r before
IFS= read -r after
IFS= read -r unit
IFS= read -r action
IFS= read -r started || result incomplete
file=$R$path
# What an operator began goes on when that one is gone, and another may look after the device by then. The lock, which no
# program inherits that may outlive the script, ends with it however it ends.
if [ -d "${file%/*}" ] && command -v flock >/dev/null; then
  exec 9< "${file%/*}"
  flock -n 9 || result changed
fi
umask 077
newline='
'
temps=
staged=
# Whatever happens, nothing of ours stays behind: it holds keys.
clean() {
  set -f
  IFS=$newline
  for temp in $temps $staged; do rm -f "$temp" "$temp.old"; done
}
trap clean EXIT
trap 'exit 1' HUP INT PIPE TERM
why() {
  case $1 in
    *'No space left'* | *'quota exceeded'*) result full ;;
    *'Read-only file system'*) result readonly ;;
    *) result unwritable ;;
  esac
}
is() { # FILE HASH: whether it is what was observed
  if [ "$2" = absent ]; then [ ! -e "$1" ] && [ ! -L "$1" ]; else [ -f "$1" ] && [ ! -L "$1" ] && [ "$(hash "$1")" = "$2" ]; fi
}
root=$(stat -c '%u' "$R/")
super=$(stat -c '%u:%g' "$R/")
daemon=$root like=$super
if [ "$before" != absent ]; then
  daemon=$(stat -c '%u' "$file" 2>/dev/null)
  like=$(stat -c '%u:%g' "$file" 2>/dev/null)
fi
# Whoever may swap a folder on the way would be given keys, or a root shell.
trusted() {
  folder=${1%/*}
  while [ "$folder" != "$R" ]; do
    case $folder in "$R"/*) ;; *) return 1 ;; esac
    [ ! -L "$folder" ] || return 1
    if [ -e "$folder" ]; then
      case $(stat -c '%u %a' "$folder") in
        *[2367]) return 1 ;;
        "$root "* | "$daemon "*) ;;
        *) return 1 ;;
      esac
    fi
    folder=${folder%/*}
  done
}
# A temporary file beside a FILE, in $staged. What an earlier run could not take away, because of a power cut, is swept.
stage() {
  [ -d "${1%/*}" ] || result nofolder
  for stale in "${1%/*}"/.edgeherd.*; do
    maker=${stale##*/.edgeherd.}
    grep -q EDGEHERD "/proc/${maker%%.*}/cmdline" 2>/dev/null || rm -f "$stale"
  done
  temps=$temps$staged$newline
  staged=$(mktemp "${1%/*}/.edgeherd.$$.XXXXXX" 2>&1) || { error=$staged staged=; why "$error"; }
}
fill() { # base64 in, to $staged. What cat says is about the disk; what base64 says, the hash says better.
  { base64 -d 2>/dev/null | cat > "$staged"; } 2>&1
}
dress() { # OWNER MODE LIKE: a new owner and mode, and the SELinux context of the file that it replaces
  chown "$1" "$staged" 2>/dev/null && chmod "$2" "$staged" 2>/dev/null || result owner
  [ ! -e "$R/sys/fs/selinux/enforce" ] || [ ! -e "$3" ] || chcon --reference="$3" "$staged" 2>/dev/null || result owner
  sync "$staged" 2>/dev/null || sync
}
trusted "$file" || result parent
is "$file" "$before" || result changed
# The arguments become the list of what is to be done: temporary file, file, hash before, hash after.
set --
units=
while IFS= read -r other || result incomplete; [ -n "$other" ]; do
  IFS= read -r owner
  IFS= read -r mode
  IFS= read -r had
  IFS= read -r has
  IFS= read -r content || result incomplete
  target=$R$other
  trusted "$target" || result parent
  is "$target" "$had" || result changed
  [ "$had" != "$has" ] || continue
  case $other in /etc/systemd/*) units=changed ;; esac
  if [ ! -d "${target%/*}" ]; then
    # Everybody may look into it; what is in it has modes of its own.
    error=$( (umask 022; mkdir -p "${target%/*}") 2>&1) || why "$error"
  fi
  stage "$target"
  set -- "$@" "$staged" "$target" "$had" "$has"
  [ "$has" != absent ] || continue
  error=$(printf '%s' "$content" | fill) || why "$error"
  [ "$(hash "$staged")" = "$has" ] || result incomplete
  case $owner in
    root) whose=$super ;;
    like) whose=$like ;;
    *) if id -- "$owner" >/dev/null 2>&1; then whose=$owner:; else whose=$super; fi ;;
  esac
  dress "$whose" "$mode" "$target"
done
if [ "$after" != - ]; then
  stage "$file"
  set -- "$@" "$staged" "$file" "$before" "$after"
  error=$(fill) || why "$error"
  [ "$(hash "$staged")" = "$after" ] || result incomplete
  mode=600
  [ "$before" = absent ] || mode=$(stat -c '%a' "$file" 2>/dev/null)
  dress "$like" "$mode" "$file"
fi
keep() { # LIST: the old files, as they are, under another name; unless one is not what it was
  while [ $# -gt 0 ]; do
    is "$2" "$3" || result changed
    [ "$3" = absent ] || ln "$2" "$1.old" 2>/dev/null || error=$(cp -p "$2" "$1.old" 2>&1) || why "$error"
    shift 4
  done
}
put() { # LIST: what is added or changed
  while [ $# -gt 0 ]; do
    if [ "$4" != absent ]; then
      error=$(mv -f "$1" "$2" 2>&1) || return 1
      [ ! -e "$R/sys/fs/selinux/enforce" ] || [ "$3" != absent ] || restorecon "$2" 2>/dev/null
    fi
    shift 4
  done
}
drop() { # LIST: what is removed
  while [ $# -gt 0 ]; do
    [ "$4" != absent ] || error=$(rm -f "$2" 2>&1) || return 1
    shift 4
  done
}
undo() { # LIST: as it was, but for what somebody else has changed since
  trouble=
  while [ $# -gt 0 ]; do
    if ! is "$2" "$4"; then is "$2" "$3" || trouble='changed'
    elif [ "$3" = absent ]; then rm -f "$2"
    else mv -f "$1.old" "$2" || trouble=unwritable
    fi 2>/dev/null
    shift 4
  done
}
# KILL, because the programs inherit that TERM is ignored.
limit() { timeout -s KILL "$@" 2>/dev/null </dev/null 9>&-; }
start() { limit 20 systemctl show "$unit" -p ExecMainStartTimestampMonotonic; }
[ -z "$started" ] || [ "$(start)" = "ExecMainStartTimestampMonotonic=$started" ] || result changed
keep "$@"
# From here on it must be finished, whatever becomes of the connection: a new file needs its restart.
trap '' HUP INT PIPE TERM
# What is removed goes last: a file that names it must not outlive it.
put "$@" && drop "$@" || { undo "$@"; why "$error"; }
reload() { [ -z "$units" ] || limit 60 systemctl daemon-reload >/dev/null; }
act() { # false when 'iotedge config apply' says no; that it does not end says nothing
  [ "$action" != none ] || return 0
  limit 20 systemctl reset-failed "$unit" >/dev/null
  if [ "$action" = config-apply ]; then
    output=$(timeout -s KILL 180 iotedge config apply -c "$path" 2>&1 </dev/null 9>&-) || [ $? -gt 128 ]
  else
    limit 120 systemctl restart "$unit" >/dev/null || :
  fi
}
accepted() { # whether the daemon took its settings: yes when it serves, no when it ended with 153, yes when in doubt
  case $action in none | retire) return 0 ;; esac
  turns=0
  while [ "$turns" -lt 20 ]; do
    state=$(limit 5 systemctl show "$unit" -p ActiveState -p ExecMainStatus)
    case $state in
      *ActiveState=failed*) case $state in *ExecMainStatus=153*) return 1 ;; *) return 0 ;; esac ;;
      # Not at the first look: a daemon that is about to end with 153 would be started again by its socket.
      *ActiveState=active*) [ "$turns" = 0 ] || ! limit 5 iotedge list >/dev/null || return 0 ;;
    esac
    sleep 0.5 2>/dev/null || sleep 1
    turns=$((turns + 1))
  done
}
reload
said=
if act; then ! accepted || result applied; else said=${output:-nothing}; fi
undo "$@"
reload
# 'iotedge config apply' restarts nothing when it says no.
[ $# = 0 ] || [ -n "$said" ] || act
[ -z "$trouble" ] || result "$trouble"
case $said in
  *'No space left'* | *'quota exceeded'* | *'Read-only file system'*) why "$said" ;;
  *'hostname in the config'*) result hostname ;;
  *) result refused ;;
esac
"""

_CHECK = r"""
timeout 240 iotedge check --output json 2>/dev/null </dev/null | head -c 262144 | say check
"""


_BECOME_ROOT = (
    """text=$(printf %s "$0" | tr '~`' '\\012\\041'); """
    """if [ "$(id -u)" = 0 ]; then exec sh -c "$text"; else exec sudo -n sh -c "$text"; fi"""
)


def _command(script: str) -> str:
    """The script as one command line for the device's login shell, as root.

    `sh -c` because stdin is for the parameters; `sudo -n` because nobody is there to type a password. Line breaks and
    exclamation marks travel as '~' and '`', because csh takes neither in quotes.
    """
    text = f"{_FRAME}{script}".translate({ord("\n"): "~", ord("!"): "`"})
    return f"exec /bin/sh -c {shlex.quote(_BECOME_ROOT)} {shlex.quote(text)}"


_OBSERVE_COMMAND, _APPLY_COMMAND, _CHECK_COMMAND = (_command(script) for script in (_OBSERVE, _APPLY, _CHECK))


def observe(query: Query) -> RemoteCommand:
    """Says: version, path, kind, mode, modified, content, template, taken, hash:N, units, now, started, modules, journal, end."""
    return RemoteCommand(command=_OBSERVE_COMMAND, lines=(query.path, *query.others, ""), seconds=120)


def apply(change: Change) -> RemoteCommand:
    """Carries out the change if everything still is what was observed. Says: result."""
    lines = [change.path, change.before]
    lines.append("-" if change.content is None else hashlib.sha256(change.content).hexdigest())
    lines += [change.unit, change.action.value, change.started]
    for other in change.others:
        content = base64.b64encode(other.content or b"").decode()
        lines += [other.path, other.owner.value, other.mode, other.before, other.after, content]
    body = base64.encodebytes(change.content or b"").decode()
    return RemoteCommand(command=_APPLY_COMMAND, lines=(*lines, ""), body=body, seconds=300)


def check() -> RemoteCommand:
    """Says: check."""
    return RemoteCommand(command=_CHECK_COMMAND, lines=(), seconds=270)
