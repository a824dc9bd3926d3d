"""The text of the scripts for Linux devices, as `device/scripts.py` describes them: POSIX `sh`.

`$newline` is a line break, `$nonce` is secret to whoever does not read our standard input. What a script says it collects
and writes in one go: each write is a packet, and a packet costs more than what is in it. A program costs a weak device
milliseconds, so what the shell can do by itself it does by itself.

No function may have a name that a shell predefines: mksh would take its alias `hash` for the function of that name.
"""

FRAME = r"""
set -u
R=${EDGEHERD_DEVICE_ROOT-}
LC_ALL=C
export LC_ALL
said=
say() { said="$said$newline$nonce $1$newline$2"; }
# mksh has no printf of its own, and what is printed may be secret: it must not be a program's argument.
if [ -n "${KSH_VERSION-}" ]; then put() { print -rn -- "$1"; }; else put() { printf '%s' "$1"; }; fi
tell() { put "$said"; said=; }
has() { command -v "$1" >/dev/null 2>&1; }
# limited SECONDS PROGRAM...: then it is killed, because it may ignore TERM; 124 or more than 128 says so.
# busybox had another 'timeout' before 1.31, which ends with 127; where there is none, the shell itself does it.
# The lock of a change, 9, is not theirs.
limited() {
  has "$2" || return 127
  if has timeout; then
    timeout -s KILL "$@" 9>&-
    ended=$?
    [ "$ended" -eq 127 ] || return "$ended"
  fi
  most=$1
  shift
  "$@" 9>&- &
  work=$!
  (
    # '$!' is the sleep as soon as it is there; it may ignore TERM like all that a change starts.
    trap 'kill -9 "$!"; exit' USR1
    sleep "$most" &
    wait "$!"
    kill -9 "$work"
  ) >/dev/null 2>&1 </dev/null 9>&- &
  watch=$!
  wait "$work"
  ended=$?
  { kill -USR1 "$watch"; wait "$watch"; } 2>/dev/null
  return "$ended"
}
# The SHA-256 of files, or of standard input, one a line.
sums() { if has sha256sum; then sha256sum "$@"; else openssl dgst -sha256 -r "$@"; fi 2>/dev/null; }
# Of a line of it. A name with a backslash in it makes the line begin with one.
sum_of() { sum=${1#\\}; sum=${sum%%[ *]*}; }
"""

NEEDED = ("cat", "chmod", "chown", "cp", "date", "dd", "id", "mkdir", "mktemp", "mv", "rm", "sleep", "stat", "sync")
"""What the scripts cannot do without, beside the shell, systemctl and one of `sha256sum` and `openssl`."""

