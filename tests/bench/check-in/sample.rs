//! The measurements of a run, and the rows of the table.

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::cpu;
use crate::load::Load;
use crate::server::MeasuredServer;

const HEADS: [&str; 7] = [
    "connections",
    "server",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "CPU s per 1,000",
    "bytes per reply",
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerSample {
    requests_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// The processor time of the server's processes, without the load generator.
    cpu_s_per_1000: f64,
    bytes_per_reply: f64,
}

/// Returns an empty table in Markdown.
pub(crate) fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(HEADS);
    table
}

impl ServerSample {
    pub(crate) fn take(
        server: &MeasuredServer,
        load: &Load,
        connections: u32,
        seconds: u32,
    ) -> Self {
        let before = cpu::used_by(&server.processes);
        let found = load.run(&server.address, connections, seconds);
        let used = cpu::used_by(&server.processes).saturating_sub(before);
        let requests = f64::from(found.requests);
        Self {
            requests_per_s: requests * 1e6 / f64::from(found.duration_us),
            p50_ms: f64::from(found.p50_us) / 1e3,
            p99_ms: f64::from(found.p99_us) / 1e3,
            cpu_s_per_1000: used.as_secs_f64() * 1e3 / requests,
            bytes_per_reply: f64::from(found.bytes) / requests,
        }
    }

    /// Returns the median of each figure separately.
    pub(crate) fn median(samples: &[Self]) -> Self {
        let median = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = samples.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            requests_per_s: median(|sample| sample.requests_per_s),
            p50_ms: median(|sample| sample.p50_ms),
            p99_ms: median(|sample| sample.p99_ms),
            cpu_s_per_1000: median(|sample| sample.cpu_s_per_1000),
            bytes_per_reply: median(|sample| sample.bytes_per_reply),
        }
    }

    pub(crate) fn row(&self, connections: u32, server: &str) -> Vec<Cell> {
        let figures = [
            format!("{:.0}", self.requests_per_s),
            format!("{:.2}", self.p50_ms),
            format!("{:.2}", self.p99_ms),
            format!("{:.3}", self.cpu_s_per_1000),
            format!("{:.0}", self.bytes_per_reply),
        ];
        row(connections, server, figures)
    }

    /// Returns a row of ratios: the requests per second of this server divided by those of the other,
    /// and all other figures of the other divided by those of this server.
    pub(crate) fn ratios(&self, connections: u32, other: &Self) -> Vec<Cell> {
        let ratios = [
            self.requests_per_s / other.requests_per_s,
            other.p50_ms / self.p50_ms,
            other.p99_ms / self.p99_ms,
            other.cpu_s_per_1000 / self.cpu_s_per_1000,
            other.bytes_per_reply / self.bytes_per_reply,
        ];
        row(
            connections,
            "ratio",
            ratios.map(|ratio| format!("{ratio:.1}")),
        )
    }
}

fn row(connections: u32, server: &str, figures: [String; 5]) -> Vec<Cell> {
    let number = |figure: String| Cell::new(figure).set_alignment(CellAlignment::Right);
    let head = [number(connections.to_string()), Cell::new(server)];
    head.into_iter().chain(figures.map(number)).collect()
}
