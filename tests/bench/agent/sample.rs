//! The measurements of the rounds, as a table and a figure.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use packcast_tests::figure::{Bar, Figure};
use packcast_tests::measure::{median, spread_with};

use crate::download::DownloadTimes;

const HEADS: [&str; 5] = [
    "",
    "share of parallel curl's rate",
    "share of curl's rate",
    "MiB/s (least to most)",
    "peak memory MiB",
];

/// The measurements of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgentSample {
    pub(crate) agent: DownloadTimes,
    /// The durations of curl, one after the other and in parallel; `None` without curl.
    pub(crate) curl: Option<[Duration; 2]>,
}

/// A function that returns one of the durations of a round in seconds.
type Seconds = fn(&AgentSample) -> Option<f64>;

const SIDES: [(&str, Seconds); 3] = [
    ("agent, archive verified", |round| {
        Some(round.agent.duration.as_secs_f64())
    }),
    ("curl, in parallel", |round| {
        Some(round.curl?[1].as_secs_f64())
    }),
    ("curl, one after the other", |round| {
        Some(round.curl?[0].as_secs_f64())
    }),
];

/// Returns a table in Markdown with the medians. A share is the median of the rounds' shares.
pub(crate) fn table(samples: &[AgentSample], bytes: u64) -> Table {
    let peak_kib = samples.iter().map(|round| round.agent.peak_kib).max();
    let [_, (_, parallel), (_, one)] = SIDES;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(HEADS);
    for (index, (name, seconds)) in SIDES.into_iter().enumerate() {
        let share = |of: Seconds| {
            let shares = samples
                .iter()
                .filter_map(|round| Some(of(round)? / seconds(round)?));
            format!("{:.2}", median(shares))
        };
        let peak = match peak_kib {
            Some(peak_kib) if index == 0 => peak_kib.div_ceil(1024).to_string(),
            _ => String::new(),
        };
        let figures = [
            share(parallel),
            share(one),
            spread_with(0, rates(samples, bytes, seconds)),
            peak,
        ];
        let figures = figures.map(|figure| Cell::new(figure).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(name)).chain(figures));
    }
    table
}

/// Returns the rates of all sides.
pub(crate) fn figure(samples: &[AgentSample], bytes: u64) -> Figure {
    let bars = SIDES.into_iter().map(|(name, seconds)| {
        let rates = rates(samples, bytes, seconds);
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
            samples.len()
        ))
        .group("", bars)
}

/// Returns the rate of each round in MiB/s.
fn rates(samples: &[AgentSample], bytes: u64, seconds: Seconds) -> impl Iterator<Item = f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "packages are far below 2^52 bytes"
    )]
    let mib = bytes as f64 / f64::from(1 << 20);
    let seconds = samples.iter().filter_map(seconds);
    seconds.map(move |seconds| mib / seconds)
}
