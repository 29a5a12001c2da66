//! The capacity that a check-in consumes, with more and more records in the table.

use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use packcast_tests::figure::{Bar, Figure, folder};
use packcast_tests::measure::path_from_root;
use packcast_tests::scale::{Scale, ScaleRow, measure};

/// Names of two series.
const PACKAGES: &str = "packages";
const DEVICES: &str = "devices";

/// The sizes of the other records while one of them grows.
const USUAL: Scale = Scale {
    finished: 10,
    packages: 100,
    devices: 100,
};

/// Print the read and write units of check-ins, with more and more finished packages of the device,
/// packages and devices
///
/// The command fails if a check-in costs more with more records.
#[derive(Parser)]
#[command(bin_name = "just bench-scale")]
struct Args {
    /// Largest number of devices; 1,000,000 need about 3 GiB of memory
    #[arg(long, default_value_t = 100_000)]
    devices: u32,
    /// Run with few records, to show that the benchmark works
    #[arg(long, conflicts_with = "devices")]
    smoke: bool,
    /// Write the figure to this folder, as values and as a plot
    #[arg(long, value_name = "FOLDER", value_parser = path_from_root::<PathBuf>)]
    plot: Option<PathBuf>,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// Returns the sizes of each series.
    fn series(&self) -> [(&'static str, Vec<Scale>); 3] {
        let (finished, packages, devices): (&[u32], &[u32], &[u32]) = if self.smoke {
            (&[0, 10], &[20, 100], &[1, 100])
        } else {
            (
                &[0, 10, 100, 1_000],
                &[100, 1_000, 10_000],
                &[100, 1_000, 10_000, 100_000, 1_000_000],
            )
        };
        let devices = devices.iter().filter(|count| **count <= self.devices);
        let of_finished = |finished: &u32| Scale {
            finished: *finished,
            packages: USUAL.packages + finished,
            ..USUAL
        };
        let of_packages = |packages: &u32| Scale {
            packages: *packages,
            ..USUAL
        };
        let of_devices = |devices: &u32| Scale {
            devices: *devices,
            ..USUAL
        };
        [
            (
                "finished packages of the device",
                finished.iter().map(of_finished).collect(),
            ),
            (PACKAGES, packages.iter().map(of_packages).collect()),
            (DEVICES, devices.map(of_devices).collect()),
        ]
    }
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let mut out = io::stdout();
    let mut is_flat = true;
    let mut figure = Figure::new(
        "scale-units",
        "Capacity of a check-in without news",
        "read units, less is better",
    )
    .note("no such check-in writes; the units do not depend on the machine".to_owned());
    for (name, scales) in args.series() {
        writeln!(out, "\n{name}:\n\n{HEAD}")?;
        let mut first: Option<Vec<ScaleRow>> = None;
        let mut bars = Vec::new();
        for scale in scales {
            let rows = measure(scale).await;
            for row in &rows {
                writeln!(out, "{}", Line { scale, row })?;
                bars.push(bar(name, scale, row));
            }
            let first = first.get_or_insert_with(|| rows.clone());
            is_flat &= rows
                .iter()
                .zip(first)
                .all(|(row, first)| row.is_at_most(first));
        }
        figure = figure.group(name, bars);
    }
    figure.save(folder(args.plot, args.smoke).as_deref())?;
    if is_flat {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "\nfailed: a check-in costs more with more records")?;
    Ok(ExitCode::FAILURE)
}

/// Returns the read units of a check-in without news, named by the records that the series grows.
fn bar(series: &str, scale: Scale, row: &ScaleRow) -> Bar {
    let count = match series {
        PACKAGES => scale.packages,
        DEVICES => scale.devices,
        _ => scale.finished,
    };
    let name = format!("{count}, {} agent", row.agent);
    Bar::ours(&name, std::iter::once(row.idle.read_units))
}

const HEAD: &str = "| agent | finished | packages | devices | check-in without news | with a new package | report |
|---|---:|---:|---:|---:|---:|---:|";

/// A row of the table, in Markdown.
struct Line<'a> {
    scale: Scale,
    row: &'a ScaleRow,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scale {
            finished,
            packages,
            devices,
        } = self.scale;
        let ScaleRow {
            agent,
            idle,
            announcing,
            reporting,
        } = self.row;
        write!(
            f,
            "| {agent} | {finished} | {packages} | {devices} | {idle} | {announcing} | {reporting} |"
        )
    }
}
