//! Output for people and scripts: tables and JSON on standard output, everything else on standard
//! error.

pub(crate) mod csv;
pub(crate) mod screen;
mod table;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use indicatif::{BinaryBytes, HumanDuration};
pub(crate) use packcast_protocol::terminal::line as printable;
use packcast_protocol::{UnixTime, terminal};
use packcast_publisher::text::{for_options, relative};
pub(crate) use packcast_publisher::text::{outcome, time};
use packcast_publisher::{Failure, Kind, Warning};
use serde::Serialize;

/// The format of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and text
    #[default]
    Text,
    /// One JSON document, for scripts
    Json,
    /// Lists with commas between the columns, for spreadsheets
    Csv,
}

/// Prints a result as JSON, or as the text that `text` returns.
pub(crate) fn result<T: Serialize>(format: Format, value: &T, text: impl FnOnce(&T) -> String) {
    match format {
        Format::Text => data(&for_options(&text(value), &screen::get().target)),
        Format::Json => data(&json(value)),
        Format::Csv => data(&csv_document(value, &screen::get().command)),
    }
}

/// Writes a list as CSV. Only commands with a CSV form run with this format.
fn csv_document<T: Serialize>(value: &T, command: &str) -> String {
    let result = serde_json::to_value(value).expect("results have string keys only");
    csv::form(command).map_or_else(String::new, |form| csv::document(form, &form.rows(result)))
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
    let text = terminal::coloured_lines(text.trim_end(), &table::COLOURS);
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    if written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        IS_LOST.store(true, Ordering::Relaxed);
    }
}

/// Writes lines of data that replace earlier lines. Clears the screen of a terminal first.
/// Elsewhere, an empty line follows.
pub(crate) fn data_again(text: &str) {
    let clears = clears_screen();
    if clears {
        // Clears the screen, and moves the cursor to its top, also if colours are off.
        let _ = write!(AutoStream::always(std::io::stdout()), "\u{1b}[2J\u{1b}[H");
    }
    data(&for_options(text, &screen::get().target));
    if !clears {
        data("");
    }
}

/// Returns true if results are shown on a terminal that can be cleared.
fn clears_screen() -> bool {
    let can_clear = |name: OsString| name != "dumb" && !name.is_empty();
    let by_name = cfg!(windows) || std::env::var_os("TERM").is_some_and(can_clear);
    by_name && std::io::stdout().is_terminal()
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

/// Writes lines to standard error; for scripts, as a line of JSON. A leading `error:`, `warning:`
/// or `hint:` is coloured, on terminals only, as in [`data`].
pub(crate) fn note(text: &str) {
    let screen = screen::get();
    let text = for_options(text, &screen.target);
    if screen.format == Format::Json && !std::io::stderr().is_terminal() {
        let hint = None;
        let message = &text;
        json_line("note", &WarningReport { message, hint });
        return;
    }
    let text = &text;
    let text = terminal::coloured_lines(text, &table::COLOURS);
    let lines: Vec<Cow<'_, str>> = text.lines().map(labelled).collect();
    let _ = writeln!(anstream::stderr().lock(), "{}", lines.join("\n"));
}

/// Prints warnings with their hints; for scripts, each as a line of JSON.
pub(crate) fn warn(warnings: &[Warning]) {
    let screen = screen::get();
    for warning in warnings {
        if screen.format == Format::Json {
            let hint = warning.hint.as_ref();
            let warning = WarningReport {
                message: &warning.text,
                hint: hint.map(|hint| for_options(hint, &screen.target)),
            };
            json_line("warning", &warning);
        } else {
            note(&warning.to_string());
        }
    }
}

/// Prints an error with its hints; for scripts, as a line of JSON.
pub(crate) fn error(failure: &Failure) {
    let screen = screen::get();
    if screen.format == Format::Json {
        json_line("error", &error_report(failure, &screen.target));
    } else {
        note(&format!("error: {failure}"));
    }
}

/// The JSON form of an error on standard error.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorReport {
    kind: &'static str,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
}

