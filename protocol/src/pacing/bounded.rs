//! Numbers with a lower and an upper limit.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A whole number from 1 to `MOST`. The name of the field or type gives its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct UpTo<const MOST: u16>(NonZeroU16);

/// Error for a text that is not a number, or a number that is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number from 1 to {most}")]
pub struct UpToError {
    pub most: u16,
}

impl<const MOST: u16> UpTo<MOST> {
    pub const MOST: u16 = MOST;

    /// Returns `None` if the number is out of bounds.
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) if number.get() <= MOST => Some(Self(number)),
            _ => None,
        }
    }

    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl<const MOST: u16> TryFrom<u16> for UpTo<MOST> {
    type Error = UpToError;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        Self::new(number).ok_or(UpToError { most: MOST })
    }
}

impl<const MOST: u16> FromStr for UpTo<MOST> {
    type Err = UpToError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok();
        number.and_then(Self::new).ok_or(UpToError { most: MOST })
    }
}

impl<const MOST: u16> From<UpTo<MOST>> for u16 {
    fn from(number: UpTo<MOST>) -> Self {
        number.get()
    }
}

impl<const MOST: u16> From<UpTo<MOST>> for NonZeroU16 {
    fn from(number: UpTo<MOST>) -> Self {
        number.0
    }
}

impl<const MOST: u16> fmt::Display for UpTo<MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MOST: u16> JsonSchema for UpTo<MOST> {
    fn schema_name() -> Cow<'static, str> {
        format!("UpTo{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_message() {
        insta::assert_snapshot!(UpToError { most: 168 }, @"expected a whole number from 1 to 168");
    }

    #[test]
    fn both_limits_are_included() {
        for good in ["1", "168"] {
            let number: UpTo<168> = good.parse().unwrap();
            assert_eq!(number.to_string(), good);
        }
        for bad in ["0", "169", "65536", "-1", "", "1.5", "1s", "one"] {
            assert_eq!(
                bad.parse::<UpTo<168>>(),
                Err(UpToError { most: 168 }),
                "{bad:?}"
            );
        }
    }
}
