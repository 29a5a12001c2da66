//! The measurements of the rounds, as a table and a figure.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use packcast_tests::figure::{Bar, Figure};
use packcast_tests::measure::{median, spread_with};

use crate::download::DownloadSample;

const HEADS: [&str; 7] = [
    "",
    "share of parallel curl's rate",
    "share of curl's rate",
    "MiB/s (least to most)",
    "CPU s",
    "CPU s of the edge",
    "peak memory MiB",
];

/// The measurements of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) agent: DownloadSample,
    /// `curl`, one after the other and in parallel; `None` without `curl`.
    pub(crate) curl: Option<[DownloadSample; 2]>,
}

/// A function that returns the measurements of one side.
type SampleOf = fn(&Round) -> Option<DownloadSample>;

const SIDES: [(&str, SampleOf); 3] = [
    ("agent, archive verified", |round| Some(round.agent)),
    ("curl, in parallel", |round| Some(round.curl?[1])),
    ("curl, one after the other", |round| Some(round.curl?[0])),
];

/// Returns a table in Markdown with the medians. A share is the median of the rounds' shares.
pub(crate) fn table(rounds: &[Round], bytes: u64) -> Table {
    let [_, (_, parallel), (_, one)] = SIDES;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(HEADS);
    for (name, side) in SIDES {
        let share = |of: SampleOf| {
            let shares = rounds
                .iter()
                .filter_map(|round| Some(seconds(of(round)?) / seconds(side(round)?)));
            format!("{:.2}", median(shares))
        };
        let samples = || rounds.iter().filter_map(side);
        let cpu = |of: fn(DownloadSample) -> Duration| {
            format!("{:.2}", median(samples().map(|it| of(it).as_secs_f64())))
        };
        let peak_kib = samples().map(|sample| sample.program.peak_kib).max();
        let figures = [
            share(parallel),
            share(one),
            spread_with(0, rates(rounds, bytes, side)),
            cpu(|sample| sample.program.cpu),
            cpu(|sample| sample.edge_cpu),
            peak_kib.unwrap_or(0).div_ceil(1024).to_string(),
        ];
        let figures = figures.map(|figure| Cell::new(figure).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(name)).chain(figures));
    }
    table
}

/// Returns the rates of all sides.
pub(crate) fn figure(rounds: &[Round], bytes: u64) -> Figure {
    let bars = SIDES.into_iter().map(|(name, side)| {
        let rates = rates(rounds, bytes, side);
        if name.starts_with("agent") {
            Bar::ours(name, rates)
        } else {
            Bar::of_another(name, rates)
        }
    });
    let bars = bars.filter(|bar| !bar.values.is_empty()).collect();
    let mib = bytes >> 20;
    let title = format!("Downloading {mib} MiB in fragments of 1 MiB from packcast local");
    Figure::new("agent-download", &title, "MiB/s, more is better")
        .note(format!(
            "agent and parallel curl fetch four fragments at a time; {} rounds",
            rounds.len()
        ))
        .group("", bars)
}

/// Returns the rate of each round in MiB/s.
fn rates(rounds: &[Round], bytes: u64, side: SampleOf) -> impl Iterator<Item = f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "packages are far below 2^52 bytes"
    )]
    let mib = bytes as f64 / f64::from(1 << 20);
    let samples = rounds.iter().filter_map(side);
    samples.map(move |sample| mib / seconds(sample))
}

fn seconds(sample: DownloadSample) -> f64 {
    sample.program.took.as_secs_f64()
}
