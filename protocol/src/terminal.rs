//! Text from outside, made harmless to a terminal and to a log.
//!
//! A server, a device or an archive could otherwise move the cursor of a terminal, change its title,
//! or forge a line of the log.

use std::fmt::Write as _;

/// Returns whether a character controls a terminal, or the order in which text is shown.
pub(crate) fn controls_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns true for a character that controls a terminal, turns the direction of text, or has no
/// shape.
fn is_hidden(c: char) -> bool {
    controls_terminal(c)
        || matches!(c,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// Escapes the control characters of a text, also its line ends and tabs.
pub fn line(text: &str) -> String {
    escape(text, |_| false, |_| None)
}

/// Escapes the control characters of a text, but keeps its line ends and tabs.
pub fn lines(text: &str) -> String {
    escape(text, is_blank, |_| None)
}

/// Escapes the control characters of a text, but keeps line ends, tabs and these colours.
pub fn coloured_lines(text: &str, colours: &[&str]) -> String {
    let colour = |rest: &str| {
        let mut all = colours.iter();
        all.find(|colour| rest.starts_with(**colour))
            .map(|colour| colour.len())
    };
    escape(text, is_blank, colour)
}

/// Escapes the control characters of an event of a log, except for the line end after it, and for
/// colours and styles.
///
/// The log has escaped the beginnings of colours in names and values.
pub fn log_event(text: &str) -> String {
    let (event, end) = match text.strip_suffix('\n') {
        Some(event) => (event, "\n"),
        None => (text, ""),
    };
    escape(event, |c| c == '\t', style) + end
}

/// Escapes control characters in a JSON document, as JSON does it.
///
/// A JSON document has other control characters than line ends in its strings only.
pub fn json(document: &str) -> String {
    let mut escaped = String::with_capacity(document.len());
    for c in document.chars() {
        if is_hidden(c) && !is_blank(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

const fn is_blank(c: char) -> bool {
    matches!(c, '\n' | '\t')
}

/// Returns the length of the colour or style that a text begins with, such as `\u{1b}[1;31m`.
fn style(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\u{1b}[")?;
    let is_number = |c: char| c.is_ascii_digit() || c == ';';
    let end = rest.find(|c| !is_number(c))?;
    rest[end..].starts_with('m').then_some(2 + end + 1)
}

/// Escapes hidden characters, except for characters to keep and for colours, of which `colour`
/// returns the length.
fn escape(
    text: &str,
    keeps: impl Fn(char) -> bool,
    colour: impl Fn(&str) -> Option<usize>,
) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match colour(rest) {
            Some(length) => {
                escaped.push_str(&rest[..length]);
                length
            }
            None if is_hidden(c) && !keeps(c) => {
                escaped.extend(c.escape_default());
                c.len_utf8()
            }
            None => {
                escaped.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let check = |text: &str, expected: &str| assert_eq!(line(text), expected);
        check("caf\u{e9} \"a\\b\"", "caf\u{e9} \"a\\b\"");
        check("\u{1b}[2Ja\r\nb\tc", "\\u{1b}[2Ja\\r\\nb\\tc");
        check("pc\u{1b}]0;owned\u{7}", "pc\\u{1b}]0;owned\\u{7}");
        check("a\u{9b}b\u{7f}\0", "a\\u{9b}b\\u{7f}\\u{0}");
        check("a\u{202e}b\u{200b}c\u{ad}", "a\\u{202e}b\\u{200b}c\\u{ad}");
        assert_eq!(lines("a\n\tb\rc\u{1b}"), "a\n\tb\\rc\\u{1b}");
    }

    #[test]
    fn only_the_given_colours_are_kept() {
        let colours = ["\u{1b}[31m", "\u{1b}[39m"];
        let text = "\u{1b}[31mfailed\u{1b}[39m\n\u{1b}[8mhidden\u{1b}[2J";
        let expected = "\u{1b}[31mfailed\u{1b}[39m\n\\u{1b}[8mhidden\\u{1b}[2J";
        assert_eq!(coloured_lines(text, &colours), expected);
    }

    #[test]
    fn an_event_of_a_log_stays_one_line() {
        let event = "\u{1b}[2m12:00\u{1b}[0m \u{1b}[1;31mERROR\u{1b}[0m a\nb\u{1b}[2J\u{1b}]0;x\u{7}\u{202e}\n";
        let expected = "\u{1b}[2m12:00\u{1b}[0m \u{1b}[1;31mERROR\u{1b}[0m a\\nb\\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{202e}\n";
        assert_eq!(log_event(event), expected);
        assert_eq!(log_event("\u{1b}["), "\\u{1b}[");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "host": "pc\u{9b}2J\u{202e}\u{E0041}\u{1b}", "n": [1] });
        let document = serde_json::to_string_pretty(&value).unwrap();
        let harmless = json(&document);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&harmless).unwrap(),
            value
        );
        assert!(!harmless.chars().any(|c| is_hidden(c) && !is_blank(c)));
    }

    proptest! {
        #[test]
        fn no_hidden_character_is_left(text in "(\\PC|\\pC|\u{1b}\\[[0-9]{0,2}m){0,60}") {
            prop_assert!(!line(&text).chars().any(is_hidden));
            prop_assert!(!lines(&text).chars().any(|c| is_hidden(c) && !is_blank(c)));
        }
    }
}
