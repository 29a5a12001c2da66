//! Names of a package: its id, its name and version, and references as administrators type
//! them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::text_form::text_form;
use crate::time::UnixTime;

/// The id of a package: ten decimal digits, the Unix time of its reservation.
///
/// The width is fixed, because Windows agents search their history for ids as substrings. The
/// ids have 31 bits, because OCS servers store them in an `INT(11)` (protocol reference §0 rule
/// 9).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId(u32);

/// Text or a number that is not a package id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a package id: ten digits from 1000000000 to 2147483647")]
pub struct PackageIdError {
    given: String,
}

impl PackageId {
    const RANGE: RangeInclusive<u32> = 1_000_000_000..=0x7FFF_FFFF;

    /// Returns the id that a reservation at `now` tries first.
    ///
    /// # Errors
    /// A time before 2001 or after 2038 gives no id.
    pub fn at(now: UnixTime) -> Result<Self, PackageIdError> {
        u32::try_from(now.0)
            .map_err(|_| PackageIdError {
                given: now.to_string(),
            })
            .and_then(Self::try_from)
    }

    /// Returns the id to try if this id is taken; `None` after the last id.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::try_from(self.0 + 1).ok()
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for PackageId {
    type Error = PackageIdError;

    fn try_from(id: u32) -> Result<Self, Self::Error> {
        if Self::RANGE.contains(&id) {
            Ok(Self(id))
        } else {
            Err(PackageIdError {
                given: id.to_string(),
            })
        }
    }
}

impl FromStr for PackageId {
    type Err = PackageIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The number parser accepts a plus sign, so the digits are checked first.
        let digits = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit());
        digits
            .then(|| text.parse::<u32>().ok())
            .flatten()
            .and_then(|id| Self::try_from(id).ok())
            .ok_or_else(|| PackageIdError {
                given: text.chars().take(64).collect(),
            })
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackageId({self})")
    }
}

text_form!(PackageId, "PackageId", "^[12][0-9]{9}$");

/// The name of a package: 1 to 64 ASCII letters, digits, `.`, `_`, `+` and `-`, the first a
/// letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(String);

/// The version of a package: 1 to 64 ASCII letters, digits, `.`, `_`, `+`, `-`, `~` and `:`,
/// the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageVersion(String);

/// Text that is not a package name or version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a package {kind}: 1 to 64 letters, digits or any of {signs}, the first a letter or digit"
)]
pub struct PackageNameError {
    kind: &'static str,
    signs: &'static str,
    given: String,
}

fn named(kind: &'static str, signs: &'static str, text: &str) -> Result<String, PackageNameError> {
    let first = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || signs.contains(c));
    if first && rest && text.len() <= 64 {
        Ok(text.to_owned())
    } else {
        Err(PackageNameError {
            kind,
            signs,
            given: text.chars().take(80).collect(),
        })
    }
}

impl FromStr for PackageName {
    type Err = PackageNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        named("name", "._+-", text).map(Self)
    }
}

impl FromStr for PackageVersion {
    type Err = PackageNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        named("version", "._+-~:", text).map(Self)
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_form!(
    PackageName,
    "PackageName",
    "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
);
text_form!(
    PackageVersion,
    "PackageVersion",
    "^[A-Za-z0-9][A-Za-z0-9._+~:-]{0,63}$"
);

/// A package as administrators name it: by id, as `name@version`, or by a name with one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageRef {
    Id(PackageId),
    Named(PackageName, PackageVersion),
    /// The only version of this name.
    Name(PackageName),
}

/// Text that does not name a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageRefError {
    #[error("{given:?} names no package: give its ten-digit id, or name@version")]
    Neither { given: String },
    #[error(transparent)]
    Name(#[from] PackageNameError),
}

impl FromStr for PackageRef {
    type Err = PackageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((name, version)) = text.split_once('@') {
            return Ok(Self::Named(name.parse()?, version.parse()?));
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        text.parse()
            .map(Self::Name)
            .map_err(|_| PackageRefError::Neither {
                given: text.chars().take(80).collect(),
            })
    }
}

impl fmt::Display for PackageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Named(name, version) => write!(f, "{name}@{version}"),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    /// Traps of OCS agents (protocol reference) and the tests that guard against them.
    const _: &[(&str, fn())] = &[(
        "§0.9, §8.13: Unix agents know digits only, Windows agents look for parts of ids",
        ids_are_ten_digits_within_31_bits,
    )];

    #[test]
    fn ids_are_ten_digits_within_31_bits() {
        for good in ["1000000000", "1795327754", "2147483647"] {
            assert_eq!(good.parse::<PackageId>().unwrap().to_string(), good);
        }
        for bad in [
            "999999999",
            "0999999999",
            "2147483648",
            "9999999999",
            "+100000000",
            "17953277 4",
            "",
        ] {
            assert!(bad.parse::<PackageId>().is_err(), "{bad:?}");
        }
        assert_eq!("2147483647".parse::<PackageId>().unwrap().next(), None);
        assert!(PackageId::at(UnixTime(0)).is_err());
        assert!(PackageId::at(UnixTime(1 << 40)).is_err());
    }

    #[test]
    fn a_reference_is_an_id_or_a_name_with_a_version() {
        assert!(matches!("1795327754".parse(), Ok(PackageRef::Id(_))));
        assert!(matches!("vlc@3.0.21-1".parse(), Ok(PackageRef::Named(..))));
        assert!(matches!("vlc".parse(), Ok(PackageRef::Name(_))));
        for bad in [
            "", "a b", "vlc@", "@1", "a b@1", "vlc@1@2", "../x@1", "-x@1",
        ] {
            assert!(bad.parse::<PackageRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!("1".parse::<PackageId>().unwrap_err(), @r#""1" is not a package id: ten digits from 1000000000 to 2147483647"#);
        let error = |text: &str| text.parse::<PackageRef>().unwrap_err();
        insta::assert_snapshot!(messages([error("a b"), error("-vlc@1"), error("vlc@-1")]), @r#"
        "a b" names no package: give its ten-digit id, or name@version
        "-vlc" is not a package name: 1 to 64 letters, digits or any of ._+-, the first a letter or digit
        "-1" is not a package version: 1 to 64 letters, digits or any of ._+-~:, the first a letter or digit
        "#);
    }
}
