//! A comparison of publishing: `packcast publish`, the OCS console's package builder, and `md5sum` work
//! on the same archive in turn. The floor of the machine is computed alone.
//!
//! The measurements and their meaning are in `docs/performance.md`.

mod archive;
mod floor;
mod sample;
mod side;

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use packcast_tests::figure;
use packcast_tests::measure::{self, path_from_root, program_from_root};
use packcast_tests::world::World;

use crate::archive::{ArchiveKind, TestArchive};
use crate::floor::Floor;
use crate::sample::Round;
use crate::side::Side;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Length of a fragment, in MiB
const FRAGMENT_MIB: u32 = 1;

/// Publish an archive beside md5sum and beside the package builder of the OCS console
///
/// All files are in TMPDIR. Each side is checked before a figure is printed: the digest, and the bytes
/// of all fragments.
#[derive(Parser)]
#[command(bin_name = "just bench-publish")]
struct Args {
    /// Size of the archive, in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u32,
    /// Number of times that each side works
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Run once with 8 MiB, only to show that the benchmark works
    #[arg(long, conflicts_with_all = ["mib", "rounds"])]
    smoke: bool,
    /// The program to measure, instead of one without link-time optimisation
    #[arg(long, value_name = "FILE", value_parser = program_from_root::<String>, default_value = PROGRAM, hide_default_value = true)]
    program: String,
    /// Write each figure to this folder, as values and as a plot
    #[arg(long, value_name = "FOLDER", value_parser = path_from_root::<PathBuf>)]
    plot: Option<PathBuf>,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let (mib, rounds) = if args.smoke {
        (8, 1)
    } else {
        (args.mib, args.rounds.max(1))
    };
    let world = World::start(&args.program);
    let mut out = io::stdout();
    let medium = measure::medium(world.directory());
    writeln!(out, "{}, {mib} MiB, files {medium}", measure::load())?;
    let folder = figure::folder(args.plot, args.smoke);
    let sides = Side::available();
    for kind in [ArchiveKind::StoredZip, ArchiveKind::DeflatedTarGz] {
        let archive = TestArchive::write(&world, kind, mib)?;
        let measured = measure(&world, &archive, &sides, rounds)?;
        let table = sample::table(&measured);
        writeln!(out, "\n{kind}, {rounds} rounds\n{table}")?;
        sample::figure(&measured, kind, medium, mib).save(folder.as_deref())?;
        fs::remove_file(archive.path())?;
    }
    writeln!(out, "\n{}", measure::load())?;
    Ok(ExitCode::SUCCESS)
}

fn measure(
    world: &World,
    archive: &TestArchive,
    sides: &[Side],
    rounds: usize,
) -> io::Result<Vec<Round>> {
    let mut measured = Vec::new();
    for number in 0..rounds {
        let mut round = Round::default();
        for side in sides {
            measure::settle(world.directory(), archive.bytes)?;
            let sample = side.run(world, archive, number)?;
            round.sides.push((*side, sample));
        }
        measure::settle(world.directory(), archive.bytes)?;
        round.floor = Floor::measure(world.directory(), archive)?;
        measured.push(round);
    }
    Ok(measured)
}
