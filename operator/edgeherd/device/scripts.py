"""The scripts that run on a Linux device: fixed text, POSIX `sh`, nothing of a manifest ever interpolated.

Parameters travel on stdin, one a line, so no quoting can go wrong and nothing shows in a process list. What a script
says comes back as lines `NONCE name base64`, so that banners, MOTD and odd shells cannot be mistaken for an answer.

Absolute paths are prefixed with $EDGEHERD_DEVICE_ROOT, which is empty on a device; a simulated device keeps its file
system in a folder (in the manner of DESTDIR).
"""

import base64
import hashlib
import shlex

from edgeherd.device.errand import Errand
from edgeherd.device.port import Change, Look

_FRAME = r"""
set -u
IFS= read -r nonce
R=${EDGEHERD_DEVICE_ROOT-}
LC_ALL=C
export LC_ALL
b64() { base64 | tr -d '\n'; }
say() { printf '%s %s ' "$nonce" "$1"; b64; printf '\n'; }
hash() { sha256sum < "$1" | cut -d ' ' -f 1; }
"""

_OBSERVE = r"""
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
  if head -c 1048577 "$file" >/dev/null 2>&1; then head -c 1048577 "$file" | say content; else echo no | say readable; fi
elif [ -e "$file" ]; then echo other | say kind
else
  echo absent | say kind
  template=$R/etc/aziot/config.toml.edge.template
  [ "$unit" = iotedge.service ] || [ ! -f "$template" ] || head -c 1048577 "$template" 2>/dev/null | say template
fi
if [ "$unit" != iotedge.service ]; then
  super=$R/etc/aziot/edged/config.d/00-super.toml
  if [ ! -f "$super" ] || [ "$file" -nt "$super" ]; then echo no; else echo yes; fi | say taken
fi
number=0
while IFS= read -r other && [ -n "$other" ]; do
  if [ -f "$R$other" ] && [ ! -L "$R$other" ]; then hash "$R$other" | say "hash:$number"
  elif [ -e "$R$other" ] || [ -L "$R$other" ]; then echo other | say "hash:$number"
  fi
  number=$((number + 1))
done
units=$(timeout 20 systemctl show $unit $more docker.service -p Id -p LoadState -p ActiveState -p SubState -p Result \
  -p ExecMainStatus -p NRestarts -p ExecMainStartTimestampMonotonic 2>/dev/null </dev/null)
printf '%s' "$units" | say units
# systemd tells when the daemon started on the clock that nobody sets; the file has the other one.
uptime=$(cut -d '.' -f 1 /proc/uptime 2>/dev/null)
now=$(date +%s)
mono=$(printf '%s\n' "$units" | sed -n 's/^ExecMainStartTimestampMonotonic=\([0-9][0-9]*\)[0-9]\{6\}$/\1/p' | head -n 1)
echo "$now" | say now
started=
if [ -n "$uptime" ] && [ -n "$mono" ]; then
  started=$((now - uptime + mono))
  echo "$started" | say started
fi
# Asking a daemon that has failed would start it, by its socket, and use up systemd's patience with it.
modules=
case $(printf '%s\n' "$units" | sed -n 's/^ActiveState=//p' | head -n 1) in
  failed | inactive) ;;
  *) modules=$(timeout 15 iotedge list 2>/dev/null </dev/null | head -n 200) ;;
esac
printf '%s' "$modules" | say modules
if ! printf '%s\n' "$modules" | grep -q '^edgeAgent  *running'; then
  set -- -u "$unit"
  [ -z "$more" ] || set -- "$@" -u aziot-identityd.service
  [ -z "$started" ] || set -- "$@" --since "@$((started - 2))"
  timeout 10 journalctl "$@" -n 200 --no-pager -o cat 2>/dev/null </dev/null | tail -c 32768 | say journal
fi
echo ok | say end
"""

