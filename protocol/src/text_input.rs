//! Text from files, as the editors of administrators save it.

use std::io;

/// The byte order mark, with which some editors begin a file in UTF-8.
const MARK: char = '\u{FEFF}';

/// Errors in a text that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextInputError {
    #[error("the text is UTF-16: save it as UTF-8")]
    Utf16,
    #[error("line {line} is not UTF-8: save the text as UTF-8")]
    NotUtf8 { line: usize },
}

impl From<TextInputError> for io::Error {
    fn from(error: TextInputError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Returns a text without its byte order mark.
pub fn decode(bytes: Vec<u8>) -> Result<String, TextInputError> {
    if is_utf16(&bytes) {
        return Err(TextInputError::Utf16);
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error
            .as_bytes()
            .iter()
            .take(error.utf8_error().valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        TextInputError::NotUtf8 { line }
    })?;
    match text.strip_prefix(MARK) {
        Some(rest) => Ok(rest.to_owned()),
        None => Ok(text),
    }
}

/// Returns a text without its byte order mark.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Returns true for a byte order mark of UTF-16, or for a first character of UTF-16 that is ASCII.
const fn is_utf16(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, 1..=0x7F, ..] | [1..=0x7F, 0, ..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let read = |bytes: &[u8]| decode(bytes.to_vec());
        assert_eq!(read(b"\xEF\xBB\xBFweb01\n"), Ok("web01\n".to_owned()));
        assert_eq!(read("Größe".as_bytes()), Ok("Größe".to_owned()));
        assert_eq!(read(b""), Ok(String::new()));
        assert_eq!(without_mark("\u{FEFF}key"), "key");
        assert_eq!(without_mark("key"), "key");
    }

    #[test]
    fn utf_16_is_named() {
        let text: Vec<u16> = "web01\n".encode_utf16().collect();
        let little: Vec<u8> = text.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = text.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let marked = |mark: [u8; 2], text: &[u8]| [&mark[..], text].concat();
        for bytes in [
            marked([0xFF, 0xFE], &little),
            marked([0xFE, 0xFF], &big),
            little,
            big,
        ] {
            assert_eq!(decode(bytes), Err(TextInputError::Utf16));
        }
    }

    #[test]
    fn error_messages() {
        let latin = decode(b"web01\ngr\xFCn\n".to_vec()).unwrap_err();
        insta::assert_snapshot!(messages([TextInputError::Utf16, latin]), @"
        the text is UTF-16: save it as UTF-8
        line 2 is not UTF-8: save the text as UTF-8
        ");
        assert_eq!(io::Error::from(latin).kind(), io::ErrorKind::InvalidData);
    }
}
