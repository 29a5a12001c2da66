//! Short printable excerpts of texts from outside, for logs and replies.

use std::fmt;

/// Largest length of an excerpt, in bytes.
pub const MAX_EXCERPT_BYTES: usize = 256;

/// Mark between the beginning and the end of a longer text.
const CUT: char = '…';

/// A text from outside in at most [`MAX_EXCERPT_BYTES`] printable bytes.
///
/// Control characters and characters without a shape are escaped as in Rust (`\u{7f}`). The
/// excerpt of a longer text has its beginning and its end, because the messages of parsers end in
/// the place of the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    /// Creates an excerpt of at most [`MAX_EXCERPT_BYTES`].
    pub fn of(text: &str) -> Self {
        Self::within(text, MAX_EXCERPT_BYTES)
    }

    /// Creates an excerpt of at most `max_bytes`, which is at least 4.
    pub fn within(text: &str, max_bytes: usize) -> Self {
        if fitting(text.chars(), max_bytes) == text.len() {
            return Self(text.chars().flat_map(escaped).collect());
        }
        let tail_bytes = max_bytes / 4;
        let head_bytes = max_bytes.saturating_sub(tail_bytes + CUT.len_utf8());
        let head = &text[..fitting(text.chars(), head_bytes)];
        let tail = &text[text.len() - fitting(text.chars().rev(), tail_bytes)..];
        let head = head.chars().flat_map(escaped);
        let tail = tail.chars().flat_map(escaped);
        Self(head.chain([CUT]).chain(tail).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the number of bytes of the first characters whose excerpt fits into `max_bytes`.
fn fitting(chars: impl Iterator<Item = char>, max_bytes: usize) -> usize {
    let (mut bytes, mut shown) = (0, 0);
    for c in chars {
        shown += escaped(c).map(char::len_utf8).sum::<usize>();
        if shown > max_bytes {
            break;
        }
        bytes += c.len_utf8();
    }
    bytes
}

/// Returns the printable form of a character. Quotes and backslashes stay, so that messages with
/// quoted values are easy to read.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let plain = matches!(c, '"' | '\'' | '\\').then_some(c);
    let escapes = plain.is_none().then(|| c.escape_debug());
    plain.into_iter().chain(escapes.into_iter().flatten())
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_printable_text_is_its_own_excerpt() {
        for text in ["", "unknown field \"größe\" at 'x\\y'", &"é".repeat(128)] {
            assert_eq!(Excerpt::of(text).as_str(), text);
        }
    }

    #[test]
    fn control_and_invisible_characters_are_escaped() {
        let text = "a\u{7F}b\0c\n\u{1B}[31m\u{202E}\u{200B}";
        insta::assert_snapshot!(Excerpt::of(text), @r"a\u{7f}b\0c\n\u{1b}[31m\u{202e}\u{200b}");
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        let text = format!(
            "invalid type: string {}, at line 1",
            "\u{7F}".repeat(500_000)
        );
        insta::assert_snapshot!(Excerpt::within(&text, 64), @r"invalid type: string \u{7f}\u{7f}\u{7f}\u{7f}…, at line 1");
        assert!(Excerpt::of(&text).as_str().len() <= MAX_EXCERPT_BYTES);
    }

    proptest! {
        #[test]
        fn an_excerpt_is_short_and_printable(text in ".{0,400}", max_bytes in 4..300_usize) {
            let excerpt = Excerpt::within(&text, max_bytes);
            prop_assert!(excerpt.as_str().len() <= max_bytes);
            prop_assert!(!excerpt.as_str().contains(char::is_control));
        }
    }
}
