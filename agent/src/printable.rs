//! Text from outside, made safe for a terminal and a log.

/// Escapes the control characters of a text, also its line ends.
///
/// A server could otherwise move the cursor of a terminal, or forge a line of the log.
pub(crate) fn line(text: &str) -> String {
    escape(text, is_unsafe)
}

/// Escapes the control characters of a text, but keeps its line ends.
pub(crate) fn lines(text: &str) -> String {
    escape(text, |sign| sign != '\n' && is_unsafe(sign))
}

fn escape(text: &str, which: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        if which(sign) {
            escaped.extend(sign.escape_default());
        } else {
            escaped.push(sign);
        }
    }
    escaped
}

/// Returns `true` for control characters, and for those that change the direction of text.
fn is_unsafe(sign: char) -> bool {
    sign.is_control()
        || matches!(sign, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let check = |text: &str, expected: &str| assert_eq!(line(text), expected);
        check("caf\u{e9} \"a\\b\"", "caf\u{e9} \"a\\b\"");
        check("\u{1b}[2Ja\r\nb\tc", "\\u{1b}[2Ja\\r\\nb\\tc");
        check("a\u{9b}b\u{7f}\0", "a\\u{9b}b\\u{7f}\\u{0}");
        check("a\u{202e}b", "a\\u{202e}b");
        assert_eq!(lines("a\n\rb"), "a\n\\rb");
    }
}
