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
for file in /etc/ocsinventory/ocsinventory-agent.cfg /usr/local/etc/ocsinventory/ocsinventory-agent.cfg \
  /etc/ocsinventory-agent/ocsinventory-agent.cfg; do
  [ -n "$config" ] || [ ! -f "$file" ] || config=$file
done
[ -f "$config" ] || fail "found no configuration"
# The agent is a program in Perl. Not every system has flock(1) and setsid(1).
command -v perl >/dev/null || fail "found no perl"

# Reads a setting as the agent does: the last line counts, without quotes.
setting() {
  awk -v key="$1" '
    /^#/ { next }
    {
      at = index($0, "=")
      name = substr($0, 1, at - 1)
      sub(/[ \t]+$/, "", name)
      sub(/^.*[^A-Za-z0-9_]/, "", name)
      if (at == 0 || tolower(name) != key) next
      text = substr($0, at + 1)
      gsub(/^[ \t]+|[ \t\r]+$/, "", text)
      if (text == "") next
      if (text ~ /^\047.*\047$/ || text ~ /^".*"$/) text = substr(text, 2, length(text) - 2)
      value = text
    }
    END { print value }' "$config"
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
# The mark of a move under way, with the folder before.
moving=$state/moving-agent
if [ -f "$moving" ] && [ "$(cat "$moving")" = "$old_folder" ] && [ -d "$new_folder" ]; then
  # An earlier run was interrupted after it had moved the state. A folder that the agent has made since
  # is not its state.
  [ ! -e "$old_folder" ] || mv "$old_folder" "$old_folder.since-$(date +%Y%m%d%H%M%S)"
  mv "$new_folder" "$old_folder"
fi
rm -f "$moving"
# Without this folder the agent would get a new DEVICEID, and deploy its packages again.
[ -d "$old_folder" ] || fail "found no folder $old_folder of the agent: let the agent contact $old once"

# The setting before a move with certificate authorities, for the way back.
ca_before=$state/ca.before-move
asked_ca=$ca
changes_ca=no
if [ -n "$ca" ]; then
  changes_ca=yes
elif [ -f "$ca_before" ]; then
  changes_ca=yes
  ca=$(cat "$ca_before")
fi

# The process that deploys packages locks a file. The other one keeps the file `suspend`.
is_busy() {
  lock=$old_folder/download/lock
  [ ! -e "$old_folder/download/suspend" ] || return 0
  [ -e "$lock" ] && perl -e '
    use Fcntl ":flock";
    open(my $lock, "<", $ARGV[0]) or exit 1;
    exit(flock($lock, LOCK_EX | LOCK_NB) ? 1 : 0)' "$lock"
}

if is_busy && [ "${1:-}" != --wait ]; then
  (umask 077 && cp "$0" "$state/move-agent.sh")
  chmod 700 "$state/move-agent.sh"
  # Systemd would end a process of the agent's unit together with the agent.
  if [ -z "${OCS_AGENT_CONFIG:-}" ] && [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
    systemd-run --quiet --collect sh "$state/move-agent.sh" --wait
  else
    perl -e '
      use POSIX "setsid";
      defined(my $child = fork) or exit 1;
      exit if $child;
      setsid;
      exec @ARGV' sh "$state/move-agent.sh" --wait >/dev/null 2>&1 </dev/null
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
  [ -z "$asked_ca" ] || [ -f "$ca_before" ] || setting ca >"$ca_before"
  awk -v server="$new" -v ca="$ca" -v changes_ca="$changes_ca" '
    {
      line = tolower($0)
      is_comment = line ~ /^#/
    }
    !is_comment && line ~ /^([^=]*[^a-z0-9_=])?server[ \t]*=/ {
      if (!found++) print "server=" server
      next
    }
    changes_ca == "yes" && !is_comment && line ~ /^([^=]*[^a-z0-9_=])?ca[ \t]*=/ { next }
    { print }
    END {
      if (!found) print "server=" server
      if (ca != "") print "ca=" ca
    }' "$config" >"$next"
)
if [ "$old_folder" != "$new_folder" ]; then
  [ ! -e "$new_folder" ] || mv "$new_folder" "$new_folder.before-$(date +%Y%m%d%H%M%S)"
  trap '' HUP INT TERM
  printf %s "$old_folder" >"$moving"
  mv "$old_folder" "$new_folder"
fi
if ! mv "$next" "$config"; then
  [ "$old_folder" = "$new_folder" ] || mv "$new_folder" "$old_folder"
  rm -f "$moving" "$next"
  fail "cannot replace $config"
fi
rm -f "$moving"
# The name of the folder in it contains the token of the fleet.
case ${state##*/} in *ocsinventory*) chmod 700 "$state" ;; esac
[ -n "$asked_ca" ] || rm -f "$ca_before"
rm -f "$state/move-agent.sh"
