//! Lets devices check in at a constant rate, and prints latencies, errors and memory over time.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use packcast_tests::figure::{Bar, Figure, folder};
use packcast_tests::load::{self, LoadPlan, LoadSample};
use packcast_tests::measure::{self, path_from_root};

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");
/// Number of rows for each run.
const ROWS: u32 = 10;
const HEAD: &str = "| from | check-ins per second | p50 ms | p99 ms | longest ms | answered with 503 | failed | memory MiB |
|---:|---:|---:|---:|---:|---:|---:|---:|";

/// Let devices check in at a constant rate, and print latencies, errors and memory over time
#[derive(Parser)]
#[command(bin_name = "just load")]
struct Args {
    /// Check-ins per second
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// Duration of each of two runs, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Number of devices; every fourth has a Packcast agent, the others have an OCS agent
    #[arg(long, default_value_t = 2_000)]
    devices: u32,
    /// Number of open connections
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Run with a few devices and seconds, to show that the program works
    #[arg(long, conflicts_with_all = ["rate", "seconds", "devices", "connections"])]
    smoke: bool,
    /// Write the figure to this folder, as values and as a plot
    #[arg(long, value_name = "FOLDER", value_parser = path_from_root::<PathBuf>)]
    plot: Option<PathBuf>,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl From<&Args> for LoadPlan {
    fn from(args: &Args) -> Self {
        if args.smoke {
            return Self::SMOKE;
        }
        Self {
            rate: args.rate,
            duration: Duration::from_secs(args.seconds.into()),
            periods: ROWS,
            connections: args.connections,
            devices: args.devices,
        }
    }
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let plan = LoadPlan::from(&args);
    let mut out = io::stdout();
    writeln!(
        out,
        "{}, {} check-ins per second, {} devices, {} connections\n",
        measure::load(),
        plan.rate,
        plan.devices,
        plan.connections
    )?;
    let report = load::run(PROGRAM, &plan);
    writeln!(out, "Without faults, in packcast local:\n\n{HEAD}")?;
    let whole = print(&mut out, &report.without_faults)?;
    let rest = "With faults of the table, in the process of the load:";
    writeln!(out, "\n{rest}\n\n{HEAD}")?;
    print(&mut out, &report.with_faults)?;
    let injected = report.injected;
    writeln!(
        out,
        "\ninjected: {} conflicts, {} throttles, {} lost answers",
        injected.conflicts + injected.update_conflicts,
        injected.throttles,
        injected.lost_answers
    )?;
    writeln!(out, "\n{}", measure::load())?;
    figure(&plan, &report.without_faults).save(folder(args.plot, args.smoke).as_deref())?;
    Ok(if whole.is_answered() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints a row for each period, and returns the sample of the whole run.
fn print(out: &mut impl io::Write, samples: &[LoadSample]) -> io::Result<LoadSample> {
    let whole = LoadSample::whole(samples);
    for sample in samples.iter().chain([&whole]) {
        writeln!(out, "{sample}")?;
    }
    Ok(whole)
}

/// Returns the latencies of each period.
fn figure(plan: &LoadPlan, samples: &[LoadSample]) -> Figure {
    let title = format!("Latency at {} check-ins per second", plan.rate);
    let figure = Figure::new("load-latency", &title, "ms, less is better").note(format!(
        "{} devices over {} open connections, packcast local without faults",
        plan.devices, plan.connections
    ));
    samples.iter().fold(figure, |figure, sample| {
        let from = sample.from.unwrap_or_default().as_secs();
        let bar = |name, hundredths| {
            let latency = sample.latency_ms(hundredths);
            Bar::ours(name, std::iter::once(latency))
        };
        let bars = vec![bar("p50", 50), bar("p99", 99)];
        figure.group(&format!("from {from} s"), bars)
    })
}
