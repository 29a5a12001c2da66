#!/bin/sh
# Moves the OCS agent of this computer to another server. The agent keeps its DEVICEID and its history
# of deployed packages.
#
# Run the script as root, or deploy it as a package of the present server. While the agent is at
# work, the script waits in the background, for an hour at most.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

new='@SERVER@'
# Certificate authorities for the new server. Empty: the setting stays as it is.
ca='@CA@'

fail() {
  echo "cannot move the OCS agent: $*" >&2
  exit 1
}

# The variables are for tests.
config=${OCS_AGENT_CONFIG:-}
for file in /etc/ocsinventory/ocsinventory-agent.cfg /etc/ocsinventory-agent/ocsinventory-agent.cfg \
  /usr/local/etc/ocsinventory/ocsinventory-agent.cfg; do
  [ -n "$config" ] || [ ! -f "$file" ] || config=$file
done
[ -f "$config" ] || fail "found no configuration"

setting() {
  sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*//p" "$config" | head -n 1
}

state=${OCS_AGENT_STATE:-$(setting basevardir)}
state=${state:-/var/lib/ocsinventory-agent}

# The agent names the folder of its state after the address of the server.
folder() {
  case $1 in
    http://* | https://*) address=$1 ;;
    *) address=http://$1/ocsinventory ;;
  esac
  printf '%s/%s' "$state" "$(printf %s "$address" | tr / _)"
}

old=$(setting server)
[ -n "$old" ] || fail "found no server in $config"
old_folder=$(folder "$old")
new_folder=$(folder "$new")

# The process that deploys packages locks a file. The other one keeps the file `suspend`.
is_busy() {
  lock=$old_folder/download/lock
  [ ! -e "$old_folder/download/suspend" ] || return 0
  [ -e "$lock" ] && command -v flock >/dev/null && ! flock -n "$lock" true
}

if is_busy && [ "${1:-}" != --wait ]; then
  cp "$0" "$state/move-agent.sh"
  chmod 700 "$state/move-agent.sh"
  if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
    systemd-run --quiet --collect sh "$state/move-agent.sh" --wait
  else
    setsid sh "$state/move-agent.sh" --wait >/dev/null 2>&1 </dev/null &
  fi
  exit 0
fi
tries=0
while is_busy; do
  tries=$((tries + 1))
  [ "$tries" -le 720 ] || fail "the agent is still at work after an hour"
  sleep 5
done

next=$config.next
(
  # The address contains the token of the fleet.
  umask 077
  awk -v server="$new" -v ca="$ca" '
    /^[ \t]*server[ \t]*=/ { if (!found++) print "server=" server; next }
    ca != "" && /^[ \t]*ca[ \t]*=/ { next }
    { print }
    END {
      if (!found) print "server=" server
      if (ca != "") print "ca=" ca
    }' "$config" >"$next"
)
if [ "$old_folder" != "$new_folder" ] && [ -d "$old_folder" ]; then
  [ ! -e "$new_folder" ] || mv "$new_folder" "$new_folder.before-$(date +%Y%m%d%H%M%S)"
  mv "$old_folder" "$new_folder"
fi
mv "$next" "$config"
chmod 700 "$state"
rm -f "$state/move-agent.sh"
