//! Asks a console for each page over many devices and packages, and prints the time and the read units
//! of each.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use packcast_tests::console::bench::{self, PageAnswer};

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Numbers of devices and packages with `--smoke`.
const FEW_DEVICES: u32 = 200;
const FEW_PACKAGES: u32 = 20;

/// Ask a console for each page over many devices and packages, on the engine of packcast local
///
/// The command fails if a first page reads more than 50 read units, if a page scans or writes the
/// table, or if the footer of a page states another cost.
#[derive(Parser)]
#[command(bin_name = "just bench-console")]
struct Args {
    /// Number of devices
    #[arg(long, default_value_t = 100_000)]
    devices: u32,
    /// Number of packages
    #[arg(long, default_value_t = 1_000)]
    packages: u32,
    /// Run with 200 devices and 20 packages, only to show that the benchmark works
    #[arg(long, conflicts_with_all = ["devices", "packages"])]
    smoke: bool,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let (devices, packages) = if args.smoke {
        (FEW_DEVICES, FEW_PACKAGES)
    } else {
        (args.devices, args.packages)
    };
    let mut out = io::stdout();
    writeln!(out, "| page | time | requests | read units | size |")?;
    writeln!(out, "|---|---:|---:|---:|---:|")?;
    // Ignored: standard output may be closed.
    let report = bench::run(PROGRAM, devices, packages, |answer| {
        drop(print(&mut out, answer));
    });
    let loading_s = report.loading_s;
    writeln!(
        out,
        "\n{devices} devices and {packages} packages, loaded in {loading_s:.1} s"
    )?;
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

fn print(out: &mut impl io::Write, answer: &PageAnswer) -> io::Result<()> {
    let PageAnswer {
        page,
        seconds,
        bytes,
        requests,
        read_units,
        ..
    } = answer;
    let (milliseconds, kib) = (seconds * 1_000.0, bytes.div_ceil(1_024));
    // A page with a fault has no figures.
    match answer.fault() {
        None => writeln!(
            out,
            "| `{page}` | {milliseconds:.0} ms | {requests} | {read_units:.1} | {kib} KiB |"
        ),
        Some(fault) => writeln!(out, "| `{page}` | {fault} | | | |"),
    }
}
