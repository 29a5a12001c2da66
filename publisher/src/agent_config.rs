//! The configuration of the Packcast agents of a target.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use packcast_protocol::Location;
use packcast_protocol::state::TrustedRoots;
use serde::{Deserialize, Serialize};

/// Address of the check-in function: `https://host` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerAddress(Location);

/// Text that is not the address of a check-in function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not the address of a server: write https://host or https://host:port")]
pub struct ServerAddressError {
    given: String,
}

/// Operating system of a device. It decides on the folders of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceSystem {
    Unix,
    Windows,
}

/// File of the certificate authorities that an agent trusts instead of those of its system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceCa {
    /// The device is this machine.
    ThisMachine(PathBuf),
    /// The device needs a copy of this file.
    CopyOf(PathBuf),
}

/// The configuration of a Packcast agent, without options that have a default.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Name of the target on this machine.
    pub target: String,
    pub server: ServerAddress,
    pub trust: TrustedRoots,
    pub system: DeviceSystem,
    /// File with the enrolment token. `None` for the usual path.
    pub enrolment_token_file: Option<PathBuf>,
    pub ca: Option<DeviceCa>,
}

/// The lines of the file.
#[derive(Serialize)]
struct Lines<'a> {
    server: &'a ServerAddress,
    trust: &'a TrustedRoots,
    state_dir: &'a Path,
    enrolment_token_file: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<&'a Path>,
}

/// Paths on a device.
struct Folders {
    config: &'static str,
    state: &'static str,
    token: &'static str,
    ca: &'static str,
}

impl DeviceSystem {
    const fn folders(self) -> Folders {
        match self {
            Self::Unix => Folders {
                config: "/etc/packcast/agent.toml",
                state: "/var/lib/packcast-agent",
                token: "/etc/packcast/enrolment-token",
                ca: "/etc/packcast/ca.pem",
            },
            Self::Windows => Folders {
                config: r"C:\ProgramData\Packcast\agent.toml",
                state: r"C:\ProgramData\Packcast\state",
                token: r"C:\ProgramData\Packcast\enrolment-token",
                ca: r"C:\ProgramData\Packcast\ca.pem",
            },
        }
    }
}

impl AgentConfig {
    /// Returns the text of `agent.toml`. It has no secret.
    pub fn to_toml(&self) -> String {
        let folders = self.system.folders();
        let token = self.enrolment_token_file.as_deref();
        let lines = Lines {
            server: &self.server,
            trust: &self.trust,
            state_dir: Path::new(folders.state),
            enrolment_token_file: token.unwrap_or(Path::new(folders.token)),
            ca_file: self.ca.as_ref().map(|ca| match ca {
                DeviceCa::ThisMachine(path) => path,
                DeviceCa::CopyOf(_) => Path::new(folders.ca),
            }),
        };
        let lines = toml::to_string(&lines).expect("the fields are texts");
        let copied = match &self.ca {
            Some(DeviceCa::CopyOf(path)) => format!("# ca_file is a copy of {}\n", path.display()),
            Some(DeviceCa::ThisMachine(_)) | None => String::new(),
        };
        format!(
            "# {}: the Packcast agent of a device of target {}\n{copied}{lines}",
            folders.config, self.target
        )
    }
}

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.strip_prefix("https://");
        let address = address.map(|address| address.strip_suffix('/').unwrap_or(address));
        address
            .filter(|address| !address.contains('/'))
            .and_then(|address| address.parse().ok())
            .map(Self)
            .ok_or_else(|| ServerAddressError {
                given: text.chars().take(80).collect(),
            })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.0)
    }
}

impl TryFrom<String> for ServerAddress {
    type Error = ServerAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ServerAddress> for String {
    fn from(address: ServerAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::messages;

    fn config(system: DeviceSystem, ca: Option<DeviceCa>) -> AgentConfig {
        let key = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8";
        AgentConfig {
            target: "prod".to_owned(),
            server: "https://packcast.example.net".parse().unwrap(),
            trust: format!("a4dqobyha4dqobyha4dqobyha4:{key}").parse().unwrap(),
            system,
            enrolment_token_file: None,
            ca,
        }
    }

    #[test]
    fn a_configuration_has_all_options_without_a_default() {
        insta::assert_snapshot!(config(DeviceSystem::Unix, None).to_toml(), @r#"
        # /etc/packcast/agent.toml: the Packcast agent of a device of target prod
        server = "https://packcast.example.net"
        trust = "a4dqobyha4dqobyha4dqobyha4:RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8"
        state_dir = "/var/lib/packcast-agent"
        enrolment_token_file = "/etc/packcast/enrolment-token"
        "#);
        let ca = Some(DeviceCa::CopyOf("/home/ada/ca.pem".into()));
        insta::assert_snapshot!(config(DeviceSystem::Windows, ca).to_toml(), @r#"
        # C:\ProgramData\Packcast\agent.toml: the Packcast agent of a device of target prod
        # ca_file is a copy of /home/ada/ca.pem
        server = "https://packcast.example.net"
        trust = "a4dqobyha4dqobyha4dqobyha4:RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8"
        state_dir = 'C:\ProgramData\Packcast\state'
        enrolment_token_file = 'C:\ProgramData\Packcast\enrolment-token'
        ca_file = 'C:\ProgramData\Packcast\ca.pem'
        "#);
        let local = AgentConfig {
            enrolment_token_file: Some("/s/enrolment-token".into()),
            ..config(
                DeviceSystem::Unix,
                Some(DeviceCa::ThisMachine("/s/ca.pem".into())),
            )
        };
        insta::assert_snapshot!(local.to_toml(), @r#"
        # /etc/packcast/agent.toml: the Packcast agent of a device of target prod
        server = "https://packcast.example.net"
        trust = "a4dqobyha4dqobyha4dqobyha4:RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8"
        state_dir = "/var/lib/packcast-agent"
        enrolment_token_file = "/s/enrolment-token"
        ca_file = "/s/ca.pem"
        "#);
    }

    #[test]
    fn the_address_of_a_server_has_a_scheme_and_no_path() {
        let address = |text: &str| text.parse::<ServerAddress>();
        for good in ["https://a.example.net", "https://127.0.0.1:8443"] {
            assert_eq!(address(good).unwrap().to_string(), good);
            assert_eq!(address(&format!("{good}/")), address(good));
        }
        for bad in [
            "a.example.net",
            "http://a.example.net",
            "https://",
            "https:///",
            "https://a/b",
            "https://u:p@a",
            "https://a:0",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
        insta::assert_snapshot!(messages([address("a").unwrap_err()]), @r#""a" is not the address of a server: write https://host or https://host:port"#);
    }
}