_APPLY = r"""
IFS= read -r path
IFS= read -r before
IFS= read -r after
IFS= read -r unit
IFS= read -r action
file=$R$path
umask 077
temps=
# Whatever happens, nothing of ours stays behind: it holds keys. What a power cut left is swept a while later.
clean() { for temp in $temps; do rm -f "$R$temp" "$R$temp.old"; done; }
trap clean EXIT
trap 'exit 1' HUP INT TERM
result() { echo "$1" | say result; exit 0; }
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
daemon=$root
[ "$before" = absent ] || daemon=$(stat -c '%u' "$file" 2>/dev/null)
# Whoever may swap a folder on the way would be given keys, or a root shell.
trusted() {
  folder=${1%/*}
  while [ "${#folder}" -gt "${#R}" ]; do
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
own() { # FILE LIKE: owner, mode and SELinux context of an existing file
  chown "$(stat -c '%u:%g' "$2")" "$1" 2>/dev/null && chmod "$(stat -c '%a' "$2")" "$1" 2>/dev/null || result owner
  [ ! -e /sys/fs/selinux/enforce ] || chcon --reference="$2" "$1" 2>/dev/null || result owner
}
stage() { # FILE: a temporary file in its folder; its name in $staged
  staged=$(mktemp "${1%/*}/.edgeherd.XXXXXX" 2>&1) || why "$staged"
  temps="$temps ${staged#"$R"}"
}
trusted "$file" || result parent
is "$file" "$before" || result changed
find "${file%/*}" -maxdepth 1 -name '.edgeherd.??????*' -cmin +15 -exec rm -f {} \; 2>/dev/null
set --
reload=
while IFS= read -r other && [ -n "$other" ]; do
  IFS= read -r owner
  IFS= read -r mode
  IFS= read -r had
  IFS= read -r has
  IFS= read -r content
  target=$R$other
  trusted "$target" || result parent
  is "$target" "$had" || result changed
  case $other in /etc/systemd/*) reload=yes ;; esac
  if [ "$has" = absent ]; then set -- "$@" '' "$other"; continue; fi
  if [ ! -d "${target%/*}" ]; then
    # Everybody may look into it; what is in it has modes of its own.
    error=$( (umask 022; mkdir -p "${target%/*}") 2>&1) || why "$error"
  fi
  stage "$target"
  error=$( { printf '%s' "$content" | base64 -d 2>/dev/null | cat > "$staged"; } 2>&1) || why "$error"
  [ "$(hash "$staged")" = "$has" ] || result incomplete
  case $owner in
    root) whose=$(stat -c '%u:%g' "$R/") ;;
    like) whose=$(stat -c '%u:%g' "$file") ;;
    *) if id "$owner" >/dev/null 2>&1; then whose=$owner:; else whose=$(stat -c '%u:%g' "$R/"); fi ;;
  esac
  chown "$whose" "$staged" 2>/dev/null && chmod "$mode" "$staged" || result owner
  set -- "$@" "${staged#"$R"}" "$other"
done
if [ "$after" != - ]; then
  stage "$file"
  fresh=$staged
  # What cat says is about the disk; what base64 says is about the connection, and the hash says it better.
  error=$( { base64 -d 2>/dev/null | cat > "$fresh"; } 2>&1) || why "$error"
  [ "$(hash "$fresh")" = "$after" ] || result incomplete
  if [ "$before" = absent ]; then chown "$(stat -c '%u:%g' "$R/")" "$fresh" 2>/dev/null || result owner
  else own "$fresh" "$file"; fi
  sync "$fresh" 2>/dev/null || sync
  is "$file" "$before" || result changed
fi
# From here on it must be finished, whatever becomes of the connection: a new file needs its restart.
trap '' HUP INT PIPE TERM
while [ $# -gt 0 ]; do
  if [ -z "$1" ]; then rm -f "$R$2"; else mv -f "$R$1" "$R$2"; [ ! -e /sys/fs/selinux/enforce ] || restorecon "$R$2" 2>/dev/null; fi || result unwritable
  shift 2
done
if [ "$after" != - ]; then
  [ "$before" = absent ] || ln "$file" "$fresh.old" 2>/dev/null || cp -p "$file" "$fresh.old" 2>/dev/null || result unwritable
  error=$(mv -f "$fresh" "$file" 2>&1) || why "$error"
  [ "$before" != absent ] || [ ! -e /sys/fs/selinux/enforce ] || restorecon "$file" 2>/dev/null
fi
[ -z "$reload" ] || timeout -k 5 60 systemctl daemon-reload >/dev/null 2>&1 </dev/null
act() {
  case $action in
    none) return 0 ;;
    config-apply)
      timeout -k 5 20 systemctl reset-failed "$unit" >/dev/null 2>&1 </dev/null
      output=$(timeout -k 5 180 iotedge config apply 2>&1 </dev/null) ;;
    *)
      timeout -k 5 20 systemctl reset-failed "$unit" >/dev/null 2>&1 </dev/null
      timeout -k 5 120 systemctl restart "$unit" >/dev/null 2>&1 </dev/null
      return 0 ;;
  esac
}
accepted() { # whether the daemon took its settings: yes when it serves, no when it ended with 153, yes when in doubt
  case $action in none | retire) return 0 ;; esac
  turns=0
  while [ "$turns" -lt 20 ]; do
    state=$(timeout 10 systemctl show "$unit" -p ActiveState -p ExecMainStatus 2>/dev/null </dev/null)
    case $state in
      *ActiveState=failed*) case $state in *ExecMainStatus=153*) return 1 ;; *) return 0 ;; esac ;;
      *ActiveState=active*) timeout 5 iotedge list >/dev/null 2>&1 </dev/null && return 0 ;;
    esac
    sleep 0.5 2>/dev/null || sleep 1
    turns=$((turns + 1))
  done
}
output=
if act && accepted; then result applied; fi
if [ "$after" != - ]; then
  if [ "$before" = absent ]; then rm -f "$file"; else mv -f "$fresh.old" "$file"; fi
  case $output in
    '' | *successfully*) act ;;
  esac
fi
case $output in
  *'hostname in the config'*) result hostname ;;
  *) result refused ;;
esac
"""

