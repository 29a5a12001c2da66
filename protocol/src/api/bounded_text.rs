//! Texts of limited length in requests.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Text of at most `MAX` bytes.
///
/// [`BoundedText::tail`] cuts a longer text; deserialisation refuses it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BoundedText<const MAX: usize>(String);

impl<const MAX: usize> BoundedText<MAX> {
    /// Creates a text from the last `MAX` bytes of `text`, from the start of a character on.
    pub fn tail(text: &str) -> Self {
        let start = text.ceil_char_boundary(text.len().saturating_sub(MAX));
        Self(text[start..].to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for BoundedText<MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() <= MAX {
            Ok(Self(text))
        } else {
            Err(format!(
                "text has {} bytes, at most {MAX} are allowed",
                text.len()
            ))
        }
    }
}

impl<const MAX: usize> From<BoundedText<MAX>> for String {
    fn from(text: BoundedText<MAX>) -> Self {
        text.0
    }
}

impl<const MAX: usize> fmt::Display for BoundedText<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for BoundedText<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> JsonSchema for BoundedText<MAX> {
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
        assert_eq!(BoundedText::<4>::tail("abcdef").as_str(), "cdef");
        assert_eq!(BoundedText::<4>::tail("abcdé").as_str(), "cdé");
        assert_eq!(BoundedText::<4>::tail("éééa").as_str(), "éa");
        assert!(BoundedText::<4>::try_from("abcde".to_owned()).is_err());
    }
}
