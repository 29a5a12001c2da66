//! A comparison of downloads: the agent and `curl` download the same package from the same edge.
//! Then the agent deploys small packages.
//!
//! Agent and `curl` take turns, so that other load of the machine affects both. The measurements
//! and their meaning are in `docs/benchmarks.md`.

mod curl;
mod download;
mod sample;
mod small;

use std::io::{self, Write as _};

use clap::Parser;
use packcast_tests::world::World;

use crate::curl::Curl;
use crate::download::LargeDownload;
use crate::sample::AgentSample;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Let the agent download and verify a package, compare with curl, and deploy small packages
#[derive(Parser)]
#[command(bin_name = "just bench-agent")]
struct Args {
    /// Size of the package, in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u32,
    /// Number of downloads by the agent and by curl
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Run once with 8 MiB, only to show that the benchmark works
    #[arg(long, conflicts_with_all = ["mib", "rounds"])]
    smoke: bool,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let (mib, rounds) = if args.smoke {
        (8, 1)
    } else {
        (args.mib, args.rounds.max(1))
    };
    let world = World::start(PROGRAM);
    let download = LargeDownload::publish(&world, mib);
    let mut samples = Vec::new();
    for round in 0..rounds {
        let agent = download.run(round);
        let (one, parallel) = (Curl::OneByOne, Curl::Parallel);
        let urls = download.urls();
        samples.push(AgentSample {
            agent,
            curl: one.fetch(&world, &urls),
            curl_parallel: parallel.fetch(&world, &urls),
        });
    }
    let small = small::times(&world, if args.smoke { 1 } else { 15 });
    let mut out = io::stdout();
    writeln!(out, "{}", sample::table(&samples, download.bytes()))?;
    writeln!(out, "{}", small::summary(&small))
}
