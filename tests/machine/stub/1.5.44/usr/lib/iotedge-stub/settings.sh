# config.toml, as far as the stand-in understands it.
FILE=/etc/aziot/config.toml
HOME_FOLDER=/var/lib/aziot/edged

# Why the file is no TOML; nothing when it is some. One line is one value, but for arrays and long strings.
toml_trouble() {
  awk '
    function bad(why) { print why " at line " NR; exit }
    { sub(/\r$/, "") }
    until != "" { if (index($0, until)) until = ""; next }
    /^[ \t]*(#|$)/ { next }
    /^[ \t]*\[\[[A-Za-z0-9_."-]+\]\][ \t]*(#.*)?$/ { table = $0 NR; next }
    /^[ \t]*\[[A-Za-z0-9_."-]+\][ \t]*(#.*)?$/ {
      table = $0; gsub(/[ \t]|#.*/, "", table)
      if (table in tables) bad("duplicate key: `" table "`")
      tables[table] = 1; next
    }
    !/^[ \t]*("[^"]*"|[A-Za-z0-9_.-]+)[ \t]*=[ \t]*[^ \t]/ { bad("expected a key, an equals and a value") }
    {
      key = value = $0; sub(/[ \t]*=.*/, "", key); sub(/^[ \t]*/, "", key); sub(/^[^=]*=[ \t]*/, "", value)
      if ((table, key) in keys) bad("duplicate key: `" key "`")
      keys[table, key] = 1
      if (value ~ /^"""/) { if (!index(substr(value, 4), "\"\"\"")) until = "\"\"\""; next }
      if (value ~ /^"([^"\\]|\\.)*"[ \t]*(#.*)?$/ || value ~ /^\047[^\047]*\047[ \t]*(#.*)?$/) next
      if (value ~ /^\{.*\}[ \t]*(#.*)?$/ || value ~ /^\[.*\][ \t]*(#.*)?$/) next
      if (value ~ /^\[/) { until = "]"; next }
      if (value !~ /^(true|false|[-+]?[0-9][-+0-9.:_eTZ]*)[ \t]*(#.*)?$/) bad("invalid TOML value")
    }' "$1"
}

# A value of a table, with its quotes and brackets gone; of an inline table the string in it.
#   toml FILE TABLE KEY
toml() {
  tr -d '\r' < "$1" | awk -v table="[$2]" -v key="$3" '
    /^[ \t]*\[/ { name = $1; next }
    name == table && $1 == key && $2 == "=" {
      sub(/^[^=]*=[ \t]*/, ""); if (match($0, /"[^"]*"/)) print substr($0, RSTART + 1, RLENGTH - 2); else print $1
      exit
    }'
}

# What is to be provisioned, in HUB, DEVICE and KEY; says why it cannot be.
provisioning() {
  case $(toml "$FILE" provisioning source) in
    manual) ;;
    dps) HUB=dps DEVICE=$(toml "$FILE" provisioning.attestation registration_id) KEY=; return 0 ;;
    *) PROBLEM="missing field \`provisioning\`"; return 1 ;;
  esac
  connection=$(toml "$FILE" provisioning connection_string)
  if [ -z "$connection" ]; then
    HUB=$(toml "$FILE" provisioning iothub_hostname)
    DEVICE=$(toml "$FILE" provisioning device_id)
    KEY=$(toml "$FILE" provisioning.authentication device_id_pk)
    if [ -n "$HUB" ] && [ -n "$DEVICE" ]; then return 0; fi
    PROBLEM="data did not match any variant of untagged enum ManualProvisioning"
    return 1
  fi
  PROBLEM="connection string is invalid"
  well_formed "$connection" || return 1
  HUB=$(parameter HostName "$connection")
  DEVICE=$(parameter DeviceId "$connection")
  KEY=$(parameter SharedAccessKey "$connection")
}