OBSERVE = rf"""
IFS= read -r path || exit 3
# Of the other files, those that can be hashed, all in one go.
set --
kinds=
while IFS= read -r other || exit 3; [ -n "$other" ]; do
  # One that cannot be read is not absent: it would be written over.
  if [ -f "$R$other" ] && [ ! -L "$R$other" ]; then kinds="$kinds file"; set -- "$@" "$R$other"
  elif [ -e "$R$other" ] || [ -L "$R$other" ]; then kinds="$kinds other"
  else kinds="$kinds absent"
  fi
done
missing=
for tool in {" ".join(NEEDED)} systemctl; do has "$tool" || missing="$missing $tool"; done
has sha256sum || has openssl || missing="$missing sha256sum"
[ ! -e "$R/sys/fs/selinux/enforce" ] || has chcon || missing="$missing chcon"
found=
if [ $# -gt 0 ] && ! found=$(sums "$@"); then
  found=
  for other; do
    one=$(sums < "$other") || one=other
    found="$found$one$newline"
  done
fi
number=0
for kind in $kinds; do
  if [ "$kind" = file ]; then
    sum_of "${{found%%"$newline"*}}"
    kind=${{sum:-other}}
    found=${{found#*"$newline"}}
  fi
  say "hash:$number" "$kind"
  number=$((number + 1))
done
version=$(limited 10 iotedge version 2>/dev/null </dev/null || limited 10 iotedge --version 2>/dev/null </dev/null)
# A program that cannot run (broken libraries, other architecture) still is a package.
[ -n "$version" ] || version=$(dpkg-query -W -f='iotedge ${{Version}}\n' aziot-edge iotedge 2>/dev/null)
[ -n "$version" ] || version=$(rpm -q --qf 'iotedge %{{VERSION}}\n' aziot-edge iotedge 2>/dev/null)
case $version in iotedge\ [0-9]*) ;; *"${{newline}}iotedge "[0-9]*) version="iotedge ${{version#*"${{newline}}iotedge "}}" ;; esac
version=${{version%%"$newline"*}}
say version "$version"
case $version in
  'iotedge 1.'[01] | 'iotedge 1.'[01][!0-9]*) unit=iotedge.service more= usual=/etc/iotedge/config.yaml ;;
  *)
    unit=aziot-edged.service usual=/etc/aziot/config.toml
    more='aziot-identityd.service aziot-keyd.service aziot-certd.service' ;;
esac
[ -n "$path" ] || path=$usual
say path "$path"
file=$R$path
if [ "$unit" != iotedge.service ]; then
  super=$R/etc/aziot/edged/config.d/00-super.toml
  if [ ! -f "$super" ] || [ "$file" -nt "$super" ]; then say taken no; else say taken yes; fi
fi
units=$(limited 20 systemctl show $unit $more docker.service -p Id -p LoadState -p ActiveState -p SubState -p Result \
  -p ExecMainStatus -p NRestarts -p ExecMainStartTimestampMonotonic 2>/dev/null </dev/null)
say units "$units"
property() {{ # NAME: of the daemon, as $value
  value=$newline${{units%%"$newline$newline"*}}$newline
  case $value in
    *"$newline$1="*) value=${{value#*"$newline$1="}} value=${{value%%"$newline"*}} ;;
    *) value= ;;
  esac
}}
# systemd tells when the daemon started on the clock that nobody sets; the file has the other one.
now=$(date +%s)
say now "$now"
uptime=
{{ IFS=' .' read -r uptime number < /proc/uptime; }} 2>/dev/null
property ExecMainStartTimestampMonotonic
started=
case $value in *[!0-9]*) value= ;; esac
case $uptime in '' | *[!0-9]*) value= ;; esac
case $value in
  ???????*)
    started=$((now - uptime + ${{value%??????}}))
    say started "$started" ;;
esac
# Asking a daemon that does not run would start it, by its socket, and use up systemd's patience with it.
modules=
property ActiveState
case $value in active | '') modules=$(limited 15 iotedge list 2>/dev/null </dev/null) ;; esac
say modules "$modules"
running=
set -f
IFS=$newline
for line in $modules; do
  IFS=' 	'
  set -- $line
  [ "${{1-}} ${{2-}}" != 'edgeAgent running' ] || running=yes
done
set +f
IFS=" 	$newline"
if [ -z "$running" ] && has journalctl; then
  set -- -u "$unit"
  [ -z "$more" ] || set -- "$@" -u aziot-identityd.service
  [ -z "$started" ] || set -- "$@" --since "@$((started - 2))"
  journal=$(limited 10 journalctl "$@" -n 200 --no-pager -o cat 2>/dev/null </dev/null)
  [ ${{#journal}} -le 32768 ] || journal=$(put "$journal" | tail -c 32768)
  say journal "$journal"
fi
# Where it really is, if the way there goes through a link.
way=$file
while [ "$way" != "${{way%/*}}" ]; do
  if [ -L "$way" ]; then
    real=$(readlink -f "$file" 2>/dev/null)
    say real "${{real#"$R"}}"
    break
  fi
  way=${{way%/*}}
done
if [ -L "$file" ]; then say kind symlink
elif [ -f "$file" ]; then
  say kind file
  # Owner and group, mode, time of change, size.
  about=$(stat -c '%U:%G %a %Y %s' "$file" 2>/dev/null) || ! has stat || missing="$missing stat"
  say about "$about"
  say content ''
  tell
  # A read error must not pass for an empty file: that one would be edited.
  dd if="$file" bs=262145 count=1 2>/dev/null || say readable no
elif [ -e "$file" ]; then say kind other
else
  say kind absent
  [ -d "${{file%/*}}" ] || say folder absent
  template=$R/etc/aziot/config.toml.edge.template
  if [ "$unit" != iotedge.service ] && [ -f "$template" ]; then
    say template ''
    tell
    dd if="$template" bs=262145 count=1 2>/dev/null
  fi
fi
say missing "${{missing# }}"
say end ok
tell
"""

