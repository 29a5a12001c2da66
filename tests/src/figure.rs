//! Figures of benchmarks: the values as JSON, and a plot that is drawn from them.

mod svg;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::measure;

/// Measured values, and the words around them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Name of both files, without an extension.
    pub name: String,
    pub title: String,
    /// Unit of the values, with the better direction, such as `seconds, less is better`.
    pub unit: String,
    /// Circumstances of the measurement, one line each.
    pub notes: Vec<String>,
    pub groups: Vec<BarGroup>,
}

/// Bars under a common heading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BarGroup {
    /// Heading; empty if the figure has one group only.
    pub name: String,
    pub bars: Vec<Bar>,
}

/// The values of one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    pub name: String,
    /// True for Packcast, whose bars have another colour.
    pub is_ours: bool,
    /// One value for each run. The bar shows the median, and a line the spread.
    pub values: Vec<f64>,
}

/// Returns the folder for figures. Values of a smoke run show nothing, so they have a folder of their own.
pub fn folder(plot: Option<PathBuf>, is_smoke: bool) -> Option<PathBuf> {
    plot.map(|folder| {
        if is_smoke {
            folder.join("smoke")
        } else {
            folder
        }
    })
}

impl Bar {
    pub fn ours(name: &str, values: impl Iterator<Item = f64>) -> Self {
        Self {
            name: name.to_owned(),
            is_ours: true,
            values: values.collect(),
        }
    }

    pub fn of_another(name: &str, values: impl Iterator<Item = f64>) -> Self {
        Self {
            is_ours: false,
            ..Self::ours(name, values)
        }
    }

    /// Returns the median, the least and the most.
    fn spread(&self) -> (f64, f64, f64) {
        let values = || self.values.iter().copied();
        (
            measure::median(values()),
            values().fold(f64::INFINITY, f64::min),
            values().fold(0.0, f64::max),
        )
    }
}

impl Figure {
    /// Creates a figure without bars, with the present load of the machine as a note.
    pub fn new(name: &str, title: &str, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            unit: unit.to_owned(),
            notes: vec![measure::load()],
            groups: Vec::new(),
        }
    }

    #[must_use]
    pub fn note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    #[must_use]
    pub fn group(mut self, name: &str, bars: Vec<Bar>) -> Self {
        self.groups.push(BarGroup {
            name: name.to_owned(),
            bars,
        });
        self
    }

    /// Writes the values and the plot into a folder. Without a folder nothing is written.
    pub fn save(&self, folder: Option<&Path>) -> io::Result<()> {
        let Some(folder) = folder else {
            return Ok(());
        };
        fs::create_dir_all(folder)?;
        let values = serde_json::to_string_pretty(self)?;
        fs::write(self.file(folder, "json"), values + "\n")?;
        fs::write(self.file(folder, "svg"), svg::draw(self))
    }

    /// Reads the values of all figures in a folder, in the order of their names.
    pub fn read_all(folder: &Path) -> io::Result<Vec<Self>> {
        let mut figures = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "json") {
                figures.push(serde_json::from_slice(&fs::read(path)?)?);
            }
        }
        figures.sort_by(|a: &Self, b| a.name.cmp(&b.name));
        Ok(figures)
    }

    fn file(&self, folder: &Path, extension: &str) -> PathBuf {
        folder.join(format!("{}.{extension}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        Figure {
            notes: Vec::new(),
            ..Figure::new("two", "Two <sides>", "seconds, less is better")
        }
        .group(
            "",
            vec![
                Bar::ours("packcast", [3.0, 1.0, 2.0].into_iter()),
                Bar::of_another("md5sum & co", [4.0].into_iter()),
            ],
        )
    }

    #[test]
    fn a_plot_can_be_drawn_again_from_its_values() {
        let folder = tempfile::tempdir().unwrap();
        figure().save(Some(folder.path())).unwrap();
        let drawn = fs::read_to_string(folder.path().join("two.svg")).unwrap();
        let [read] = &Figure::read_all(folder.path()).unwrap()[..] else {
            panic!("one figure was saved");
        };
        assert_eq!(*read, figure());
        assert_eq!(svg::draw(read), drawn);
    }

    #[test]
    fn bars_are_as_long_as_their_medians_and_lines_as_their_spread() {
        let drawn = svg::draw(&figure());
        let lengths = |class: &str| -> Vec<f64> {
            let begin = format!("class=\"{class}\" x=\"");
            let elements = drawn.split(&begin).skip(1);
            elements
                .map(|element| {
                    let width = element.split("width=\"").nth(1).unwrap();
                    width.split('"').next().unwrap().parse().unwrap()
                })
                .collect()
        };
        let (ours, other, spread) = (lengths("ours"), lengths("other"), lengths("spread"));
        assert_eq!((ours.len(), other.len(), spread.len()), (1, 1, 1));
        let close = |a: f64, b: f64| (a - b).abs() < 0.2;
        assert!(close(ours[0] * 2.0, other[0]), "{ours:?} {other:?}");
        assert!(close(spread[0] * 2.0, other[0]), "{spread:?} {other:?}");
    }

    #[test]
    fn names_cannot_break_the_plot() {
        let drawn = svg::draw(&figure());
        assert!(drawn.contains("Two &lt;sides&gt;") && drawn.contains("md5sum &amp; co"));
        assert!(!drawn.contains("<sides>"));
    }
}
