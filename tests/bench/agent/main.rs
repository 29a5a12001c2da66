//! The agent downloads a large package, and `curl` the same bytes from the same edge; then it
//! deploys a small one.
//!
//! They take turns, so that what else the machine does hits both. What is measured and what it
//! shows is in `docs/benchmarks.md`.

mod curl;
mod download;
mod sample;
mod small;

use std::io::{self, Write as _};

use clap::Parser;
use packcast_tests::world::World;

use crate::curl::Curl;
use crate::download::Download;
use crate::sample::Sample;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Let the agent download and verify a package beside curl, and deploy a small one
#[derive(Parser)]
#[command(bin_name = "just bench-agent")]
struct Args {
    /// How large the package is, in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u32,
    /// How often each of them downloads it
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only show that it works: 8 MiB, once
    #[arg(long, conflicts_with_all = ["mib", "rounds"])]
    smoke: bool,
    /// Cargo says it to every benchmark
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
    let download = Download::publish(&world, mib);
    let mut samples = Vec::new();
    for round in 0..rounds {
        let agent = download.run(round);
        let (one, parallel) = (Curl::OneByOne, Curl::Parallel);
        let urls = download.urls();
        samples.push(Sample {
            agent,
            curl: one.fetch(&world, &urls),
            curl_parallel: parallel.fetch(&world, &urls),
        });
    }
    let small = small::times(&world, if args.smoke { 1 } else { 15 });
    let mut out = io::stdout();
    writeln!(out, "{}", sample::table(&samples, download.bytes()))?;
    writeln!(out, "{}", small::told(&small))
}
