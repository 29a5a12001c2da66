//! The measurements of the rounds, as a table.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::download::DownloadTimes;

const HEADS: [&str; 5] = [
    "",
    "MiB/s",
    "share of curl's rate",
    "share of parallel curl's",
    "peak memory MiB",
];

/// The measurements of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgentSample {
    pub(crate) agent: DownloadTimes,
    pub(crate) curl: Duration,
    pub(crate) curl_parallel: Duration,
}

/// A function that returns one of the durations of a round.
type Time = fn(&AgentSample) -> Duration;

/// Returns a table in Markdown with the medians. A share is the median of the rounds' shares.
pub(crate) fn table(samples: &[AgentSample], bytes: u64) -> Table {
    #[expect(
        clippy::cast_precision_loss,
        reason = "packages are far below 2^52 bytes"
    )]
    let mib = bytes as f64 / f64::from(1 << 20);
    let rows: [(&str, Time); 4] = [
        ("agent, each fragment verified", |round| {
            round.agent.fragments
        }),
        ("agent, whole archive verified", |round| round.agent.archive),
        ("curl, one after the other", |round| round.curl),
        ("curl, in parallel", |round| round.curl_parallel),
    ];
    let peak_kib = samples.iter().map(|round| round.agent.peak_kib).max();
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(HEADS);
    for (index, (name, time)) in rows.into_iter().enumerate() {
        let seconds = |round: &AgentSample| time(round).as_secs_f64();
        let figures = [
            format!("{:.0}", mib / median(samples.iter().map(seconds))),
            share(samples.iter().map(|it| it.curl.as_secs_f64() / seconds(it))),
            share(
                samples
                    .iter()
                    .map(|it| it.curl_parallel.as_secs_f64() / seconds(it)),
            ),
            match peak_kib {
                Some(peak_kib) if index == 0 => format!("{}", peak_kib.div_ceil(1024)),
                _ => String::new(),
            },
        ];
        let figures = figures.map(|figure| Cell::new(figure).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(name)).chain(figures));
    }
    table
}

fn share(shares: impl Iterator<Item = f64>) -> String {
    format!("{:.2}", median(shares))
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
