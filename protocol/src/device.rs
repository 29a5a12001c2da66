//! Device ids, in two separate namespaces: Packcast agents and OCS agents.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

use crate::digest::Sha256Digest;
use crate::terminal::controls_terminal;
use crate::text_form::text_form;

/// Lower-case base32 (RFC 4648 alphabet) without padding: safe in keys and paths, and easy to
/// spell over the phone.
pub static BASE32_LOWER: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification
        .encoding()
        .expect("32 distinct ASCII symbols are a base32 alphabet")
});

/// The id of a Packcast agent: 128 bits of the SHA-256 of its Ed25519 public key.
///
/// Only the owner of the key can sign requests with the id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(String);

/// The `DEVICEID` of an OCS agent: the host name, and the time of the agent's first run.
///
/// A `DEVICEID` is neither secret nor authenticated (protocol reference §1.7), so it has its
/// own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OcsDeviceId(String);

/// A device, written `key:<agent id>` or `ocs:<DEVICEID>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceId {
    Agent(AgentId),
    Ocs(OcsDeviceId),
}

/// Text that is not a device id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceIdError {
    #[error("{given:?} is not an agent's id: 26 letters a-z and digits 2-7")]
    Agent { given: String },
    #[error(
        "{given:?} is not an OCS DEVICEID: a host name, then -YYYY-MM-DD-HH-MM-SS, at most 200 bytes"
    )]
    Ocs { given: String },
    #[error("{given:?} names no device: write key:<agent id> or ocs:<DEVICEID>")]
    Namespace { given: String },
}

/// Returns the start of a text, for an error message of bounded length.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl AgentId {
    /// Returns the id of the agent with this Ed25519 public key.
    pub fn of_public_key(public_key: &[u8; 32]) -> Self {
        let digest = Sha256Digest::of(public_key);
        Self(BASE32_LOWER.encode(&digest.as_bytes()[..16]))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match BASE32_LOWER.decode(text.as_bytes()) {
            Ok(bytes) if bytes.len() == 16 => Ok(Self(text.to_owned())),
            _ => Err(DeviceIdError::Agent { given: shown(text) }),
        }
    }
}

impl OcsDeviceId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host name before the time.
    pub fn host_name(&self) -> &str {
        // Parsing has checked that the text ends in a time of this length.
        &self.0[..self.0.len() - STAMP.len()]
    }
}

/// Form of the text after the host name: `0` stands for any digit.
const STAMP: &[u8] = b"-0000-00-00-00-00-00";

impl FromStr for OcsDeviceId {
    type Err = DeviceIdError;

    /// Parses `^.+-\d{4}(-\d{2}){5}$`, the rule of the OCS server (protocol reference §1.7).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let stamp = text
            .len()
            .checked_sub(STAMP.len())
            .filter(|start| *start > 0);
        let fits = stamp
            .and_then(|start| text.as_bytes().get(start..))
            .is_some_and(|stamp| {
                stamp.iter().zip(STAMP).all(|(byte, shape)| match shape {
                    b'0' => byte.is_ascii_digit(),
                    sign => byte == sign,
                })
            });
        if fits && text.len() <= 200 && !text.chars().any(controls_terminal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DeviceIdError::Ocs { given: shown(text) })
        }
    }
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("key", id)) => id.parse().map(Self::Agent),
            Some(("ocs", id)) => id.parse().map(Self::Ocs),
            _ => Err(DeviceIdError::Namespace { given: shown(text) }),
        }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for OcsDeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => write!(f, "key:{id}"),
            Self::Ocs(id) => write!(f, "ocs:{id}"),
        }
    }
}

text_form!(AgentId, "AgentId", "^[a-z2-7]{26}$");
text_form!(
    DeviceId,
    "DeviceId",
    "^(key:[a-z2-7]{26}|ocs:.+-[0-9]{4}(-[0-9]{2}){5})$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    #[test]
    fn namespaces_are_separate() {
        let agent = DeviceId::Agent(AgentId::of_public_key(&[7; 32]));
        assert_eq!(agent.to_string().parse(), Ok(agent.clone()));
        let ocs: DeviceId = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        assert!(matches!(&ocs, DeviceId::Ocs(id) if id.host_name() == "web01"));
        for bad in [
            "web01-2026-03-04-05-06-07",
            "key:web01-2026-03-04-05-06-07",
            "ocs:abc",
            "x:y",
            "",
        ] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn device_ids_of_ocs_agents_follow_the_rule_of_the_ocs_server() {
        for good in [
            "a-2026-03-04-05-06-07",
            "é b-c-2026-03-04-05-06-07",
            "-1-2026-03-04-05-06-07",
        ] {
            assert!(good.parse::<OcsDeviceId>().is_ok(), "{good:?}");
        }
        for bad in [
            "-2026-03-04-05-06-07",
            "a-2026-03-04-05-06-7",
            "a-2026-03-04-05-06-07 ",
            "a\n-2026-03-04-05-06-07",
            // It would change the order in which a terminal shows the text.
            "web01\u{202e}-2026-03-04-05-06-07",
        ] {
            assert!(bad.parse::<OcsDeviceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn error_messages() {
        let error = |text: &str| text.parse::<DeviceId>().unwrap_err();
        insta::assert_snapshot!(messages([error("key:1"), error("ocs:web01"), error("web01")]), @r#"
        "1" is not an agent's id: 26 letters a-z and digits 2-7
        "web01" is not an OCS DEVICEID: a host name, then -YYYY-MM-DD-HH-MM-SS, at most 200 bytes
        "web01" names no device: write key:<agent id> or ocs:<DEVICEID>
        "#);
    }
}
