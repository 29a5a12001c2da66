//! What people and scripts read: tables and JSON on standard output, everything else on standard error.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use indicatif::{BinaryBytes, HumanDuration};
use packcast_protocol::UnixTime;
use packcast_publisher::Warning;
pub(crate) use packcast_publisher::text::{outcome, printable, time};
use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts: one JSON document.
    Json,
}

/// Prints a result: as JSON, or as the text that `text` makes of it.
pub(crate) fn result<T: Serialize>(format: Format, value: &T, text: impl FnOnce(&T) -> String) {
    match format {
        Format::Text => data(&text(value)),
        Format::Json => {
            data(&serde_json::to_string_pretty(value).expect("results have string keys only"));
        }
    }
}

/// Whether a result was not written whole, to a full disk or the like.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Writes lines of data. A reader that has gone away is no error; for any other, see
/// [`is_lost`].
///
/// Colours reach terminals only, and not where `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn data(text: &str) {
    let mut stdout = anstream::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
    if written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        IS_LOST.store(true, Ordering::Relaxed);
    }
}

/// Tells whether a result could not be written, so that no script takes what is there for it.
pub(crate) fn is_lost() -> bool {
    IS_LOST.load(Ordering::Relaxed)
}

/// Prints a result that only scripts ask for: people are told in a note.
pub(crate) fn for_scripts<T: Serialize>(format: Format, value: &T) {
    if format == Format::Json {
        result(format, value, |_| String::new());
    }
}

/// Writes lines for the person watching, with a coloured `error:`, `warning:` or `hint:` in
/// front of those that have one. Colours are for terminals only, as in [`data`].
pub(crate) fn note(text: &str) {
    let lines: Vec<Cow<'_, str>> = text.lines().map(labelled).collect();
    let _ = writeln!(anstream::stderr().lock(), "{}", lines.join("\n"));
}

/// Shows warnings, each with its hint.
pub(crate) fn warn(warnings: &[Warning]) {
    for warning in warnings {
        note(&warning.to_string());
    }
}

fn labelled(line: &str) -> Cow<'_, str> {
    let labels = [
        ("error:", AnsiColor::Red),
        ("warning:", AnsiColor::Yellow),
        ("hint:", AnsiColor::Cyan),
    ];
    for (label, colour) in labels {
        if let Some(rest) = line.strip_prefix(label) {
            let style = Style::new().bold().fg_color(Some(colour.into()));
            return format!("{style}{label}{style:#}{rest}").into();
        }
    }
    line.into()
}

/// Tells whether a person can be asked.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The columns whose cells begin with a word that is coloured.
const COLOURED: [&str; 2] = ["STATE", "RESULT"];

/// Lays out rows under a heading; states and results have colours, for [`data`] to show.
pub(crate) fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .enforce_styling()
        .style_text_only();
    table.set_header(heading);
    for row in rows {
        let cells = heading.iter().zip(row);
        table.add_row(cells.map(|(column, text)| cell(column, &text)));
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

fn cell(column: &str, text: &str) -> Cell {
    let cell = Cell::new(printable(text));
    match colour(text) {
        Some(colour) if COLOURED.contains(&column) => cell.fg(colour),
        _ => cell,
    }
}

/// Returns the colour of a state or a result, which its first word decides.
fn colour(text: &str) -> Option<Color> {
    let word = text.split(|c: char| !c.is_alphabetic()).next();
    match word.unwrap_or_default() {
        "ok" | "active" | "succeeded" => Some(Color::DarkGreen),
        "failed" => Some(Color::DarkRed),
        "draft" | "waiting" | "announced" | "withdrawn" | "cancelled" => Some(Color::DarkYellow),
        _ => None,
    }
}

/// Lays out names and values, a line each.
pub(crate) fn fields<const N: usize>(fields: [(&str, String); N]) -> String {
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

/// Writes the end of a signature over assignments.
pub(crate) fn good_until(expires: Option<UnixTime>) -> String {
    expires.map_or_else(|| "not signed".to_owned(), time)
}

/// Writes a number of bytes in binary units.
pub(crate) fn bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// Writes a length of time in the largest unit that fits, such as `6 minutes`.
pub(crate) fn duration(seconds: u64) -> String {
    HumanDuration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_coloured_by_their_first_word() {
        let row = |state: &str| ["active".to_owned(), state.to_owned()];
        let rows = ["succeeded: ran", "failed", "elsewhere"].map(row);
        let table = table(["NAME", "STATE"], rows);
        let expected = [
            "NAME    STATE",
            "active  \u{1b}[38;5;2msucceeded: ran\u{1b}[39m",
            "active  \u{1b}[38;5;1mfailed\u{1b}[39m",
            "active  elsewhere",
        ];
        assert_eq!(table, expected.join("\n"));
    }

    #[test]
    fn what_a_device_says_cannot_command_the_terminal() {
        let hostile = "pc\u{1b}]0;owned\u{7}\u{202e}".to_owned();
        let table = table(["HOST"], [[hostile.clone()]]);
        let fields = fields([("host", hostile)]);
        for text in [table, fields] {
            assert!(
                text.contains("pc\u{FFFD}]0;owned\u{FFFD}\u{FFFD}"),
                "{text:?}"
            );
            assert!(!text.contains('\u{1b}'));
        }
    }
}
