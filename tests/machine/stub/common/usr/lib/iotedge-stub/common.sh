# What both flavours of the stand-in runtime share.
STUB=/usr/lib/iotedge-stub
SOCKET=/var/run/iotedge/mgmt.sock
# While this is there, the hub knows no key.
REFUSAL=/run/stub-hub-says-401

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
    pause 1
    if grep -q ' running ' "$modules" 2>/dev/null; then continue; fi
    # What ran once is started again without asking anybody.
    if [ ! -s "$modules" ] && [ -e "$REFUSAL" ]; then
      log WARN "Error in watchdog when checking for edge runtime status:"
      log WARN "	caused by: Could not get module \$edgeAgent"
      log WARN "	caused by: HTTP request error: [401 Unauthorized]: {\"Message\":\"ErrorCode:IotHubUnauthorizedAccess;Unauthorized\"}"
      continue
    fi
    log INFO "Starting module edgeAgent..."
    write_module running "$(date +%s)"
  done
}

write_module() {
  printf 'edgeAgent %s %s %s\n' "$1" "$2" "$image" > "$modules.new" && mv -f "$modules.new" "$modules"
}

# What `iotedge list` prints; the argument is the heading of the last column.
list() {
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