/// The JSON form of a warning or a note on standard error.
#[derive(Debug, Serialize)]
struct WarningReport<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Returns the JSON form of an error, with hints for a target.
pub(crate) fn error_report(failure: &Failure, target: &str) -> ErrorReport {
    let kind = match failure.kind() {
        Kind::Failed => "failed",
        Kind::Usage => "usage",
        Kind::Conflict => "conflict",
        Kind::TryLater => "try-later",
    };
    let hints = failure.hints().iter();
    ErrorReport {
        kind,
        message: failure.message(),
        causes: failure.causes(),
        hints: hints.map(|hint| for_options(hint, target)).collect(),
    }
}

/// Writes `{"name":{…}}` as one line to standard error.
fn json_line<T: Serialize>(name: &str, value: &T) {
    let document = serde_json::json!({ name: value }).to_string();
    let _ = writeln!(anstream::stderr().lock(), "{}", terminal::json(&document));
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

/// Returns the number of columns of the terminal for results; `None` if there is no terminal.
pub(crate) fn columns() -> Option<u16> {
    comfy_table::Table::new().width()
}

/// Returns whether the program can ask a person.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Lays out rows under a heading, within the columns of the terminal. States and results have
/// colours; [`data`] removes them if the output is not a terminal.
pub(crate) fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.to_vec()).collect();
    table::layout(&heading, &rows, screen::columns())
}

/// Cuts a line to the columns of the terminal, so that it is not wrapped.
pub(crate) fn cut(line: &str) -> String {
    let columns = screen::columns().map_or(usize::MAX, usize::from);
    if line.chars().nth(columns).is_none() {
        return line.to_owned();
    }
    let kept = line.chars().take(columns.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// Writes a time for a table: relative on a terminal, such as `3 min ago`.
pub(crate) fn when(at: UnixTime) -> String {
    screen::get()
        .now
        .map_or_else(|| time(at), |now| relative(at, now))
}

/// Lays out names and values, one pair per line. Pairs with an empty value are left out.
pub(crate) fn fields<const N: usize>(fields: [(&str, String); N]) -> String {
    fields_of(fields.into())
}

fn fields_of(fields: Vec<(&str, String)>) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
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
    use insta::assert_snapshot;
    use packcast_publisher::signing::KeyError;

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
        assert_eq!(terminal::coloured_lines(&table, &table::COLOURS), table);
        let cancelled = super::table(["STATE"], [["cancelled".to_owned()]]);
        assert_eq!(
            terminal::coloured_lines(&cancelled, &table::COLOURS),
            cancelled
        );
    }

    #[test]
    fn times_in_tables_are_relative() {
        let now = UnixTime(1_795_000_000);
        let day = 86_400;
        for (at, expected) in [
            (now.0, "just now"),
            (now.0 - 59, "just now"),
            (now.0 - 60, "1 min ago"),
            (now.0 - 3_599, "60 min ago"),
            (now.0 - 3_600, "1 h ago"),
            (now.0 - 47 * 3_600, "47 h ago"),
            (now.0 - 5 * day, "5 days ago"),
            (now.0 - 200 * day, "2026-05-02"),
            (now.0 + 30, "in 1 min"),
            (now.0 + 3 * day, "in 3 days"),
        ] {
            assert_eq!(relative(UnixTime(at), now), expected);
        }
        assert_eq!(when(now), "2026-11-18 11:06:40 UTC");
    }

    #[test]
    fn an_error_is_one_line_of_json() {
        let cause = KeyError::File {
            path: "/keys/prod.key".into(),
            source: std::io::Error::other("no disk\u{1b}[2J"),
        };
        let failure = Failure::failed(cause).hint("run 'packcast list' to see the packages");
        let report = error_report(&failure, "--target prod");
        assert_snapshot!(serde_json::to_string(&report).unwrap(), @r#"{"kind":"failed","message":"cannot read or write /keys/prod.key","causes":["no disk\u001b[2J"],"hints":["run 'packcast --target prod list' to see the packages"]}"#);
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
