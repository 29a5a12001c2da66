//! Runs a fleet, and prints its counts; fails if the records differ from the model.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use packcast_testing::fault::{FaultRates, HoldTimes};
use packcast_tests::fleet::{self, CONNECTIONS, FleetReport, Options, Watch};

/// Number of differences that are printed.
const SHOWN: usize = 20;

/// Enrol a fleet, deploy packages to its groups, and compare the records with a model
#[derive(Parser)]
#[command(bin_name = "just fleet")]
struct Args {
    /// Number of devices
    #[arg(long, default_value_t = 10_000)]
    devices: u32,
    /// Seed of the plan; random by default
    #[arg(long)]
    seed: Option<u64>,
    /// Answer writes at once, so that writes of one item never meet
    #[arg(long)]
    without_conflicts: bool,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let options = Options {
        devices: args.devices,
        seed: args.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000)),
        faults: FaultRates {
            conflicts: 30,
            update_conflicts: 30,
            throttles: 10,
            lost_answers: 20,
            unprocessed: 0,
            index_lag: 300,
        },
        hold_times: (!args.without_conflicts).then_some(HoldTimes::SHORT),
    };
    let mut out = io::stdout();
    writeln!(
        out,
        "{} devices on {CONNECTIONS} connections, seed {}",
        options.devices, options.seed
    )?;
    let bar = Arc::new(PhaseBar::default());
    let watched = Arc::clone(&bar);
    let watch: Watch = Arc::new(move |name, done, total| watched.show(name, done, total));
    let report = fleet::run(options, watch).await;
    bar.clear();
    print(&mut out, &report)?;
    Ok(if report.differences.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A progress bar on terminals, nothing elsewhere.
#[derive(Default)]
struct PhaseBar(Mutex<Option<(String, ProgressBar)>>);

impl PhaseBar {
    fn show(&self, name: &str, done: usize, total: usize) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_none_or(|(phase, _)| phase != name) {
            let bar = ProgressBar::new(total as u64).with_message(name.to_owned());
            let style = ProgressStyle::with_template("{msg:14} {wide_bar} {pos}/{len} {eta}");
            bar.set_style(style.expect("the template is valid"));
            if let Some((_, before)) = shown.replace((name.to_owned(), bar)) {
                before.finish_and_clear();
            }
        }
        if let Some((_, bar)) = &*shown {
            bar.set_position(done as u64);
        }
    }

    fn clear(&self) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bar)) = shown.take() {
            bar.finish_and_clear();
        }
    }
}

fn print(out: &mut impl io::Write, report: &FleetReport) -> io::Result<()> {
    writeln!(out, "{}", phases(report))?;
    writeln!(out, "{}", groups(report))?;
    writeln!(out, "{}", packages(report))?;
    let operations: Vec<String> = report
        .operations
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    writeln!(out, "operations: {}", operations.join(", "))?;
    let injected = report.injected;
    writeln!(
        out,
        "injected: {} conflicts, {} throttles, {} lost answers, {} old answers of the index",
        injected.conflicts, injected.throttles, injected.lost_answers, injected.index_lag
    )?;
    let refused = &report.refused;
    writeln!(
        out,
        "refused because of other writes: {} transactions, {} single writes",
        refused.transactions, refused.singles
    )?;
    for difference in report.differences.iter().take(SHOWN) {
        writeln!(out, "difference: {difference}")?;
    }
    match report.differences.len() {
        0 => writeln!(out, "the records agree with the model"),
        count => writeln!(
            out,
            "the records differ from the model: {count} differences"
        ),
    }
}

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heads);
    table
}

fn row(name: &str, counts: &[u64]) -> Vec<Cell> {
    let counts = counts.iter().map(number);
    std::iter::once(Cell::new(name)).chain(counts).collect()
}

fn number(count: impl ToString) -> Cell {
    Cell::new(count).set_alignment(CellAlignment::Right)
}

fn phases(report: &FleetReport) -> Table {
    let mut table = table(&["phase", "requests", "503", "operations", "seconds"]);
    let mut whole = Duration::ZERO;
    for phase in &report.phases {
        let counts = [phase.requests, phase.refused, phase.operations as u64];
        let mut cells = row(&phase.name, &counts);
        cells.push(number(format!("{:.1}", phase.time.as_secs_f64())));
        table.add_row(cells);
        whole += phase.time;
    }
    let phases = &report.phases;
    let counts = [
        phases.iter().map(|phase| phase.requests).sum(),
        phases.iter().map(|phase| phase.refused).sum(),
        phases.iter().map(|phase| phase.operations as u64).sum(),
    ];
    let mut cells = row("all", &counts);
    cells.push(number(format!("{:.1}", whole.as_secs_f64())));
    table.add_row(cells);
    table
}

fn groups(report: &FleetReport) -> Table {
    let mut table = table(&["group", "devices", "expected"]);
    for group in &report.groups {
        table.add_row(row(&group.name, &[group.size, group.expected]));
    }
    table
}

fn packages(report: &FleetReport) -> Table {
    let mut table = table(&[
        "package",
        "assigned",
        "waiting",
        "announced",
        "withdrawn",
        "succeeded",
        "failed",
        "cancelled",
        "as expected",
    ]);
    for package in &report.packages {
        let tally = package.tally;
        let counts = [
            tally.assigned,
            tally.waiting(),
            tally.announced,
            tally.withdrawn,
            tally.succeeded,
            tally.failed,
            tally.cancelled,
        ];
        let mut cells = row(&package.name, &counts);
        let is_expected = package.tally == package.expected;
        cells.push(Cell::new(if is_expected { "yes" } else { "no" }));
        table.add_row(cells);
    }
    table
}
