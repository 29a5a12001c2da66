//! Check-ins of ten thousand devices with ten packages each, at Packcast and at the OCS Inventory
//! server, where it is installed.
//!
//! The servers take turns, so that other load of the machine affects both. The measurements and
//! their meaning are in `docs/performance.md`.

mod load;
mod sample;
mod server;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Parser;
use packcast_tests::figure;
use packcast_tests::measure::{self, path_from_root, program_from_root};

use crate::load::Load;
use crate::sample::{ConnectionSamples, ServerSample, figures, table};
use crate::server::{MeasuredServer, PROGRAM};

const CONNECTIONS: [u32; 3] = [1, 8, 32];

/// Replay the check-ins of OCS agents, and print how fast they are answered
#[derive(Parser)]
#[command(bin_name = "just bench-check-in")]
struct Args {
    /// Number of devices
    #[arg(long, default_value_t = 10_000)]
    devices: u32,
    /// Duration of each run
    #[arg(long, default_value_t = 8)]
    seconds: u32,
    /// Number of runs of each server with each number of connections
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Run once with 100 devices for a second, Packcast only, to show that the benchmark works
    #[arg(long, conflicts_with_all = ["devices", "seconds", "rounds"])]
    smoke: bool,
    /// The program to measure, instead of one without link-time optimisation
    #[arg(long, value_name = "FILE", value_parser = program_from_root::<String>, default_value = PROGRAM, hide_default_value = true)]
    program: String,
    /// Write the figures to this folder, as values and as plots
    #[arg(long, value_name = "FOLDER", value_parser = path_from_root::<PathBuf>)]
    plot: Option<PathBuf>,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    if !measure::has_program("wrk", "sudo apt-get install wrk") {
        return Ok(());
    }
    let (devices, seconds, rounds) = if args.smoke {
        (100, 1, 1)
    } else {
        (args.devices, args.seconds, args.rounds.max(1))
    };
    let mut out = io::stdout();
    writeln!(
        out,
        "{}, {devices} devices, {rounds} rounds of {seconds} s\n",
        measure::load()
    )?;
    let folder = tempfile::tempdir()?;
    let load = Load::of(devices, folder.path());
    let mut servers = vec![MeasuredServer::packcast(&args.program, &load, devices)];
    if !args.smoke {
        servers.extend(MeasuredServer::ocs(&load, devices, folder.path()));
    }
    for server in &servers {
        load.expect_packages(&server.address, server::PACKAGES);
    }
    let measured: Vec<ConnectionSamples> = CONNECTIONS
        .into_iter()
        .map(|connections| ConnectionSamples {
            connections,
            servers: samples(&servers, &load, connections, seconds, rounds),
        })
        .collect();
    writeln!(out, "{}\n\n{}", table(&measured), measure::load())?;
    let folder = figure::folder(args.plot, args.smoke);
    for figure in figures(&measured, devices, seconds) {
        figure.save(folder.as_deref())?;
    }
    Ok(())
}

/// Returns the samples of each server. The servers take turns.
fn samples(
    servers: &[MeasuredServer],
    load: &Load,
    connections: u32,
    seconds: u32,
    rounds: usize,
) -> Vec<(&'static str, Vec<ServerSample>)> {
    let mut samples: Vec<_> = servers
        .iter()
        .map(|server| (server.name, Vec::new()))
        .collect();
    for _ in 0..rounds {
        for (server, (_, samples)) in servers.iter().zip(&mut samples) {
            samples.push(ServerSample::take(server, load, connections, seconds));
        }
    }
    samples
}
