//! Names of groups of devices.

use std::fmt;
use std::str::FromStr;

use crate::text_form::text_form;

/// The name of a group: 1 to 48 lower-case letters, digits, `.`, `_` and `-`, the first a
/// letter or digit.
///
/// Names are short, because a device's record names up to 40 groups and must fit into one read
/// unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

/// Text that is not a group name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a group's name: 1 to 48 lower-case letters, digits or any of . _ -, the first a letter or digit"
)]
pub struct GroupNameError {
    given: String,
}

impl GroupName {
    /// Length of the longest name, in characters.
    pub const MAX_CHARS: usize = 48;

    const ALL: &str = "all";

    /// Returns the name of the group that every device is in.
    pub fn all() -> Self {
        Self(Self::ALL.to_owned())
    }

    /// Returns whether this is the group that every device is in.
    pub fn is_all(&self) -> bool {
        self.0 == Self::ALL
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupName {
    type Err = GroupNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = (1..=Self::MAX_CHARS).contains(&text.len())
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|b| plain(b) || b"._-".contains(&b));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(GroupNameError {
                given: text.chars().take(64).collect(),
            })
        }
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_form!(GroupName, "GroupName", "^[a-z0-9][a-z0-9._-]{0,47}$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_names_are_short_and_lower_case() {
        let longest = "x".repeat(GroupName::MAX_CHARS);
        for good in ["lab", "all", "site-1.floor_2", "0", &longest] {
            assert_eq!(good.parse::<GroupName>().unwrap().to_string(), good);
        }
        let too_long = "x".repeat(GroupName::MAX_CHARS + 1);
        for bad in ["", "Lab", "-x", ".x", "a b", "a#b", "a/b", "ä", &too_long] {
            assert!(bad.parse::<GroupName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!("Lab".parse::<GroupName>().unwrap_err(), @r#""Lab" is not a group's name: 1 to 48 lower-case letters, digits or any of . _ -, the first a letter or digit"#);
    }
}
