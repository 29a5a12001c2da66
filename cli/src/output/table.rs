//! Tables that fit on the terminal.
//!
//! A table that is too wide loses columns without information, then its texts are wrapped, then it
//! loses columns of little interest. If that is not enough, each row becomes a block of lines.

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::{fields_of, printable};

/// Blanks between columns.
const GAP: u16 = 2;

/// The smallest width of a wrapped column, unless all of its cells are narrower.
const NARROW: u16 = 12;

/// The columns with names, which people copy: they are not wrapped.
const WHOLE: [&str; 11] = [
    "ADDRESS",
    "DEVICE",
    "FINISHED",
    "GROUP",
    "ID",
    "LOCATION",
    "NAME",
    "OPEN",
    "PACKAGE",
    "PUBLISHER KEY",
    "VERSION",
];

/// The columns of little interest, the first to leave out first. An id is left out only beside a
/// name.
const OF_LITTLE_INTEREST: [&str; 5] = ["PRIORITY", "ATTEMPT", "ID", "AGENT", "SITE"];

/// The columns in which the first word decides the colour of a cell.
const COLOURED: [&str; 2] = ["STATE", "RESULT"];

/// Lays out rows under a heading, within a number of columns if it is given.
pub(super) fn layout(heading: &[&str], rows: &[Vec<String>], columns: Option<u16>) -> String {
    let natural: Vec<u16> = (0..heading.len())
        .map(|column| natural_width(heading, rows, column))
        .collect();
    let Some(columns) = columns else {
        return render(
            heading,
            rows,
            &natural.into_iter().map(Some).collect::<Vec<_>>(),
        );
    };
    let mut widths: Vec<Option<u16>> = natural.iter().copied().map(Some).collect();
    for (column, width) in widths.clone().iter().enumerate().rev() {
        if total(&widths) > columns && width.is_some() && tells_nothing(rows, column) {
            widths[column] = None;
        }
    }
    let has_name = heading
        .iter()
        .any(|name| ["NAME", "PACKAGE"].contains(name));
    let mut left_out = OF_LITTLE_INTEREST.into_iter();
    loop {
        if shrink(heading, &mut widths, columns) {
            return render(heading, rows, &widths);
        }
        let Some(name) = left_out.next() else {
            return blocks(heading, rows);
        };
        let column = heading.iter().position(|column| *column == name);
        if let Some(column) = column.filter(|_| name != "ID" || has_name) {
            widths[column] = None;
        }
    }
}

/// Returns the width of a column without wrapping.
fn natural_width(heading: &[&str], rows: &[Vec<String>], column: usize) -> u16 {
    let mut table = Table::new();
    table.add_row([heading[column]]);
    for row in rows {
        table.add_row([printable(&row[column])]);
    }
    table
        .column_max_content_widths()
        .first()
        .copied()
        .unwrap_or_default()
}

/// Returns true if no cell of a column has a text or a number.
fn tells_nothing(rows: &[Vec<String>], column: usize) -> bool {
    rows.iter()
        .all(|row| matches!(row[column].as_str(), "" | "0"))
}

fn total(widths: &[Option<u16>]) -> u16 {
    let widths = widths.iter().flatten();
    let sum = widths.fold(0_u16, |sum, width| {
        sum.saturating_add(*width).saturating_add(GAP)
    });
    sum.saturating_sub(GAP)
}

/// Narrows the widest columns with texts until a table fits. Returns false, and changes nothing, if
/// it cannot fit.
fn shrink(heading: &[&str], widths: &mut [Option<u16>], columns: u16) -> bool {
    let mut narrowed = widths.to_vec();
    while total(&narrowed) > columns {
        let wrapped = narrowed
            .iter_mut()
            .zip(heading)
            .filter_map(|(width, name)| {
                let width = width.as_mut().filter(|_| !WHOLE.contains(name))?;
                let least = NARROW.max(u16::try_from(name.len()).unwrap_or(u16::MAX));
                (*width > least).then_some(width)
            });
        match wrapped.max() {
            Some(width) => *width -= 1,
            None => return false,
        }
    }
    widths.copy_from_slice(&narrowed);
    true
}

