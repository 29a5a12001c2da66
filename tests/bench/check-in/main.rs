//! Check-ins of ten thousand devices with ten packages each, at Packcast and at the OCS Inventory
//! server, where it is installed.
//!
//! The servers take turns, so that other load of the machine affects both. The measurements and
//! their meaning are in `docs/performance.md`.

mod cpu;
mod load;
mod sample;
mod server;

use std::io::{self, Write as _};

use clap::Parser;

use crate::load::Load;
use crate::sample::{ServerSample, table};
use crate::server::MeasuredServer;

const CONNECTIONS: [u32; 3] = [1, 8, 32];

/// Replay the check-ins of OCS agents, and print how fast they are answered
#[derive(Parser)]
#[command(bin_name = "just bench-check-in")]
struct Args {
    /// Number of devices
    #[arg(long, default_value_t = 10_000)]
    devices: u32,
    /// Duration of each of three runs
    #[arg(long, default_value_t = 12)]
    seconds: u32,
    /// Run once with 100 devices for a second, Packcast only, to show that the benchmark works
    #[arg(long, conflicts_with_all = ["devices", "seconds"])]
    smoke: bool,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The size of the measurement.
struct MeasurePlan {
    devices: u32,
    seconds: u32,
    rounds: usize,
    is_compared: bool,
}

impl From<Args> for MeasurePlan {
    fn from(args: Args) -> Self {
        if args.smoke {
            return Self {
                devices: 100,
                seconds: 1,
                rounds: 1,
                is_compared: false,
            };
        }
        Self {
            devices: args.devices,
            seconds: args.seconds,
            rounds: 3,
            is_compared: true,
        }
    }
}

fn main() -> io::Result<()> {
    let plan = MeasurePlan::from(Args::parse());
    let folder = tempfile::tempdir()?;
    let load = Load::of(plan.devices, folder.path());
    let mut servers = vec![MeasuredServer::packcast(&load, plan.devices)];
    if plan.is_compared {
        servers.extend(MeasuredServer::ocs(&load, plan.devices, folder.path()));
    }
    let mut table = table();
    for connections in CONNECTIONS {
        let medians = medians(&servers, &load, &plan, connections);
        for (server, median) in servers.iter().zip(&medians) {
            table.add_row(median.row(connections, server.name));
        }
        if let [packcast, other] = &medians[..] {
            table.add_row(packcast.ratios(connections, other));
        }
    }
    writeln!(io::stdout(), "{table}")
}

fn medians(
    servers: &[MeasuredServer],
    load: &Load,
    plan: &MeasurePlan,
    connections: u32,
) -> Vec<ServerSample> {
    let mut samples = vec![Vec::new(); servers.len()];
    for _ in 0..plan.rounds {
        for (server, samples) in servers.iter().zip(&mut samples) {
            samples.push(ServerSample::take(server, load, connections, plan.seconds));
        }
    }
    samples
        .iter()
        .map(|samples| ServerSample::median(samples))
        .collect()
}
