//! Asks for lists of many devices with each filter, and prints the time and the read units of each.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use packcast_tests::lists::{self, ListAnswer};

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Number of devices with `--smoke`.
const FEW: u32 = 200;

/// Ask for lists of many devices, on the engine of packcast local
///
/// The command fails if a list has a wrong number of rows, or if it scans or writes the table.
#[derive(Parser)]
#[command(bin_name = "just bench-lists")]
struct Args {
    /// Number of devices
    #[arg(long, default_value_t = 100_000)]
    devices: u32,
    /// Run with 200 devices, only to show that the benchmark works
    #[arg(long, conflicts_with = "devices")]
    smoke: bool,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let devices = if args.smoke { FEW } else { args.devices };
    let mut out = io::stdout();
    writeln!(out, "| command | rows | time | requests | read units |")?;
    writeln!(out, "|---|---:|---:|---:|---:|")?;
    // Ignored: standard output may be closed.
    let report = lists::run(PROGRAM, devices, |answer| drop(print(&mut out, answer)));
    let (devices, loading_s) = (report.devices, report.loading_s);
    writeln!(out, "\n{devices} devices, loaded in {loading_s:.1} s")?;
    let faults = report.faults();
    for fault in &faults {
        writeln!(out, "failed: {fault}")?;
    }
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(out: &mut impl io::Write, answer: &ListAnswer) -> io::Result<()> {
    let ListAnswer {
        command,
        seconds,
        requests,
        read_units,
        rows: [rows, _],
        ..
    } = answer;
    // A list with a wrong number of rows has no figures.
    match answer.fault() {
        None => writeln!(
            out,
            "| `{command}` | {rows} | {seconds:.1} s | {requests} | {read_units:.0} |"
        ),
        Some(fault) => writeln!(out, "| `{command}` | {fault} | | | |"),
    }
}
