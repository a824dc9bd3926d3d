# What both flavours of the stand-in runtime share.
STUB=/usr/lib/iotedge-stub
SOCKET=/var/run/iotedge/mgmt.sock
# What is wrong with the device; a file for each. Root puts them there.
#   unauthorized      the hub knows no key
#   no_network        no name can be looked up
#   image_pull_fails  the registry has no such image
#   engine_down       the container engine does not answer
#   crashes           the daemon ends with status 1
#   dislikes          the daemon refuses settings that hold the text in this file
FAULTS=/run/stub

# Log as the daemon does; LEVEL is INFO, WARN or ERR!.
log() {
  case $1 in INFO) number=6 ;; WARN) number=4 ;; *) number=3 ;; esac
  printf '<%s>%s [%s] - %s\n' "$number" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$2"
}

# Sleep, but hear a signal.
pause() {
  sleep "$1" &
  sleeper=$!
  wait "$sleeper"
}

# Three keys, each once, and a key in base64.
well_formed() {
  printf '%s' "$1" | awk -F ';' '
    { for (i = 1; i <= NF; i++) { n = index($i, "="); if (!n || n == length($i)) exit 1
        key = substr($i, 1, n - 1); value = substr($i, n + 1); if (key in seen) exit 1; seen[key] = value } }
    END { if (!("HostName" in seen && "DeviceId" in seen && "SharedAccessKey" in seen)) exit 1
        k = seen["SharedAccessKey"]; if (k !~ /^[A-Za-z0-9+\/]+=?=?$/ || length(k) % 4) exit 1 }'
}

# One parameter of a connection string.
parameter() { printf '%s\n' "$2" | tr ';' '\n' | sed -n "s/^$1=//p"; }

# What is refused whatever a reader of the settings could know.
#   disliked FILE
disliked() { [ -s "$FAULTS/dislikes" ] && grep -qF -f "$FAULTS/dislikes" "$1"; }

# The causes that the watchdog tells; nothing when edgeAgent can be started. What ran once asks neither hub nor registry.
in_the_way() {
  if [ -e "$FAULTS/engine_down" ]; then
    printf '\tcaused by: %s\n' "Could not list modules" "Container runtime error" \
      "error trying to connect: Connection refused (os error 111)"
  elif [ -s "$modules" ]; then :
  elif [ -e "$FAULTS/unauthorized" ]; then
    printf '\tcaused by: %s\n' "Could not get module \$edgeAgent" \
      'HTTP request error: [401 Unauthorized]: {"Message":"ErrorCode:IotHubUnauthorizedAccess;Unauthorized"}'
  elif [ -e "$FAULTS/no_network" ]; then
    printf '\tcaused by: %s\n' "Could not get module \$edgeAgent" \
      "error trying to connect: dns error: failed to lookup address information: Temporary failure in name resolution"
  elif [ -e "$FAULTS/image_pull_fails" ]; then
    printf '\tcaused by: %s\n' "Could not pull image $image" "manifest unknown: manifest unknown"
  fi
}

# Be the daemon from here on: answer at the sockets, and see to it that edgeAgent runs.
#   keep_running MODULES IMAGE
# MODULES holds a line 'name status since image' for each container.
keep_running() {
  modules=$1 image=$2
  "$STUB/socket" serve "$modules" &
  server=$!
  trap 'kill "$server" "$sleeper" 2>/dev/null; log INFO "Shutting down"; exit 0' TERM INT
  exec 3<&- 4<&-
  if [ -s "$modules" ]; then
    log INFO "Stopping all modules..."
    write_module stopped "$(date +%s)"
  fi
  while :; do
    pause 0.3
    causes=$(in_the_way)
    if [ -n "$causes" ]; then
      log WARN "Error in watchdog when checking for edge runtime status:"
      printf '%s\n' "$causes" | while IFS= read -r cause; do log WARN "$cause"; done
      pause 1
      continue
    fi
    if grep -q ' running ' "$modules" 2>/dev/null; then continue; fi
    log INFO "Starting module edgeAgent..."
    write_module running "$(date +%s)"
  done
}

write_module() {
  printf 'edgeAgent %s %s %s\n' "$1" "$2" "$image" > "$modules.new" && mv -f "$modules.new" "$modules"
}

# What `iotedge list` prints; the argument is the heading of the last column.
list() {
  if [ -e "$FAULTS/engine_down" ]; then
    printf '%s\n' "A module runtime error occurred" "	caused by: error trying to connect: Connection refused (os error 111)" >&2
    exit 1
  fi
  if ! said=$("$STUB/socket" ask "$SOCKET" 2>&1); then
    printf '%s\n' "A module runtime error occurred" "	caused by: $said" >&2
    exit 1
  fi
  printf '%-15s  %-15s  %-15s  %s\n' NAME STATUS DESCRIPTION "$1"
  [ -n "$said" ] || return 0
  printf '%s\n' "$said" | sort | while read -r name status since image; do
    seconds=$(($(date +%s) - since))
    if [ "$status" = running ]; then description="Up $seconds seconds"; else description="Stopped $seconds seconds ago"; fi
    printf '%-15s  %-15s  %-15s  %s\n' "$name" "$status" "$description" "$image"
  done
}

# What `iotedge check` prints of its one check; nothing in TROUBLE is a good sign.
#   check ID TROUBLE [OPTIONS]
check() {
  id=$1 trouble=$2
  shift 2
  if [ -z "$trouble" ]; then result='"ok"' status=0; else result="\"error\",\"details\":[\"$(printf %s "$trouble" | sed 's/["\\]/\\&/g')\"]" status=1; fi
  case "$*" in
    *json*) printf '{"additional_info":{},"checks":{"%s":{"result":{"result":%s},"additional_info":{}}}}\n' "$id" "$result" ;;
    *) if [ "$status" = 0 ]; then echo "√ $id - OK"; else printf '%s\n' "× $id - Error" "    $trouble"; fi ;;
  esac
  exit "$status"
}
