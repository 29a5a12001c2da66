//! The measurements of the runs, as a table and as figures.

use comfy_table::{Cell, CellAlignment, Table, presets};
use packcast_tests::cpu;
use packcast_tests::figure::{Bar, Figure};
use packcast_tests::measure::{median, spread_with};

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

/// The measurements of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerSample {
    requests_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// The processor time of the server's processes, without the load generator.
    cpu_s_per_1000: f64,
    bytes_per_reply: f64,
}

/// The runs with one number of connections: the samples of each server, Packcast first.
#[derive(Debug)]
pub(crate) struct ConnectionSamples {
    pub(crate) connections: u32,
    pub(crate) servers: Vec<(&'static str, Vec<ServerSample>)>,
}

/// One of the measured figures.
struct Measure {
    decimals: usize,
    is_more_better: bool,
    of: fn(&ServerSample) -> f64,
}

/// The measured figures, in the order of the table.
const MEASURES: [Measure; 5] = [
    Measure {
        decimals: 0,
        is_more_better: true,
        of: |sample| sample.requests_per_s,
    },
    Measure {
        decimals: 2,
        is_more_better: false,
        of: |sample| sample.p50_ms,
    },
    Measure {
        decimals: 2,
        is_more_better: false,
        of: |sample| sample.p99_ms,
    },
    Measure {
        decimals: 3,
        is_more_better: false,
        of: |sample| sample.cpu_s_per_1000,
    },
    Measure {
        decimals: 0,
        is_more_better: false,
        of: |sample| sample.bytes_per_reply,
    },
];

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
}

impl Measure {
    /// Returns the median of the rounds' ratios; above 1 is in favour of the first server.
    fn ratio(&self, ours: &[ServerSample], others: &[ServerSample]) -> f64 {
        let ratios = ours.iter().zip(others).map(|(ours, other)| {
            let ratio = (self.of)(ours) / (self.of)(other);
            if self.is_more_better {
                ratio
            } else {
                ratio.recip()
            }
        });
        median(ratios)
    }
}

/// Returns a table in Markdown with the medians and their spread, after the ratios.
pub(crate) fn table(measured: &[ConnectionSamples]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(HEADS);
    for it in measured {
        let [(_, ours), (_, others)] = &it.servers[..] else {
            continue;
        };
        let ratios = MEASURES.map(|measure| format!("{:.1}", measure.ratio(ours, others)));
        table.add_row(row(it.connections, "ratio", ratios));
    }
    for it in measured {
        for (server, samples) in &it.servers {
            let figures = MEASURES
                .map(|measure| spread_with(measure.decimals, samples.iter().map(measure.of)));
            table.add_row(row(it.connections, server, figures));
        }
    }
    table
}

/// Returns the figures of requests, latency and processor time.
pub(crate) fn figures(measured: &[ConnectionSamples], devices: u32, seconds: u32) -> [Figure; 3] {
    let [requests, _, p99, cpu, _] = MEASURES;
    [
        (
            "requests",
            "Check-ins",
            "requests/s, more is better",
            requests,
        ),
        (
            "latency",
            "Latency of check-ins",
            "p99 in ms, less is better",
            p99,
        ),
        (
            "cpu",
            "Processor time of check-ins",
            "CPU s per 1,000 requests, less is better",
            cpu,
        ),
    ]
    .map(|(name, title, unit, measure)| {
        let (name, title) = (format!("check-in-{name}"), format!("{title} of OCS agents"));
        let figure = Figure::new(&name, &title, unit).note(format!(
            "{devices} devices with ten packages each; runs of {seconds} s in turn"
        ));
        measured.iter().fold(figure, |figure, it| {
            let bars = it
                .servers
                .iter()
                .zip(0..)
                .map(|((server, samples), number)| {
                    let values = samples.iter().map(measure.of);
                    if number == 0 {
                        Bar::ours(server, values)
                    } else {
                        Bar::of_another(server, values)
                    }
                });
            let plural = if it.connections == 1 { "" } else { "s" };
            let heading = format!("{} connection{plural}", it.connections);
            figure.group(&heading, bars.collect())
        })
    })
}

fn row(connections: u32, server: &str, figures: [String; 5]) -> Vec<Cell> {
    let number = |figure: String| Cell::new(figure).set_alignment(CellAlignment::Right);
    let head = [number(connections.to_string()), Cell::new(server)];
    head.into_iter().chain(figures.map(number)).collect()
}
