#!/bin/sh
# Keeps one machine in control groups of its own, and takes it down when stdin ends: whoever asked for it need not live
# to clean up.
#   keeper.sh NAME 'HIERARCHY ...' COMMAND...
name=$1
groups=
for hierarchy in $2; do groups="$groups $hierarchy/$name"; done
shift 2

exec 3<&0
sh -c 'for group in $0; do mkdir "$group" && echo $$ > "$group/cgroup.procs" || exit 1; done; exec "$@"' "$groups" "$@" \
  </dev/null 3<&- &
machine=$!

members() {
  for group in $groups; do find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null; done | sort -u
}

{
  cat <&3 >/dev/null
  kill -TERM "$machine"
  sleep 15
  # shellcheck disable=SC2046 # they are numbers
  kill -KILL $(members)
} 2>/dev/null &
watcher=$!

wait "$machine"
status=$?
kill "$watcher" 2>/dev/null
# Nothing is left to do, unless systemd-nspawn was killed: the machine outlives it.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  left=$(members)
  [ -n "$left" ] || break
  # shellcheck disable=SC2086 # they are numbers
  kill -KILL $left 2>/dev/null
  sleep 0.2
done
for group in $groups; do find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; done
rmdir "/run/systemd/nspawn/propagate/$name" 2>/dev/null
exit "$status"
