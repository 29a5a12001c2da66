//! Priorities: the order in which a device deploys its packages.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A priority from 0, which is deployed first, to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

/// A number that is not a priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("priority {given:?} is not a whole number from 0 (first) to 10 (last)")]
pub struct PriorityError {
    given: String,
}

impl Priority {
    /// Priority of a package whose publisher sets none.
    pub const DEFAULT: Self = Self(5);
    /// The priority that is deployed first.
    pub const HIGHEST: Self = Self(0);

    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Priority {
    type Error = PriorityError;

    fn try_from(level: u8) -> Result<Self, Self::Error> {
        if level <= 10 {
            Ok(Self(level))
        } else {
            Err(PriorityError {
                given: level.to_string(),
            })
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl FromStr for Priority {
    type Err = PriorityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PriorityError {
            given: text.chars().take(32).collect(),
        };
        // The number parser accepts a plus sign, so the digits are checked first.
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        text.parse::<u8>()
            .map_err(|_| error())?
            .try_into()
            .map_err(|_| error())
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Priority {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Priority".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": 0, "maximum": 10 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_0_to_10() {
        for level in 0..=10 {
            assert_eq!(
                level.to_string().parse::<Priority>(),
                Priority::try_from(level)
            );
        }
        for bad in ["11", "255", "256", "-1", "", " 5", "5.0", "+5", "five"] {
            assert!(bad.parse::<Priority>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!("11".parse::<Priority>().unwrap_err(), @r#"priority "11" is not a whole number from 0 (first) to 10 (last)"#);
    }
}
