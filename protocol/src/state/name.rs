//! Names of the leaves of a target's trees.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use crate::device::{BASE32_LOWER, DeviceId, DeviceIdError};
use crate::group::{GroupName, GroupNameError};
use crate::location::{LocationName, LocationNameError};
use crate::text_form::text_form;

/// The name of a leaf: the kind of its document, a slash, and the owner of the document.
///
/// A name has 1 to 255 bytes. Each name has one text, so two texts never have the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeafName {
    Commit(CommitName),
    Device(DeviceId),
    Group(GroupName),
    Location(LocationName),
    Rollout(RolloutId),
}

/// The id of a rollout: 128 random bits, written as 26 lower-case characters of base32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolloutId([u8; 16]);

/// The short name of a commit: its number, and the first four bytes of its digest.
///
/// Two commits with the same number are distinguished by these bytes. The leaf of the name holds
/// the whole digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitName {
    number: u64,
    short: [u8; 4],
}

/// Text that is not the name of a leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafNameError {
    #[error(
        "{given:?} names no leaf: write commit/<number>-<8 hex digits>, device/<id>, group/<name>, location/<name> or rollout/<id>"
    )]
    Kind { given: String },
    #[error(transparent)]
    Commit(#[from] CommitNameError),
    #[error(transparent)]
    Device(#[from] DeviceIdError),
    #[error(transparent)]
    Group(#[from] GroupNameError),
    #[error(transparent)]
    Location(#[from] LocationNameError),
    #[error(transparent)]
    Rollout(#[from] RolloutIdError),
}

/// Text that is not the id of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a rollout's id: 26 letters a-z and digits 2-7")]
pub struct RolloutIdError {
    given: String,
}

/// Text that is not the short name of a commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a commit's name: a number without leading zeros, '-', and 8 lower-case hexadecimal digits"
)]
pub struct CommitNameError {
    given: String,
}

/// Returns the start of a text, for an error message of bounded length.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl RolloutId {
    /// Returns the id with these random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl CommitName {
    /// Returns the name of the commit with this number and these first bytes of its digest.
    pub const fn new(number: u64, short: [u8; 4]) -> Self {
        Self { number, short }
    }

    /// Returns the number of the commit.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns the first four bytes of the commit's digest.
    pub const fn short(&self) -> [u8; 4] {
        self.short
    }
}

impl FromStr for RolloutId {
    type Err = RolloutIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        BASE32_LOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| RolloutIdError { given: shown(text) })
    }
}

impl FromStr for CommitName {
    type Err = CommitNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (number, short) = text.split_once('-')?;
            let name = Self {
                number: number.parse().ok()?,
                short: HEXLOWER.decode(short.as_bytes()).ok()?.try_into().ok()?,
            };
            // `parse` accepts a plus sign and leading zeros.
            (name.number.to_string() == number).then_some(name)
        };
        parse().ok_or_else(|| CommitNameError { given: shown(text) })
    }
}

impl FromStr for LeafName {
    type Err = LeafNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('/') {
            Some(("commit", name)) => Self::Commit(name.parse()?),
            Some(("device", id)) => Self::Device(id.parse()?),
            Some(("group", name)) => Self::Group(name.parse()?),
            Some(("location", name)) => Self::Location(name.parse()?),
            Some(("rollout", id)) => Self::Rollout(id.parse()?),
            _ => return Err(LeafNameError::Kind { given: shown(text) }),
        })
    }
}

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_LOWER.encode(&self.0))
    }
}

impl fmt::Display for CommitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, HEXLOWER.encode(&self.short))
    }
}

impl fmt::Display for LeafName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(name) => write!(f, "commit/{name}"),
            Self::Device(id) => write!(f, "device/{id}"),
            Self::Group(name) => write!(f, "group/{name}"),
            Self::Location(name) => write!(f, "location/{name}"),
            Self::Rollout(id) => write!(f, "rollout/{id}"),
        }
    }
}

text_form!(RolloutId, "RolloutId", "^[a-z2-7]{26}$");
text_form!(
    CommitName,
    "CommitName",
    "^(0|[1-9][0-9]{0,19})-[0-9a-f]{8}$"
);
text_form!(
    LeafName,
    "LeafName",
    "^(commit|device|group|location|rollout)/.{1,246}$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    const NAMES: [&str; 7] = [
        "commit/0-00000000",
        "commit/1795327754-0a1b2c3d",
        "device/key:abcdefghijklmnopqrstuvwxya",
        "device/ocs:a/b-2026-03-04-05-06-07",
        "group/lab",
        "location/main",
        "rollout/abcdefghijklmnopqrstuvwxya",
    ];

    #[test]
    fn each_name_has_one_text() {
        for text in NAMES {
            assert_eq!(text.parse::<LeafName>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "lab",
            "group",
            "Group/lab",
            "group/",
            "group/Lab",
            "package/lab",
            "/lab",
            "commit/+1-00000000",
            "commit/01-00000000",
            "commit/1-0000000",
            "commit/1-0000000A",
            "commit/18446744073709551616-00000000",
            // The last character of an id holds two bits that must be zero.
            "rollout/abcdefghijklmnopqrstuvwxyz",
            "rollout/abcdefghijklmnopqrstuvwxy",
        ] {
            assert!(bad.parse::<LeafName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn longest_names_fit_into_a_length_byte() {
        let ocs = "x".repeat(200 - "-2026-03-04-05-06-07".len()) + "-2026-03-04-05-06-07";
        for longest in [
            format!("device/ocs:{ocs}"),
            format!("group/{}", "x".repeat(GroupName::MAX_CHARS)),
            format!("commit/{}-00000000", u64::MAX),
        ] {
            let name: LeafName = longest.parse().unwrap();
            assert!(u8::try_from(name.to_string().len()).is_ok());
        }
    }

    #[test]
    fn error_messages() {
        let errors = [
            "lab",
            "commit/7",
            "device/web01",
            "group/Lab",
            "location/Main",
            "rollout/1",
        ]
        .map(|text| text.parse::<LeafName>().unwrap_err());
        insta::assert_snapshot!(messages(errors), @r#"
        "lab" names no leaf: write commit/<number>-<8 hex digits>, device/<id>, group/<name>, location/<name> or rollout/<id>
        "7" is not a commit's name: a number without leading zeros, '-', and 8 lower-case hexadecimal digits
        "web01" names no device: write key:<agent id> or ocs:<DEVICEID>
        "Lab" is not a group's name: 1 to 48 lower-case letters, digits or any of . _ -, the first a letter or digit
        "Main" is not a location's name: 1 to 32 lower-case letters, digits and '-'
        "1" is not a rollout's id: 26 letters a-z and digits 2-7
        "#);
    }
}
