//! The measurements of the rounds, as a table.

use comfy_table::{Cell, CellAlignment, Table, presets};
use packcast_tests::figure::{Bar, Figure};
use packcast_tests::measure::{ProgramSample, median, spread};

use crate::archive::ArchiveKind;
use crate::floor::Floor;
use crate::side::Side;

const HEADS: [&str; 6] = [
    "",
    "times the floor",
    "times packcast",
    "seconds (least to most)",
    "CPU s",
    "peak memory MiB",
];

/// The measurements of one round.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) sides: Vec<(Side, ProgramSample)>,
    pub(crate) floor: Floor,
}

impl Round {
    fn seconds(&self, side: Side) -> Option<f64> {
        let sample = self.sides.iter().find(|(found, _)| *found == side)?;
        Some(sample.1.took.as_secs_f64())
    }

    /// Returns the largest part of the floor.
    fn floor(&self) -> f64 {
        let parts = [self.floor.write.as_secs_f64(), self.floor.cpu.as_secs_f64()];
        let md5sum = self.seconds(Side::Md5sum).unwrap_or(0.0);
        parts.into_iter().fold(md5sum, f64::max)
    }
}

/// A function that returns a part of a round in seconds.
type Seconds = fn(&Round) -> f64;

/// Returns a table in Markdown with the medians. A ratio is the median of the rounds' ratios.
pub(crate) fn table(rounds: &[Round]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(HEADS);
    let sides = rounds.first().map_or(&[][..], |round| &round.sides);
    for (side, _) in sides {
        let samples = || rounds.iter().flat_map(|round| of(round, *side));
        let ratio = |to: &dyn Fn(&Round) -> f64| {
            let ratios = rounds
                .iter()
                .filter_map(|it| Some(it.seconds(*side)? / to(it)));
            format!("{:.2}", median(ratios))
        };
        let packcast = |round: &Round| round.seconds(Side::Packcast).unwrap_or(f64::NAN);
        let cpu = samples().map(|sample| sample.cpu.as_secs_f64());
        let peak_kib = samples().map(|sample| sample.peak_kib).max();
        add(
            &mut table,
            &side.to_string(),
            [
                ratio(&Round::floor),
                ratio(&packcast),
                spread(samples().map(|sample| sample.took.as_secs_f64())),
                format!("{:.2}", median(cpu)),
                peak_kib.unwrap_or(0).div_ceil(1024).to_string(),
            ],
        );
    }
    let parts: [(&str, Seconds); 4] = [
        ("floor: largest of md5sum and the next two", Round::floor),
        ("floor: writing the fragments", |round| {
            round.floor.write.as_secs_f64()
        }),
        ("floor: digests and inflating, by processors", |round| {
            round.floor.cpu.as_secs_f64()
        }),
        ("inflating alone, on one processor", |round| {
            round.floor.inflating.as_secs_f64()
        }),
    ];
    for (name, part) in parts {
        let seconds = spread(rounds.iter().map(part));
        let blank = String::new;
        add(
            &mut table,
            name,
            [blank(), blank(), seconds, blank(), blank()],
        );
    }
    table
}

/// Returns the durations of all sides, and of the floor.
pub(crate) fn figure(rounds: &[Round], kind: ArchiveKind, medium: &str, mib: u32) -> Figure {
    let name = match kind {
        ArchiveKind::StoredZip => "zip",
        ArchiveKind::DeflatedTarGz => "tar-gz",
    };
    let sides = rounds.first().map_or(&[][..], |round| &round.sides);
    let bars = sides.iter().map(|(side, _)| {
        let seconds = rounds.iter().filter_map(|round| round.seconds(*side));
        let name = side.to_string();
        match side {
            Side::Packcast => Bar::ours(&name, seconds),
            Side::Md5sum | Side::OcsConsole => Bar::of_another(&name, seconds),
        }
    });
    let mut bars: Vec<Bar> = bars.collect();
    bars.push(Bar::of_another(
        "floor of the machine",
        rounds.iter().map(Round::floor),
    ));
    Figure::new(
        &format!("publish-{name}-{medium}").replace(' ', "-"),
        &format!("Publishing a {kind} of {mib} MiB, files {medium}"),
        "seconds, less is better",
    )
    .note(format!(
        "fragments of 1 MiB; median and spread of {} rounds",
        rounds.len()
    ))
    .group("", bars)
}

fn add(table: &mut Table, name: &str, figures: [String; 5]) {
    let figures = figures.map(|figure| Cell::new(figure).set_alignment(CellAlignment::Right));
    table.add_row(std::iter::once(Cell::new(name)).chain(figures));
}

fn of(round: &Round, side: Side) -> impl Iterator<Item = &ProgramSample> {
    let sides = round.sides.iter();
    sides.filter_map(move |(found, sample)| (*found == side).then_some(sample))
}
