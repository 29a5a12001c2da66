//! The report: how a deployment went.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::package::PackageId;
use crate::result::ResultCode;
use crate::time::UnixTime;

/// How much of a program's output a report carries, in bytes: its end.
pub const TAIL_BYTES: usize = 4096;

/// What a device posts to `/v1/report`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportRequest {
    /// What the function gave this device at enrolment.
    pub pass: super::Secret,
    /// What became of each attempt, at most 64 of them.
    #[schemars(length(max = super::MAX_REPORTS))]
    pub results: Vec<Report>,
}

/// What a device is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportReply {
    /// The packages whose results need not be sent again.
    pub accepted: Vec<PackageId>,
}

/// The result of one attempt at one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    pub id: PackageId,
    /// The attempt of the task that this is the result of.
    pub attempt: u32,
    pub code: ResultCode,
    /// What the code cannot say, in words: which fragment, which path, which signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Text<1024>>,
    /// The end of the program's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tail: Option<Text<TAIL_BYTES>>,
    /// When the device was done, by its own clock.
    pub finished: UnixTime,
}

/// Text of at most `MAX` bytes; longer text is cut to its end when made, refused when read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Keeps the last `MAX` bytes of `text`, from the start of a character on.
    pub fn tail(text: &str) -> Self {
        let start = text.ceil_char_boundary(text.len().saturating_sub(MAX));
        Self(text[start..].to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() <= MAX {
            Ok(Self(text))
        } else {
            Err(format!(
                "text of {} bytes, at most {MAX} are allowed",
                text.len()
            ))
        }
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> JsonSchema for Text<MAX> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Text{MAX}").into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": format!("At most {MAX} bytes of UTF-8."),
            "type": "string",
            "maxLength": MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_whole_characters() {
        assert_eq!(Text::<4>::tail("abcdef").as_str(), "cdef");
        assert_eq!(Text::<4>::tail("abcdé").as_str(), "cdé");
        assert_eq!(Text::<4>::tail("éééa").as_str(), "éa");
        assert!(Text::<4>::try_from("abcde".to_owned()).is_err());
    }
}
