//! Short texts that are safe to print on a terminal.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::terminal::controls_terminal;

/// Text of at most `MAX` bytes without control characters, so that it is safe to print.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlainText<const MAX: usize>(String);

/// Errors in a short text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlainTextError {
    #[error("text has {bytes} bytes, at most {max} are allowed")]
    TooLong { bytes: usize, max: usize },
    #[error("text has the control character {character:?}")]
    Control { character: char },
}

impl<const MAX: usize> PlainText<MAX> {
    /// Creates a text from the first `MAX` bytes, up to the end of a character. Spaces take the
    /// place of control characters.
    pub fn shortened(text: &str) -> Self {
        let printable = |c| if controls_terminal(c) { ' ' } else { c };
        let text: String = text.chars().map(printable).collect();
        Self(text[..text.floor_char_boundary(MAX)].to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for PlainText<MAX> {
    type Error = PlainTextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = text.len();
        if bytes > MAX {
            return Err(PlainTextError::TooLong { bytes, max: MAX });
        }
        match text.chars().find(|c| controls_terminal(*c)) {
            Some(character) => Err(PlainTextError::Control { character }),
            None => Ok(Self(text)),
        }
    }
}

impl<const MAX: usize> From<PlainText<MAX>> for String {
    fn from(text: PlainText<MAX>) -> Self {
        text.0
    }
}

impl<const MAX: usize> fmt::Display for PlainText<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> JsonSchema for PlainText<MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("PlainText{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": format!("At most {MAX} bytes of UTF-8 without control characters."),
            "type": "string",
            "maxLength": MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    #[test]
    fn a_shortened_text_keeps_whole_characters_and_no_control_characters() {
        let short = |text: &str| PlainText::<4>::shortened(text).as_str().to_owned();
        assert_eq!(short("abcdef"), "abcd");
        assert_eq!(short("abcé"), "abc");
        assert_eq!(short("a\n\u{1b}["), "a  [");
        assert_eq!(short("\u{202e}abcd"), " abc");
        for text in ["a\tb", "\u{2066}x", "\u{85}"] {
            let read = PlainText::<4>::try_from(short(text));
            assert_eq!(read, Ok(PlainText::shortened(text)));
            assert!(
                PlainText::<9>::try_from(text.to_owned()).is_err(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn error_messages() {
        let error = |text: &str| PlainText::<4>::try_from(text.to_owned()).unwrap_err();
        insta::assert_snapshot!(messages([error("abcde"), error("a\u{1b}")]), @r"
        text has 5 bytes, at most 4 are allowed
        text has the control character '\u{1b}'
        ");
    }
}
