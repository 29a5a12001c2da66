//! Names of the leaves of a target's trees.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use crate::device::{BASE32_LOWER, DeviceId};
use crate::group::GroupName;
use crate::location::LocationName;
use crate::terminal::controls_terminal;
use crate::text_form::text_form;

use super::number::MAX_NUMBER;

/// Largest text of a name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// The name of a leaf: the kind of its document, a slash, and the owner of the document.
///
/// Each name has one text, so two texts never have the same key. A text that this version does not
/// know is a name, too: a path can end in the leaf of a later version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeafName {
    Commit(CommitName),
    Device(DeviceId),
    Group(GroupName),
    Location(LocationName),
    Rollout(RolloutId),
    /// A name of a later version. A reader shows the leaf, and never asks for it.
    Other(OtherName),
}

/// Text that names no leaf of this version: 1 to 255 bytes of UTF-8 without characters that control
/// a terminal or the direction of writing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherName(String);

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
    #[error("the name of a leaf has 1 to {MAX_NAME_BYTES} bytes, not {bytes}")]
    Length { bytes: usize },
    #[error("the name {given:?} has the control character {character:?}")]
    Control { given: String, character: char },
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
            (name.number <= MAX_NUMBER && name.number.to_string() == number).then_some(name)
        };
        parse().ok_or_else(|| CommitNameError { given: shown(text) })
    }
}

impl FromStr for LeafName {
    type Err = LeafNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.len();
        if !(1..=MAX_NAME_BYTES).contains(&bytes) {
            return Err(LeafNameError::Length { bytes });
        }
        if let Some(character) = text.chars().find(|c| controls_terminal(*c)) {
            let given = shown(text);
            return Err(LeafNameError::Control { given, character });
        }
        let known = text
            .split_once('/')
            .and_then(|(kind, owner)| Self::of_kind(kind, owner));
        // A known name has one spelling. Any other text has another key, so it is another name.
        let known = known.filter(|name| name.to_string() == text);
        Ok(known.unwrap_or_else(|| Self::Other(OtherName(text.to_owned()))))
    }
}

impl LeafName {
    /// Returns the name of this kind and owner; `None` if this version does not know it.
    fn of_kind(kind: &str, owner: &str) -> Option<Self> {
        match kind {
            "commit" => owner.parse().ok().map(Self::Commit),
            "device" => owner.parse().ok().map(Self::Device),
            "group" => owner.parse().ok().map(Self::Group),
            "location" => owner.parse().ok().map(Self::Location),
            "rollout" => owner.parse().ok().map(Self::Rollout),
            _ => None,
        }
    }
}

impl OtherName {
    pub fn as_str(&self) -> &str {
        &self.0
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
            Self::Other(name) => f.write_str(&name.0),
        }
    }
}

text_form!(RolloutId, "RolloutId", "^[a-z2-7]{26}$");
text_form!(
    CommitName,
    "CommitName",
    "^(0|[1-9][0-9]{0,12})-[0-9a-f]{8}$"
);
text_form!(LeafName, "LeafName", "^.{1,255}$");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    fn name(text: &str) -> LeafName {
        text.parse().unwrap()
    }

    #[test]
    fn each_name_has_one_text() {
        for text in NAMES {
            assert_eq!(name(text).to_string(), text);
            assert!(!matches!(name(text), LeafName::Other(_)), "{text}");
        }
    }

    #[test]
    fn texts_that_this_version_does_not_know_are_names_too() {
        for other in [
            "lab",
            "group",
            "Group/lab",
            "group/",
            "group/Lab",
            "package/lab",
            "window/nightly",
            "/lab",
            "é",
            "commit/+1-00000000",
            "commit/01-00000000",
            "commit/1-0000000",
            "commit/1-0000000A",
            "commit/1099511627777-00000000",
            "location/main ",
            // The last character of an id holds two bits that must be zero.
            "rollout/abcdefghijklmnopqrstuvwxyz",
            "rollout/abcdefghijklmnopqrstuvwxy",
        ] {
            let name = name(other);
            assert_eq!(name.to_string(), other);
            assert!(
                matches!(&name, LeafName::Other(text) if text.as_str() == other),
                "{name:?}"
            );
        }
        let longest = "x".repeat(MAX_NAME_BYTES);
        assert_eq!(name(&longest).to_string(), longest);
    }

    #[test]
    fn longest_names_fit_into_a_length_byte() {
        let ocs = "x".repeat(200 - "-2026-03-04-05-06-07".len()) + "-2026-03-04-05-06-07";
        for longest in [
            format!("device/ocs:{ocs}"),
            format!("group/{}", "x".repeat(GroupName::MAX_CHARS)),
            format!("commit/{MAX_NUMBER}-00000000"),
        ] {
            let name: LeafName = longest.parse().unwrap();
            assert!(!matches!(name, LeafName::Other(_)), "{name}");
        }
    }

    #[test]
    fn error_messages() {
        let errors = ["", &"x".repeat(256), "group/\u{1b}[2J", "a\u{202e}"];
        let errors = errors.map(|text| text.parse::<LeafName>().unwrap_err());
        insta::assert_snapshot!(messages(errors), @r#"
        the name of a leaf has 1 to 255 bytes, not 0
        the name of a leaf has 1 to 255 bytes, not 256
        the name "group/\u{1b}[2J" has the control character '\u{1b}'
        the name "a\u{202e}" has the control character '\u{202e}'
        "#);
        insta::assert_snapshot!("7".parse::<CommitName>().unwrap_err(), @r#""7" is not a commit's name: a number without leading zeros, '-', and 8 lower-case hexadecimal digits"#);
        insta::assert_snapshot!("1".parse::<RolloutId>().unwrap_err(), @r#""1" is not a rollout's id: 26 letters a-z and digits 2-7"#);
    }

    proptest! {
        #[test]
        fn every_device_of_an_ocs_agent_has_a_name_that_reads_back(host in ".{1,40}") {
            if let Ok(id) = format!("ocs:{host}-2026-03-04-05-06-07").parse() {
                let device = LeafName::Device(id);
                prop_assert_eq!(device.to_string().parse(), Ok(device));
            }
        }

        /// Holds for every text without control characters, also for almost known names.
        #[test]
        fn a_text_is_one_name(text in "((commit|device|group|location|rollout)/)?[^\\p{C}\u{2028}\u{2029}]{1,60}") {
            prop_assert_eq!(name(&text).to_string(), text);
        }

        #[test]
        fn parsing_never_panics(text: String) {
            if let Ok(name) = text.parse::<LeafName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
