//! How an error is told in one line, to people and in reports.

use std::error::Error;

/// Writes an error and its causes, outermost first.
///
/// A wrapper that repeats its source's words adds nothing and is left out.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Told {
        words: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn causes_follow_and_nothing_is_said_twice() {
        let check = |words: &[&'static str], expected: &str| {
            let error = words
                .iter()
                .rev()
                .fold(None, |source, words| Some(Box::new(Told { words, source })));
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
