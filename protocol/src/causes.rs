//! Errors with their causes in one line, for people and for reports.

use std::error::Error;

/// Returns the messages of an error and its causes, outermost first.
///
/// A message that repeats the message of its cause is written once.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

/// Returns the messages of errors with their causes, one error a line, for snapshots.
#[cfg(test)]
pub(crate) fn messages<E: Error>(errors: impl IntoIterator<Item = E>) -> String {
    let lines: Vec<String> = errors.into_iter().map(|e| with_causes(&e)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Layered {
        words: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn causes_follow_without_repetition() {
        let check = |words: &[&'static str], expected: &str| {
            let error = words.iter().rev().fold(None, |source, words| {
                Some(Box::new(Layered { words, source }))
            });
            assert_eq!(with_causes(&error.unwrap()), expected);
        };
        check(&["not fetched"], "not fetched");
        check(
            &["not fetched", "no route", "no cable"],
            "not fetched: no route: no cable",
        );
        check(
            &["not fetched", "not fetched", "no route"],
            "not fetched: no route",
        );
    }
}
