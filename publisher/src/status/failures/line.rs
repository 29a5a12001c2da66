//! The line of a result that tells the cause, with placeholders for the parts that differ from
//! device to device.

use std::borrow::Cow;
use std::sync::LazyLock;

use packcast_protocol::Excerpt;
use packcast_rollout::FinishedTask;
use regex_lite::{Captures, Regex};

/// The maximum length of a line in bytes.
const MAX_BYTES: usize = 200;

/// The parts that differ, with their placeholders, in the order of the replacements.
static PLACEHOLDERS: LazyLock<[(Regex, &str); 5]> = LazyLock::new(|| {
    let pattern = |pattern| Regex::new(pattern).expect("a valid pattern");
    [
        (pattern(r"\b[a-z][a-z0-9+.-]*://[^\s\x22']+"), "<url>"),
        (
            pattern(
                r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?",
            ),
            "<time>",
        ),
        (pattern(r"\b\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?\b"), "<time>"),
        (pattern(r"(?:\b[A-Za-z]:\\|\\\\)[^\s\x22'<>|,;]*"), "<path>"),
        (
            pattern(r"(^|[\s\x22'(\[=:])~?(?:/[\w.@%+-]*\w)+/?"),
            "$1<path>",
        ),
    ]
});

/// A number, also in hexadecimal digits, and an identifier of such numbers.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"\b(?:0[xX])?[0-9A-Fa-f]{4,}(?:-[0-9A-Fa-f]{4,})*\b|\d+";
    Regex::new(pattern).expect("a valid pattern")
});

/// Returns the last line of the output that is not empty, or else the reason that the agent gives.
pub(crate) fn last_line(result: &FinishedTask) -> Option<&str> {
    let tail = result.output_tail.as_deref().unwrap_or_default();
    let mut lines = tail.lines().rev().map(str::trim);
    lines
        .find(|line| !line.is_empty())
        .or(result.detail.as_deref())
}

/// Replaces addresses, times, paths and numbers by placeholders. A long line is cut.
pub(super) fn normalised(line: &str) -> String {
    let line = Excerpt::within(line, MAX_BYTES).to_string();
    let replaced = PLACEHOLDERS.iter().fold(line, |line, (pattern, name)| {
        pattern.replace_all(&line, *name).into_owned()
    });
    // A word such as "deface" has hexadecimal digits only, but is not a number.
    let number = |found: &Captures<'_>| {
        let text = found.get(0).map_or("", |found| found.as_str());
        if text.contains(|c: char| c.is_ascii_digit()) {
            "<n>".to_owned()
        } else {
            text.to_owned()
        }
    };
    match NUMBER.replace_all(&replaced, number) {
        Cow::Borrowed(_) => replaced,
        Cow::Owned(replaced) => replaced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_differ_are_replaced() {
        let lines = [
            "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (apt)",
            "2026-11-20T10:11:12.345Z error 0x80070005: access denied",
            "[10:11:12] cannot write C:\\Users\\ada\\setup.log",
            "curl: (6) cannot resolve https://mirror.example.net/pool/a.deb",
            "request 6f9619ff-8b86-d011-b42d-00c04fc964ff failed",
            "commit 3f2a9c1d0e: deface the facade",
            "and/or, n/a",
            "disk full",
        ];
        insta::assert_snapshot!(lines.map(normalised).join("\n"), @"
        E: Could not get lock <path>. It is held by process <n> (apt)
        <time> error <n>: access denied
        [<time>] cannot write <path>
        curl: (<n>) cannot resolve <url>
        request <n> failed
        commit <n>: deface the facade
        and/or, n/a
        disk full
        ");
    }

    #[test]
    fn a_long_line_is_cut() {
        assert!(normalised(&"word ".repeat(1_000)).len() <= MAX_BYTES + 3);
    }
}
