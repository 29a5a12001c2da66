//! Words that every interface writes in the same way.

use jiff::Timestamp;
use packcast_protocol::{Outcome, UnixTime};
use packcast_rollout::FinishedTask;

/// Writes a time as people in every time zone read it, such as `2026-11-22 21:55:00 UTC`.
pub fn time(at: UnixTime) -> String {
    i64::try_from(at.0)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(
            || at.to_string(),
            |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
}

/// Writes the outcome of a deployment. A program that ran and failed is not a success, whatever
/// its agent reports.
pub fn outcome(task: &FinishedTask) -> String {
    let outcome = match task.outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
    };
    let code = &task.code;
    match (code.meaning(), &task.detail) {
        (Some(meaning), _) if code.exit_code().is_some() => format!("{outcome}: {meaning}"),
        (_, Some(detail)) => format!("{outcome}: {code} ({detail})"),
        (Some(meaning), None) => format!("{outcome}: {code}, {meaning}"),
        (None, None) => format!("{outcome}: {code}"),
    }
}

/// Replaces characters of a device's text that control a terminal, have no shape, or turn the
/// direction of the text after them.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if (c.is_control() && c != '\t') || is_invisible(c) {
                '\u{FFFD}'
            } else {
                c
            }
        })
        .collect()
}

/// Tells whether a character has no shape of its own, or turns the direction of those after it.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}
