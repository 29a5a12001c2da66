//! Output for people and scripts: tables and JSON on standard output, everything else on standard
//! error.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use indicatif::{BinaryBytes, HumanDuration};
use packcast_protocol::terminal;
pub(crate) use packcast_protocol::terminal::line as printable;
use packcast_publisher::Warning;
pub(crate) use packcast_publisher::text::{outcome, time};
use serde::Serialize;

/// The format of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and text
    #[default]
    Text,
    /// One JSON document, for scripts
    Json,
}

/// Prints a result as JSON, or as the text that `text` returns.
pub(crate) fn result<T: Serialize>(format: Format, value: &T, text: impl FnOnce(&T) -> String) {
    match format {
        Format::Text => data(&text(value)),
        Format::Json => data(&json(value)),
    }
}

/// Writes a value as a JSON document, without control characters of texts from outside.
fn json<T: Serialize>(value: &T) -> String {
    let document = serde_json::to_string_pretty(value).expect("results have string keys only");
    terminal::json(&document)
}

/// Set if a result could not be written completely, because the disk is full for example.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Writes lines of data. A reader that has closed its end is not an error; any other error sets
/// [`is_lost`].
///
/// Colours are written only to terminals, and not if `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn data(text: &str) {
    let mut stdout = anstream::stdout().lock();
    let text = terminal::coloured_lines(text.trim_end(), &COLOURS);
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    if written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        IS_LOST.store(true, Ordering::Relaxed);
    }
}

/// Returns whether a result could not be written, so that no script mistakes a part for the whole.
pub(crate) fn is_lost() -> bool {
    IS_LOST.load(Ordering::Relaxed)
}

/// Prints a result as JSON only. People get a note instead.
pub(crate) fn for_scripts<T: Serialize>(format: Format, value: &T) {
    if format == Format::Json {
        result(format, value, |_| String::new());
    }
}

/// Writes lines to standard error. A leading `error:`, `warning:` or `hint:` is coloured, on
/// terminals only, as in [`data`].
pub(crate) fn note(text: &str) {
    let text = terminal::coloured_lines(text, &COLOURS);
    let lines: Vec<Cow<'_, str>> = text.lines().map(labelled).collect();
    let _ = writeln!(anstream::stderr().lock(), "{}", lines.join("\n"));
}

/// Prints warnings with their hints.
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

/// Returns whether the program can ask a person.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The columns in which the first word decides the colour of a cell.
const COLOURED: [&str; 2] = ["STATE", "RESULT"];

/// Lays out rows under a heading. States and results have colours; [`data`] removes them if the
/// output is not a terminal.
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
    // Some texts come from devices. They must not control the terminal.
    let cell = Cell::new(printable(text));
    match colour(text) {
        Some(colour) if COLOURED.contains(&column) => cell.fg(colour),
        _ => cell,
    }
}

/// The colours in tables, which [`data`] writes.
const COLOURS: [&str; 4] = [
    "\u{1b}[38;5;2m",
    "\u{1b}[38;5;1m",
    "\u{1b}[38;5;3m",
    "\u{1b}[39m",
];

/// Returns the colour of a state or result by its first word.
fn colour(text: &str) -> Option<Color> {
    let word = text.split(|c: char| !c.is_alphabetic()).next();
    match word.unwrap_or_default() {
        "ok" | "active" | "succeeded" => Some(Color::DarkGreen),
        "failed" => Some(Color::DarkRed),
        "draft" | "waiting" | "announced" | "withdrawn" | "cancelled" => Some(Color::DarkYellow),
        _ => None,
    }
}

/// Lays out names and values, one pair per line. Pairs with an empty value are left out.
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

/// Writes a number of bytes in binary units, such as `1.50 MiB`.
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
        assert_eq!(terminal::coloured_lines(&table, &COLOURS), table);
        let cancelled = super::table(["STATE"], [["cancelled".to_owned()]]);
        assert_eq!(terminal::coloured_lines(&cancelled, &COLOURS), cancelled);
    }

    #[test]
    fn labels_are_coloured() {
        let note = Warning::new("the disk is full").hint("free some space");
        let lines: Vec<Cow<'_, str>> = note
            .to_string()
            .lines()
            .map(|line| labelled(line).into_owned().into())
            .collect();
        assert_eq!(
            lines,
            [
                "\u{1b}[1m\u{1b}[33mwarning:\u{1b}[0m the disk is full",
                "\u{1b}[1m\u{1b}[36mhint:\u{1b}[0m free some space",
            ]
        );
        assert_eq!(labelled("running"), "running");
    }

    #[test]
    fn text_of_a_device_cannot_control_the_terminal() {
        let hostile = "pc\u{1b}]0;owned\u{7}\u{202e}".to_owned();
        let table = table(["HOST"], [[hostile.clone()]]);
        let fields = fields([("host", hostile)]);
        for text in [table, fields] {
            assert!(text.contains(r"pc\u{1b}]0;owned\u{7}\u{202e}"), "{text:?}");
            assert!(!text.contains('\u{1b}'));
        }
    }
}