APPLY = r"""
result() { say result "$1"; say end ok; tell; exit 0; }
IFS= read -r path
IFS= read -r before
IFS= read -r after
IFS= read -r unit
IFS= read -r action
IFS= read -r started || result incomplete
file=$R$path
# What an operator began goes on when that one is gone, and another may look after the device by then. The lock, which no
# program inherits that may outlive the script, ends with it however it ends. To 'flock' the file goes by another number,
# because a ksh gives what 'exec' opened to no program.
if [ -d "${file%/*}" ] && has flock; then
  exec 9< "${file%/*}"
  flock -n 8 8<&9 || result changed
fi
umask 077
temps=
staged=
# Whatever happens, nothing of ours stays behind: it holds keys.
clean() {
  set -f
  IFS=$newline
  for temp in $temps $staged; do rm -f "$temp" "$temp.old"; done
}
trap clean EXIT
trap 'exit 3' HUP INT PIPE TERM
why() {
  case $1 in
    *'o space left'* | *'uota exceeded'*) result full ;;
    *'ead-only file system'*) result readonly ;;
    *) result unwritable ;;
  esac
}
is() { # FILE HASH: whether it is what was observed
  if [ "$2" = absent ]; then [ ! -e "$1" ] && [ ! -L "$1" ]; return; fi
  [ -f "$1" ] && [ ! -L "$1" ] && holds "$1" "$2"
}
holds() { sum_of "$(sums < "$1")"; [ "$sum" = "$2" ]; }
super=$(stat -c '%u:%g' "$R/")
root=${super%:*}
daemon=$root like=$super mode=600
if [ "$before" != absent ]; then
  about=$(stat -c '%u:%g %a' "$file" 2>/dev/null)
  like=${about% *} mode=${about#* }
  daemon=${like%:*}
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
at_work() { # PID: whether it is one of ours: without 'flock' two may be at it, and two files have two locks
  {
    while IFS= read -r words || [ -n "$words" ]; do
      case $words in *edgeherd-script* | *EDGEHERD_DEVICE_ROOT*) return 0 ;; esac
    done < "/proc/$1/cmdline"
  } 2>/dev/null
  return 1
}
# A temporary file beside a FILE, in $staged. What an earlier run could not take away, because of a power cut, is swept.
stage() {
  [ -d "${1%/*}" ] || result nofolder
  for stale in "${1%/*}"/.edgeherd.*; do
    maker=${stale##*/.edgeherd.}
    at_work "${maker%%.*}" || rm -f "$stale"
  done
  temps=$temps$staged$newline
  staged=$(mktemp "${1%/*}/.edgeherd.$$.XXXXXX" 2>&1) || { error=$staged staged=; why "$error"; }
}
dress() { # OWNER MODE LIKE: a new owner and mode, and the SELinux context of the file that it replaces
  chown "$1" "$staged" 2>/dev/null && chmod "$2" "$staged" 2>/dev/null || result owner
  [ ! -e "$R/sys/fs/selinux/enforce" ] || [ ! -e "$3" ] || chcon --reference="$3" "$staged" 2>/dev/null || result owner
  sync "$staged" 2>/dev/null || sync
}
trusted "$file" || result parent
is "$file" "$before" || result changed
# Six arguments for each other file: its path, owner and mode, the hash that it had and shall have, the size of its content.
set --
others=0
units=
while IFS= read -r other || result incomplete; [ -n "$other" ]; do
  IFS= read -r owner
  IFS= read -r bits
  IFS= read -r had
  IFS= read -r has
  IFS= read -r size || result incomplete
  trusted "$R$other" || result parent
  is "$R$other" "$had" || result changed
  [ "$had" != "$has" ] || continue
  case $other in /etc/systemd/*) units=changed ;; esac
  set -- "$@" "$R$other" "$owner" "$bits" "$had" "$has" "$size"
  others=$((others + 1))
done
# Now their contents come, one after the other, and that of the daemon's file up to the end. The arguments become the list of
# what is to be done: temporary file, file, hash before, hash after.
while [ "$others" -gt 0 ]; do
  target=$1 owner=$2 bits=$3 had=$4 has=$5 size=$6
  shift 6
  others=$((others - 1))
  if [ ! -d "${target%/*}" ]; then
    # Everybody may look into it; what is in it has modes of its own.
    error=$( (umask 022; mkdir -p "${target%/*}") 2>&1) || why "$error"
  fi
  stage "$target"
  set -- "$@" "$staged" "$target" "$had" "$has"
  [ "$has" != absent ] || continue
  # Byte by byte: nothing of the next file may be read. What cat says is about the disk.
  [ "$size" = 0 ] || error=$( { dd bs=1 count="$size" 2>/dev/null | cat > "$staged"; } 2>&1 ) || why "$error"
  holds "$staged" "$has" || result incomplete
  case $owner in
    root) whose=$super ;;
    like) whose=$like ;;
    # Not 'chown USER:', by which uutils leaves the group as it is.
    *) if group=$(id -g -- "$owner" 2>/dev/null); then whose=$owner:$group; else whose=$super; fi ;;
  esac
  dress "$whose" "$bits" "$target"
done
if [ "$after" != - ]; then
  stage "$file"
  set -- "$@" "$staged" "$file" "$before" "$after"
  error=$( { cat > "$staged"; } 2>&1 ) || why "$error"
  holds "$staged" "$after" || result incomplete
  dress "$like" "$mode" "$file"
fi
keep() { # LIST: the old files, as they are, under another name; unless one is not what it was
  while [ $# -gt 0 ]; do
    is "$2" "$3" || result changed
    [ "$3" = absent ] || ln "$2" "$1.old" 2>/dev/null || error=$(cp -p "$2" "$1.old" 2>&1) || why "$error"
    shift 4
  done
}
place() { # LIST: what is added or changed
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
quietly() { limited "$@" 2>/dev/null </dev/null; }
[ -z "$started" ] ||
  [ "$(quietly 20 systemctl show "$unit" -p ExecMainStartTimestampMonotonic)" = "ExecMainStartTimestampMonotonic=$started" ] ||
  result changed
keep "$@"
# From here on it must be finished, whatever becomes of the connection: a new file needs its restart.
trap '' HUP INT PIPE TERM
# What is removed goes last: a file that names it must not outlive it.
place "$@" && drop "$@" || { undo "$@"; why "$error"; }
reread() { [ -z "$units" ] || quietly 60 systemctl daemon-reload >/dev/null; }
act() { # false when 'iotedge config apply' says no; that it does not end says nothing
  [ "$action" != none ] || return 0
  quietly 20 systemctl reset-failed "$unit" >/dev/null
  if [ "$action" = config-apply ]; then
    output=$(limited 180 iotedge config apply -c "$path" 2>&1 </dev/null) ||
      { ended=$?; [ "$ended" -eq 124 ] || [ "$ended" -gt 128 ]; }
  else
    quietly 120 systemctl restart "$unit" >/dev/null || :
  fi
}
accepted() { # whether the daemon took its settings: yes when it serves, no when it ended with 153, yes when in doubt
  case $action in none | retire) return 0 ;; esac
  turns=0
  while [ "$turns" -lt 20 ]; do
    state=$(quietly 5 systemctl show "$unit" -p ActiveState -p ExecMainStatus)
    case $state in
      *ActiveState=failed*) case $state in *ExecMainStatus=153*) return 1 ;; *) return 0 ;; esac ;;
      # Not at the first look: a daemon that is about to end with 153 would be started again by its socket.
      *ActiveState=active*) [ "$turns" = 0 ] || ! quietly 5 iotedge list >/dev/null || return 0 ;;
    esac
    sleep 0.5 2>/dev/null || sleep 1
    turns=$((turns + 1))
  done
}
reread
refusal=
if act; then ! accepted || result applied; else refusal=${output:-nothing}; fi
undo "$@"
reread
# 'iotedge config apply' restarts nothing when it says no.
[ $# = 0 ] || [ -n "$refusal" ] || act
[ -z "$trouble" ] || result "$trouble"
case $refusal in
  *'No space left'* | *'quota exceeded'* | *'Read-only file system'*) why "$refusal" ;;
  *'hostname in the config'*) result hostname ;;
  *) result refused ;;
esac
"""

CHECK = r"""
say check ''
tell
limited 240 iotedge check --output json 2>/dev/null </dev/null
say end ok
tell
"""
