# config.yaml, as far as the stand-in understands it.
FILE=/etc/iotedge/config.yaml
HOME_FOLDER=/var/lib/iotedge

# The lines that count, in one quoting.
active() { tr -d '\r' < "$FILE" | sed "s/[[:space:]]*\$//; /^[[:space:]]*#/d; /^\$/d; s/'/\"/g"; }

# A value of a section; where a section stands twice, the last one holds.
#   setting SECTION KEY
setting() {
  active | awk -v section="$1:" -v key="$2:" '
    /^[^ ]/ { inside = ($1 == section); if (inside) value = "" }
    inside && $1 == key { value = $0; sub(/^[^:]*:[ ]*/, "", value); gsub(/^"|"$/, "", value) }
    END { print value }'
}

settings_hash() { active | sha256sum | cut -d ' ' -f 1; }

# Why the daemon would not start; nothing when it would.
trouble() {
  if [ ! -r "$FILE" ]; then echo "Permission denied (os error 13)"; return; fi
  if active | grep -q "^ *$(printf '\t')"; then echo "found character that cannot start any token"; return; fi
  for section in provisioning agent hostname homedir; do
    if ! active | grep -q "^$section:"; then echo "missing field \`$section\`"; return; fi
  done
  [ "$(setting provisioning source)" = manual ] && [ "$(setting provisioning method)" != x509 ] || return 0
  connection=$(setting provisioning device_connection_string)
  case $connection in
    "") echo "The Connection String is empty or invalid" ;;
    "<"*) echo "The Connection String is the placeholder; configure one" ;;
    *) well_formed "$connection" || echo "The Connection String has a malformed value" ;;
  esac
}
