//! What people and scripts read: tables and JSON on standard output, everything else on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{BinaryBytes, HumanDuration};
use jiff::Timestamp;
use packcast_protocol::UnixTime;
use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts: one JSON document.
    Json,
}

/// Prints a result: as JSON, or as the text that `text` makes of it.
pub fn result<T: Serialize>(format: Format, value: &T, text: impl FnOnce(&T) -> String) {
    match format {
        Format::Text => data(&text(value)),
        Format::Json => {
            data(&serde_json::to_string_pretty(value).expect("results have string keys only"));
        }
    }
}

/// Writes a line of data. A reader that has gone away is no error.
pub fn data(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

/// Writes a line for the person watching.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Tells whether a person can be asked.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Lays out rows under a heading.
pub fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Lays out names and values, a line each.
pub fn fields<const N: usize>(fields: [(&str, String); N]) -> String {
    let width = fields
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:width$}  {}\n", printable(&value)))
        .collect()
}

/// Takes the sting out of what a device sent: a terminal obeys control characters.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{FFFD}'
            } else {
                c
            }
        })
        .collect()
}

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

/// Writes a number of bytes in binary units.
pub fn bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// Writes a length of time in the largest unit that fits, such as `6 minutes`.
pub fn duration(seconds: u64) -> String {
    HumanDuration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_says_cannot_command_the_terminal() {
        let hostile = "pc\u{1b}]0;owned\u{7}".to_owned();
        let table = table(["HOST"], [[hostile.clone()]]);
        let fields = fields([("host", hostile)]);
        for text in [table, fields] {
            assert!(text.contains("pc\u{FFFD}]0;owned\u{FFFD}"), "{text:?}");
            assert!(!text.contains('\u{1b}'));
        }
    }
}