/// Renders a table whose columns have these widths; `None` leaves a column out.
fn render(heading: &[&str], rows: &[Vec<String>], widths: &[Option<u16>]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::MAX)
        .enforce_styling()
        .style_text_only();
    let shown = |column: &usize| widths[*column].is_some();
    let columns: Vec<usize> = (0..heading.len()).filter(shown).collect();
    table.set_header(columns.iter().map(|column| heading[*column]));
    for row in rows {
        table.add_row(
            columns
                .iter()
                .map(|column| cell(heading[*column], &row[*column])),
        );
    }
    let widths = widths.iter().flatten();
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_padding((0, GAP));
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + GAP)));
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// Writes each row as a block of lines.
fn blocks(heading: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<String> = heading.iter().map(|name| name.to_lowercase()).collect();
    let blocks = rows.iter().map(|row| {
        let names = names.iter().map(String::as_str);
        fields_of(names.zip(row.iter().cloned()).collect())
    });
    blocks.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn cell(column: &str, text: &str) -> Cell {
    let cell = Cell::new(printable(text));
    match colour(text) {
        Some(colour) if COLOURED.contains(&column) && !is_colourless() => cell.fg(colour),
        _ => cell,
    }
}

/// Returns true if the user wants no colours (<https://no-color.org>). The library would write an
/// empty colour, which [`super::data`] escapes.
fn is_colourless() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The colours of cells, as they are written.
pub(super) const COLOURS: [&str; 4] = [
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::plain;

    const DEVICES: [&str; 6] = ["DEVICE", "HOST", "SYSTEM", "AGENT", "LAST SEEN", "EXCLUDED"];

    fn device(excluded: &str) -> Vec<String> {
        let cells = [
            "ocs:web01-2026-03-04-05-06-07",
            "web01",
            "Debian GNU/Linux 12",
            "OCS-NG_unified_unix_agent_v2.10.0",
            "3 min ago",
            excluded,
        ];
        cells.map(ToOwned::to_owned).to_vec()
    }

    fn within(rows: &[Vec<String>], columns: u16) -> String {
        let text = plain(&layout(&DEVICES, rows, Some(columns)));
        for line in text.lines() {
            assert!(line.chars().count() <= columns.into(), "{line}");
        }
        text
    }

    #[test]
    fn a_table_that_fits_stays_as_it_is() {
        let rows = [device("")];
        assert_eq!(
            layout(&DEVICES, &rows, Some(200)),
            layout(&DEVICES, &rows, None)
        );
    }

    #[test]
    fn a_wide_table_loses_empty_columns_and_wraps_its_texts() {
        let blocked = "blocked since 2026-11-18 11:06:40 UTC: stolen";
        assert_snapshot!(within(&[device("")], 110), @"
        DEVICE                         HOST   SYSTEM               AGENT                              LAST SEEN
        ocs:web01-2026-03-04-05-06-07  web01  Debian GNU/Linux 12  OCS-NG_unified_unix_agent_v2.10.0  3 min ago
        ");
        assert_snapshot!(within(&[device("")], 80), @"
        DEVICE                         HOST   SYSTEM           AGENT           LAST SEEN
        ocs:web01-2026-03-04-05-06-07  web01  Debian           OCS-NG_unified  3 min ago
                                              GNU/Linux 12     _unix_agent_v2
                                                               .10.0
        ");
        assert_snapshot!(within(&[device(""), device(blocked)], 140), @"
        DEVICE                         HOST   SYSTEM               AGENT                              LAST SEEN  EXCLUDED
        ocs:web01-2026-03-04-05-06-07  web01  Debian GNU/Linux 12  OCS-NG_unified_unix_agent_v2.10.0  3 min ago
        ocs:web01-2026-03-04-05-06-07  web01  Debian GNU/Linux 12  OCS-NG_unified_unix_agent_v2.10.0  3 min ago  blocked since 2026-11-18 11:06:40
                                                                                                                 UTC: stolen
        ");
        assert_snapshot!(within(&[device(""), device(blocked)], 80), @"
        DEVICE                         HOST   SYSTEM           LAST SEEN  EXCLUDED
        ocs:web01-2026-03-04-05-06-07  web01  Debian           3 min ago
                                              GNU/Linux 12
        ocs:web01-2026-03-04-05-06-07  web01  Debian           3 min ago  blocked since
                                              GNU/Linux 12                2026-11-18
                                                                          11:06:40 UTC:
                                                                          stolen
        ");
    }

    #[test]
    fn rows_become_blocks_on_a_narrow_terminal() {
        let text = plain(&layout(
            &DEVICES,
            &[device(""), device("blocked")],
            Some(40),
        ));
        assert_snapshot!(text, @"
        device     ocs:web01-2026-03-04-05-06-07
        host       web01
        system     Debian GNU/Linux 12
        agent      OCS-NG_unified_unix_agent_v2.10.0
        last seen  3 min ago

        device     ocs:web01-2026-03-04-05-06-07
        host       web01
        system     Debian GNU/Linux 12
        agent      OCS-NG_unified_unix_agent_v2.10.0
        last seen  3 min ago
        excluded   blocked
        ");
    }

    #[test]
    fn an_id_is_left_out_beside_a_name_only() {
        let counts = [
            "ID",
            "PACKAGE",
            "ASSIGNED",
            "SUCCEEDED",
            "FAILED",
            "CANCELLED",
        ];
        let row = ["1795327754", "vlc@3.0.21", "21", "3", "2", "1"].map(ToOwned::to_owned);
        assert_snapshot!(layout(&counts, &[row.to_vec()], Some(52)), @"
        PACKAGE     ASSIGNED  SUCCEEDED  FAILED  CANCELLED
        vlc@3.0.21  21        3          2       1
        ");
    }
}
