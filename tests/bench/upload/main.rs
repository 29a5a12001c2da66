//! A comparison of uploads to S3: `packcast publish`, `rclone copy` and `aws s3 cp --recursive` store the
//! same fragments on the same engine in turn.
//!
//! Packcast also reads, checks and splits the archive; the others find the fragments as files. The
//! measurements and their meaning are in `docs/performance.md`.

mod engine;
mod side;

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use comfy_table::{Cell, CellAlignment, Table, presets};
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::figure::{Bar, Figure, folder};
use packcast_tests::measure::{self, median, path_from_root, program_from_root, spread};
use packcast_tests::process::text;
use packcast_tests::world::World;

use crate::engine::Engine;
use crate::side::{Side, Upload, UploadSample};

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Length of a fragment in bytes
const FRAGMENT_BYTES: usize = 1 << 20;

const INSTALL_ENGINE: &str =
    "cargo install --locked --root target/tools --features binary --version 0.14.1 s3s-fs";

const HEADS: [&str; 6] = [
    "",
    "times packcast",
    "seconds (least to most)",
    "CPU s",
    "CPU s of the engine",
    "peak memory MiB",
];

/// Upload an archive to S3 beside rclone and the AWS command line
///
/// All files are in TMPDIR. Each side is checked before a figure is printed: the bytes of all objects.
#[derive(Parser)]
#[command(bin_name = "just bench-upload")]
struct Args {
    /// Size of the archive, in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u32,
    /// Number of uploads of each side
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The engine that stands in for S3, instead of an installed s3s-fs
    #[arg(long, value_name = "FILE", value_parser = program_from_root::<PathBuf>)]
    engine: Option<PathBuf>,
    /// Run once with 8 MiB, only to show that the benchmark works
    #[arg(long, conflicts_with_all = ["mib", "rounds"])]
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
    let (mib, rounds) = if args.smoke {
        (8, 1)
    } else {
        (args.mib, args.rounds.max(1))
    };
    let engine = args.engine.unwrap_or_else(|| "s3s-fs".into());
    if !measure::has_program(text(&engine), INSTALL_ENGINE) {
        return Ok(ExitCode::SUCCESS);
    }
    let world = World::start(&args.program);
    let engine = Engine::start(&engine, &world)?;
    engine.configure(&world);
    let upload = prepare(&world, mib)?;
    let mut out = io::stdout();
    writeln!(
        out,
        "{}, {mib} MiB, files {}, {rounds} rounds\n",
        measure::load(),
        measure::medium(world.directory())
    )?;
    let sides = Side::available();
    let mut samples: Vec<(Side, Vec<UploadSample>)> =
        sides.into_iter().map(|side| (side, Vec::new())).collect();
    for round in 0..rounds {
        for (side, samples) in &mut samples {
            measure::settle(world.directory(), u64::from(mib) << 20)?;
            samples.push(side.run(&world, &engine, &upload, round)?);
        }
    }
    writeln!(out, "{}\n\n{}", table(&samples), measure::load())?;
    figure(&samples, mib, rounds).save(folder(args.plot, args.smoke).as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the archive, and its fragments as files.
fn prepare(world: &World, mib: u32) -> io::Result<Upload> {
    let content = noise(3, (mib as usize) << 20);
    let archive = tar_gz(&[("run.sh", b"#!/bin/sh\n"), ("content", &content)]);
    let archive = PathBuf::from(world.file("large.tar.gz", &archive));
    let folder = world.directory().join("fragments");
    fs::create_dir(&folder)?;
    let count = split(&archive, &folder)?;
    Ok(Upload {
        archive,
        folder,
        count,
    })
}

fn split(archive: &Path, folder: &Path) -> io::Result<usize> {
    let mut file = File::open(archive)?;
    for count in 0.. {
        let mut fragment = Vec::new();
        let limit = FRAGMENT_BYTES as u64;
        Read::by_ref(&mut file)
            .take(limit)
            .read_to_end(&mut fragment)?;
        if fragment.is_empty() {
            return Ok(count);
        }
        fs::write(folder.join((count + 1).to_string()), fragment)?;
    }
    Ok(0)
}

/// Returns a table in Markdown with the medians. A ratio is the median of the rounds' ratios.
fn table(samples: &[(Side, Vec<UploadSample>)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(HEADS);
    let seconds = |sample: &UploadSample| sample.program.took.as_secs_f64();
    let packcast = samples.first().map_or(&[][..], |(_, samples)| samples);
    for (side, samples) in samples {
        let ratios = samples.iter().zip(packcast);
        let ratios = ratios.map(|(sample, packcast)| seconds(sample) / seconds(packcast));
        let peak_kib = samples.iter().map(|it| it.program.peak_kib).max();
        let figures = [
            format!("{:.2}", median(ratios)),
            spread(samples.iter().map(seconds)),
            format!(
                "{:.2}",
                median(samples.iter().map(|it| it.program.cpu.as_secs_f64()))
            ),
            format!(
                "{:.2}",
                median(samples.iter().map(|it| it.engine_cpu.as_secs_f64()))
            ),
            peak_kib.unwrap_or(0).div_ceil(1024).to_string(),
        ];
        let figures = figures.map(|figure| Cell::new(figure).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(side)).chain(figures));
    }
    table
}

fn figure(samples: &[(Side, Vec<UploadSample>)], mib: u32, rounds: usize) -> Figure {
    let bars = samples.iter().map(|(side, samples)| {
        let seconds = samples.iter().map(|it| it.program.took.as_secs_f64());
        let name = side.to_string();
        match side {
            Side::Packcast => Bar::ours(&name, seconds),
            Side::Rclone | Side::Aws => Bar::of_another(&name, seconds),
        }
    });
    let title = format!("Uploading {mib} MiB in fragments of 1 MiB to S3 (s3s-fs on loopback)");
    Figure::new("upload", &title, "seconds, less is better")
        .note(format!(
            "packcast also reads, checks and splits the archive; {rounds} rounds"
        ))
        .group("", bars.collect())
}
