//! A constant rate of check-ins at `packcast local`, without faults of the table and then with them.
//!
//! The requests have fixed times, whether or not earlier ones are answered. The latency of a request
//! runs from its time to the end of its answer, so a server that falls behind shows it.

mod client;
mod devices;
mod sample;
mod system;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::client::{LoadPlan, drive};
use crate::devices::Devices;
use crate::sample::{HEAD, LoadSample};
use crate::system::{FaultySystem, LoadedSystem};

/// Number of rows for each run.
const ROWS: u32 = 10;

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
    /// Number of devices; every fourth has a Packcast agent, the others an OCS agent
    #[arg(long, default_value_t = 2_000)]
    devices: u32,
    /// Number of open connections
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Run with a few devices and seconds, to show that the benchmark works
    #[arg(long, conflicts_with_all = ["rate", "seconds", "devices", "connections"])]
    smoke: bool,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl From<&Args> for LoadPlan {
    fn from(args: &Args) -> Self {
        if args.smoke {
            return Self {
                rate: 50,
                duration: Duration::from_secs(2),
                rows: 2,
                connections: 4,
            };
        }
        Self {
            rate: args.rate,
            duration: Duration::from_secs(args.seconds.into()),
            rows: ROWS,
            connections: args.connections,
        }
    }
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let plan = LoadPlan::from(&args);
    let runtime = tokio::runtime::Runtime::new()?;
    let system = LoadedSystem::start();
    let devices = if args.smoke { 20 } else { args.devices };
    let devices = Devices::create(devices, &system);
    let (connections, address) = (plan.connections, system.address());
    runtime.block_on(devices.settle(&system.tls(), address, connections));

    let mut out = io::stdout();
    writeln!(out, "Without faults, in packcast local:\n\n{HEAD}")?;
    let is_answered = run(&mut out, &runtime, &plan, &devices, &system, None)?;
    let faulty = runtime.block_on(FaultySystem::start(&system));
    writeln!(out, "\nWith faults of the table, in the process of the load:\n\n{HEAD}")?;
    run(&mut out, &runtime, &plan, &devices, &system, Some(&faulty))?;
    writeln!(out, "\n{}", faulty.injected())?;
    // With faults, an error is an answer that devices expect: they check in again.
    Ok(if is_answered {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs one load, and prints its rows. Returns false if a request was not answered with success.
fn run(
    out: &mut impl io::Write,
    runtime: &tokio::runtime::Runtime,
    plan: &LoadPlan,
    devices: &Devices,
    system: &LoadedSystem,
    faulty: Option<&FaultySystem>,
) -> io::Result<bool> {
    let (address, process) = match faulty {
        None => (system.address(), system.process()),
        Some(faulty) => (faulty.address(), std::process::id()),
    };
    let samples = runtime.block_on(drive(plan, devices, &system.tls(), address, process));
    for sample in &samples {
        writeln!(out, "{sample}")?;
    }
    let whole = LoadSample::whole(&samples);
    writeln!(out, "{whole}")?;
    Ok(whole.is_answered())
}
