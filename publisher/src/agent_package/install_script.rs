//! The script that installs the agent on a device.

#[cfg(test)]
mod tests;

use packcast_protocol::state::TrustedRoots;

use super::proxy::ProxyAddress;
use crate::agent_config::ServerAddress;
use crate::shell::Shell;

/// Returns the script. `ca` is the name of a file with certificate authorities in the package.
///
/// A device with a pass has enrolled before. The script then only installs the files: it may be run by
/// the Packcast agent of the device, which makes no check-in before the script ends.
pub(super) fn install_script(
    server: &ServerAddress,
    trust: &TrustedRoots,
    ca: Option<&str>,
    proxy: Option<&ProxyAddress>,
) -> String {
    let quoted = |text: String| Shell::Posix.quoted(&text).into_owned();
    let (server, trust) = (quoted(server.to_string()), quoted(trust.to_string()));
    let (copy_ca, ca_file) = match ca {
        Some(ca) => (
            format!("install -m 600 {ca} /etc/packcast/{ca}\n"),
            format!(" \\\n  --ca-file /etc/packcast/{ca}"),
        ),
        None => (String::new(), String::new()),
    };
    let set_proxy = proxy.map_or_else(String::new, |proxy| {
        let line = quoted(format!("HTTPS_PROXY={proxy}"));
        // The proxy may contain a password.
        format!(
            "[ -e /etc/packcast/agent.env ] || (umask 077 && echo {line} >/etc/packcast/agent.env)\n"
        )
    });
    format!(
        r#"#!/bin/sh
# Installs the Packcast agent, and enrols this computer. The OCS agent runs the script as root.
set -eu
cd "$(dirname "$0")"
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

require() {{
  [ -e "$1" ] || {{
    echo "cannot install the Packcast agent: the package has no file $1" >&2
    exit 1
  }}
}}

stays() {{
  echo "version $1 of the Packcast agent stays: the package has version $2"
}}

# The package manager also installs missing dependencies. It never replaces a later version, which
# somebody else has installed.
if [ -e /etc/debian_version ]; then
  file=./$(dpkg --print-architecture).deb
  require "$file"
  packed=$(dpkg-deb --field "$file" Version)
  # The version of a removed package has another state.
  status=$(dpkg-query --show --showformat '${{db:Status-Status}} ${{Version}}' packcast-agent 2>/dev/null || true)
  installed=${{status#installed }}
  if [ "$installed" != "$status" ] && dpkg --compare-versions "$installed" ge "$packed"; then
    stays "$installed" "$packed"
  else
    # Updates of the system may be under way.
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      -o DPkg::Lock::Timeout=600 "$file"
  fi
else
  file=./$(uname -m).rpm
  require "$file"
  packed=$(rpm --query --package --queryformat '%{{VERSION}}-%{{RELEASE}}' --nosignature "$file")
  installed=$(rpm --query --queryformat '%{{VERSION}}-%{{RELEASE}}' packcast-agent) || installed=
  newest=$(printf '%s\n' "$installed" "$packed" | sort -V | tail -n 1)
  if [ "$newest" = "$installed" ]; then
    stays "$installed" "$packed"
  elif command -v dnf >/dev/null; then
    dnf install -y --nogpgcheck "$file"
  elif command -v zypper >/dev/null; then
    zypper --non-interactive install --allow-unsigned-rpm "$file"
  else
    yum install -y --nogpgcheck "$file"
  fi
fi

# A device with a pass has enrolled before.
[ ! -e /var/lib/packcast-agent/pass ] || exit 0

install -m 600 enrolment-token /etc/packcast/enrolment-token
{copy_ca}{set_proxy}packcast-agent enrol \
  --server {server} \
  --trust {trust} \
  --token-file /etc/packcast/enrolment-token{ca_file}
# The device has a pass now.
rm /etc/packcast/enrolment-token
[ ! -d /run/systemd/system ] || systemctl enable --now packcast-agent
"#
    )
}
