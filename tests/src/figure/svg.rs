//! The plot of a figure: horizontal bars with their spread, readable in light and in dark.

use std::fmt::Write as _;

use super::{Bar, BarGroup, Figure};

/// Width of the plot; browsers scale it.
const WIDTH: f64 = 760.0;
const MARGIN: f64 = 16.0;
/// Height of one bar with its gap.
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
/// Height of a line of text.
const LINE: f64 = 18.0;
/// Room for the numbers after the longest bar.
const NUMBERS: f64 = 190.0;
/// Width of a character, for the column of names.
const CHARACTER: f64 = 7.2;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}\
.title{font-size:15px;font-weight:600}.note{font-size:12px;fill:#59636e}\
.head{font-weight:600}.paper{fill:#fff}.ours{fill:#0969da}.other{fill:#8c959f}\
.spread{fill:#1f2328}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}.paper{fill:#0d1117}\
.ours{fill:#4493f8}.other{fill:#6e7681}.spread{fill:#e6edf3}}";

/// Draws a figure.
pub(super) fn draw(figure: &Figure) -> String {
    let mut plot = Plot::new(figure);
    plot.text("title", MARGIN, 20.0, &figure.title);
    plot.line(&figure.unit);
    plot.y += LINE / 2.0;
    for group in &figure.groups {
        plot.group(group);
    }
    for note in &figure.notes {
        plot.line(note);
    }
    let (height, title) = (plot.y + MARGIN / 2.0, escaped(&figure.title));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         width=\"{WIDTH}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n{}</svg>\n",
        plot.elements
    )
}

/// A plot under way, from top to bottom.
struct Plot {
    elements: String,
    y: f64,
    /// Left end of the bars.
    left: f64,
    /// Length of a bar for the value 1.
    scale: f64,
}

impl Plot {
    fn new(figure: &Figure) -> Self {
        let bars = || figure.groups.iter().flat_map(|group| &group.bars);
        let longest = bars().map(|bar| bar.name.chars().count()).max();
        let longest = u32::try_from(longest.unwrap_or(0)).unwrap_or(u32::MAX);
        let left = MARGIN + f64::from(longest.max(8)) * CHARACTER + 8.0;
        let most = bars().map(|bar| bar.spread().2).fold(0.0, f64::max);
        let room = WIDTH - left - NUMBERS;
        Self {
            elements: String::new(),
            y: 26.0,
            left,
            scale: if most > 0.0 { room / most } else { 0.0 },
        }
    }

    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.elements,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        );
    }

    fn bar_of_class(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64) {
        let _ = writeln!(
            self.elements,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }

    /// Adds a line of small text.
    fn line(&mut self, text: &str) {
        self.y += LINE;
        self.text("note", MARGIN, self.y - 4.0, text);
    }

    fn group(&mut self, group: &BarGroup) {
        if !group.name.is_empty() {
            self.y += LINE;
            self.text("head", MARGIN, self.y - 4.0, &group.name);
        }
        for bar in &group.bars {
            self.bar(bar);
        }
        self.y += LINE / 2.0;
    }

    fn bar(&mut self, bar: &Bar) {
        let (median, least, most) = bar.spread();
        let (left, scale, top) = (self.left, self.scale, self.y + (ROW - BAR) / 2.0);
        let baseline = top + BAR - 3.5;
        self.text("name", MARGIN, baseline, &bar.name);
        let class = if bar.is_ours { "ours" } else { "other" };
        self.bar_of_class(class, left, top, median * scale, BAR);
        let mut numbers = number(median);
        if bar.values.len() > 1 {
            let middle = top + BAR / 2.0 - 1.0;
            self.bar_of_class(
                "spread",
                left + least * scale,
                middle,
                (most - least) * scale,
                2.0,
            );
            let _ = write!(numbers, " ({} to {})", number(least), number(most));
        }
        self.text("value", left + most * scale + 8.0, baseline, &numbers);
        self.y += ROW;
    }
}

/// Writes a value with about three digits, and with commas between thousands.
fn number(value: f64) -> String {
    let text = if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_about_three_digits() {
        let written = [0.0, 1.234, 12.34, 123.4, 1_234.0, 1_234_567.0].map(number);
        let expected = ["0.00", "1.23", "12.3", "123", "1,234", "1,234,567"];
        assert_eq!(written, expected);
    }
}
