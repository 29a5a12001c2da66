//! The script that installs the agent on a device.

use packcast_protocol::state::TrustedRoots;

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
) -> String {
    let (server, trust) = (server.to_string(), trust.to_string());
    let (server, trust) = (Shell::Posix.quoted(&server), Shell::Posix.quoted(&trust));
    let (copy_ca, ca_file) = match ca {
        Some(ca) => (
            format!("install -m 600 {ca} /etc/packcast/{ca}\n"),
            format!(" \\\n  --ca-file /etc/packcast/{ca}"),
        ),
        None => (String::new(), String::new()),
    };
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

# The package manager also installs missing dependencies.
if [ -e /etc/debian_version ]; then
  file=./$(dpkg --print-architecture).deb
  require "$file"
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$file"
else
  file=./$(uname -m).rpm
  require "$file"
  if command -v dnf >/dev/null; then
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
{copy_ca}packcast-agent enrol \
  --server {server} \
  --trust {trust} \
  --token-file /etc/packcast/enrolment-token{ca_file}
# The device has a pass now.
rm /etc/packcast/enrolment-token
[ ! -d /run/systemd/system ] || systemctl enable --now packcast-agent
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_installs_enrols_and_starts_the_agent() {
        let server = "https://packcast.example.net".parse().unwrap();
        let key = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8";
        let trust = format!("a4dqobyha4dqobyha4dqobyha4:{key}").parse().unwrap();
        let script = install_script(&server, &trust, Some("ca.pem"));
        let (_, enrols) = script.split_once("|| exit 0\n\n").unwrap();
        insta::assert_snapshot!(enrols, @r#"
        install -m 600 enrolment-token /etc/packcast/enrolment-token
        install -m 600 ca.pem /etc/packcast/ca.pem
        packcast-agent enrol \
          --server https://packcast.example.net \
          --trust a4dqobyha4dqobyha4dqobyha4:RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8 \
          --token-file /etc/packcast/enrolment-token \
          --ca-file /etc/packcast/ca.pem
        # The device has a pass now.
        rm /etc/packcast/enrolment-token
        [ ! -d /run/systemd/system ] || systemctl enable --now packcast-agent
        "#);
        let without = install_script(&server, &trust, None);
        assert!(!without.contains("ca.pem"), "{without}");
    }
}
