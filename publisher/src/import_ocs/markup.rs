//! Markup of an OCS server: attributes that may not be well-formed, and texts in other encodings.

use std::borrow::Cow;

/// The characters of the bytes 0x80 to 0x9F in Windows-1252. Five bytes have no character.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

/// Errors from reading attributes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    #[error("cannot read info: expected an element with attributes")]
    NoElement,
    #[error("cannot read info: expected NAME=\"value\" after attribute {after}")]
    Malformed { after: String },
}

/// Returns a text in UTF-8, or otherwise in Windows-1252, which contains Latin-1. True if the text
/// was not in UTF-8.
pub(super) fn text_of(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.into(), false);
    }
    let character = |byte: &u8| match byte {
        0x80..=0x9F => WINDOWS_1252[usize::from(byte - 0x80)],
        byte => char::from(*byte),
    };
    let text: String = bytes.iter().map(character).collect();
    (text.into(), true)
}

/// The attributes of the first element of a document.
pub(super) struct Attributes {
    values: Vec<(String, String)>,
    pub(super) repairs: Vec<String>,
}

impl Attributes {
    pub(super) fn read(text: &str) -> Result<Self, AttributesError> {
        let mut rest = element(text).ok_or(AttributesError::NoElement)?;
        let (mut values, mut repairs) = (Vec::new(), Vec::new());
        let mut after = String::from("(none)");
        loop {
            rest = rest.trim_start();
            if rest.starts_with('>') || rest.starts_with("/>") {
                return Ok(Self { values, repairs });
            }
            let (name, value, remaining) = attribute(rest).ok_or(AttributesError::Malformed {
                after: after.clone(),
            })?;
            let (value, repaired) = decoded(value);
            if let Some(repaired) = repaired {
                repairs.push(format!("{name}: {repaired}"));
            }
            name.clone_into(&mut after);
            values.push((name.to_owned(), value));
            rest = remaining;
        }
    }

    /// Returns the value of an attribute. `None` if the attribute is absent or empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let mut values = self.values.iter();
        let (_, value) = values.find(|(key, _)| key == name)?;
        (!value.trim().is_empty()).then(|| value.clone())
    }

    /// Returns the value of an attribute that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.values.iter();
        let found = values.find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }
}

/// Returns the text after the name of the first element.
fn element(text: &str) -> Option<&str> {
    let mut rest = text.trim_start_matches('\u{FEFF}').trim_start();
    if rest.starts_with("<?") {
        rest = rest.split_once("?>")?.1.trim_start();
    }
    let rest = rest.strip_prefix('<')?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    (end > 0).then(|| &rest[end..])
}

/// Splits an attribute off: its name, its raw value, and the text after it.
fn attribute(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim_end();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let rest = rest.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (value, rest) = rest[1..].split_once(quote)?;
    let is_end = |c: char| c.is_whitespace() || c == '/' || c == '>';
    rest.starts_with(is_end).then_some((name, value, rest))
}

/// Decodes a value as an XML parser does, and keeps characters that must be escaped but are not.
/// Returns the repair in words.
pub(super) fn decoded(raw: &str) -> (String, Option<&'static str>) {
    let (mut value, mut rest) = (String::with_capacity(raw.len()), raw);
    let (mut ampersand, mut bracket) = (false, false);
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '&' => {
                if let Some((decoded, used)) = reference(rest) {
                    value.push(decoded);
                    length = used;
                } else {
                    ampersand = true;
                    value.push('&');
                }
            }
            // An XML parser reads line breaks in attributes as spaces.
            '\n' | '\r' | '\t' => value.push(' '),
            c => {
                bracket |= c == '<';
                value.push(c);
            }
        }
        rest = &rest[length..];
    }
    let repair = match (ampersand, bracket) {
        (false, false) => None,
        (true, false) => Some("'&' was not escaped"),
        (false, true) => Some("'<' was not escaped"),
        (true, true) => Some("'&' and '<' were not escaped"),
    };
    (value, repair)
}

/// Returns the character of a reference such as `&amp;` at the start of a text, and its length.
fn reference(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(12).position(|byte| byte == b';')?;
    let name = &text[1..end];
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_not_utf_8_are_windows_1252() {
        assert_eq!(text_of("é €".as_bytes()), ("é €".into(), false));
        assert_eq!(text_of(b"caf\xE9 \x80"), ("café €".into(), true));
    }
}
