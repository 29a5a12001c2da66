//! A comparison of downloads: the agent and `curl` download the same package from the same edge.
//! Then the agent deploys small packages, and a service is idle.
//!
//! Agent and `curl` take turns, so that other load of the machine affects both. The measurements
//! and their meaning are in `docs/performance.md`.

mod curl;
mod download;
mod idle;
mod sample;
mod small;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use packcast_tests::figure::folder;
use packcast_tests::measure::{self, path_from_root, program_from_root};
use packcast_tests::world::World;

use crate::curl::Curl;
use crate::download::LargeDownload;
use crate::idle::Idle;
use crate::sample::Round;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Let the agent download and verify a package, compare with curl, deploy small packages, and be idle
#[derive(Parser)]
#[command(bin_name = "just bench-agent")]
struct Args {
    /// Size of the package, in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u32,
    /// Number of downloads by the agent and by curl
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Time for which the idle agent is observed between check-ins, in seconds
    #[arg(long, default_value_t = 120)]
    idle_s: u64,
    /// Observe only the idle agent
    #[arg(long)]
    only_idle: bool,
    /// The program packcast-agent whose idle service is measured, instead of the agent in the
    /// benchmark's own program
    #[arg(long, value_name = "FILE", value_parser = program_from_root::<PathBuf>)]
    agent: Option<PathBuf>,
    /// Run once with 8 MiB and two idle seconds, only to show that the benchmark works
    #[arg(long, conflicts_with_all = ["mib", "rounds", "idle_s"])]
    smoke: bool,
    /// The program to measure, instead of one without link-time optimisation
    #[arg(long, value_name = "FILE", value_parser = program_from_root::<String>, default_value = PROGRAM, hide_default_value = true)]
    program: String,
    /// Write the figure to this folder, as values and as a plot
    #[arg(long, value_name = "FOLDER", value_parser = path_from_root::<PathBuf>)]
    plot: Option<PathBuf>,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let world = World::start(&args.program);
    if !args.only_idle {
        compare_downloads(&world, &args)?;
    }
    observe_idle(&world, &args)
}

/// Observes the idle agent, and fails if it exceeds a limit. The program of the benchmark contains more
/// than an agent, so it has no limits.
fn observe_idle(world: &World, args: &Args) -> io::Result<ExitCode> {
    let time = Duration::from_secs(if args.smoke { 2 } else { args.idle_s });
    let idle = Idle::measure(world, args.agent.as_deref(), time)?;
    let mut out = io::stdout();
    writeln!(out, "{}", idle.summary())?;
    let exceeded = idle.exceeded();
    if args.agent.is_none() || exceeded.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "FAILED: {}", exceeded.join(", "))?;
    Ok(ExitCode::FAILURE)
}

fn compare_downloads(world: &World, args: &Args) -> io::Result<()> {
    let (mib, rounds) = if args.smoke {
        (8, 1)
    } else {
        (args.mib, args.rounds.max(1))
    };
    let mut out = io::stdout();
    writeln!(out, "{}, {mib} MiB, {rounds} rounds\n", measure::load())?;
    let has_curl = measure::has_program("curl", "sudo apt-get install curl");
    let download = LargeDownload::publish(world, mib);
    let mut measured = Vec::new();
    for round in 0..rounds {
        measure::settle(world.directory(), download.bytes())?;
        let agent = download.run(round);
        let curl = |mode: Curl| -> io::Result<_> {
            measure::settle(world.directory(), download.bytes())?;
            Ok(mode.fetch(world, &download))
        };
        let curl = if has_curl {
            Some([curl(Curl::OneByOne)?, curl(Curl::Parallel)?])
        } else {
            None
        };
        measured.push(Round { agent, curl });
    }
    let small = small::times(world, if args.smoke { 1 } else { 15 });
    writeln!(out, "{}", sample::table(&measured, download.bytes()))?;
    writeln!(out, "\n{}\n{}", small::summary(&small), measure::load())?;
    sample::figure(&measured, download.bytes())
        .save(folder(args.plot.clone(), args.smoke).as_deref())
}