_CHECK = r"""
timeout -k 5 240 iotedge check --output json 2>/dev/null </dev/null | head -c 262144 | say check
"""


def _command(script: str) -> str:
    """The script as one command line for the device's login shell, as root.

    `sh -c` because stdin is for the parameters; `sudo -n` because nobody is there to type a password.
    """
    inner = shlex.quote(f"{_FRAME}{script}")
    outer = 'if [ "$(id -u)" = 0 ]; then exec sh -c "$0"; else exec sudo -n sh -c "$0"; fi'
    return f"exec /bin/sh -c {shlex.quote(outer)} {inner}"


_OBSERVE_COMMAND, _APPLY_COMMAND, _CHECK_COMMAND = (_command(script) for script in (_OBSERVE, _APPLY, _CHECK))


def observe(look: Look) -> Errand:
    """Says: version, path, kind, mode, modified, content, template, taken, hash:N, units, now, started, modules, journal, end."""
    return Errand(command=_OBSERVE_COMMAND, lines=(look.path, *look.others, ""), seconds=120)


def apply(change: Change) -> Errand:
    """Carries out the change if everything still is what was observed. Says: result."""
    lines = [change.path, change.before]
    lines.append("-" if change.content is None else hashlib.sha256(change.content).hexdigest())
    lines += [change.unit, change.action.value]
    for other in change.others:
        content = base64.b64encode(other.content or b"").decode()
        lines += [other.path, other.owner.value, other.mode, other.before, other.after, content]
    body = base64.encodebytes(change.content or b"").decode()
    return Errand(command=_APPLY_COMMAND, lines=(*lines, ""), body=body, seconds=300)


def check() -> Errand:
    """Says: check."""
    return Errand(command=_CHECK_COMMAND, lines=(), seconds=270)
