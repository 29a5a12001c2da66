//! Stores many small files as the agent does, and compares the time with `tar` and one `sync`.
//!
//! Agent and `tar` take turns, so that other load of the machine affects both. The ratio is the
//! median of the rounds' ratios.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use packcast_agent::unpack::{Durability, examine, unpack};
use packcast_archive::Limits;
use packcast_protocol::ArchiveFormat;

/// The size of each file, in bytes.
const FILE_BYTES: usize = 2048;

/// The number of files in each folder.
const FILES_PER_FOLDER: usize = 100;

/// Store many small files, and compare the time with that of tar and sync
#[derive(Parser)]
#[command(bin_name = "just bench-store")]
struct Args {
    /// Number of files; repeat for several archives
    #[arg(long, default_values_t = [10_000, 60_000])]
    files: Vec<usize>,
    /// Number of rounds for each archive
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder of the files; its volume is measured
    #[arg(long, default_value = ".")]
    folder: std::path::PathBuf,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut out = io::stdout();
    for files in args.files {
        let place = tempfile::tempdir_in(&args.folder)?;
        let archive = place.path().join("archive.tar.gz");
        write_archive(&archive, files)?;
        let mut rounds = Vec::new();
        for round in 0..args.rounds.max(1) {
            let agent = store(&archive, &place.path().join(format!("agent-{round}")))?;
            let tar = tar_and_sync(&archive, &place.path().join(format!("tar-{round}")))?;
            rounds.push((agent, tar));
        }
        let ratio = |(agent, tar): &(Duration, Duration)| agent.as_secs_f64() / tar.as_secs_f64();
        writeln!(
            out,
            "{files} files: agent {:.2} s, tar and sync {:.2} s, ratio {:.2}",
            median(rounds.iter().map(|(agent, _)| agent.as_secs_f64())),
            median(rounds.iter().map(|(_, tar)| tar.as_secs_f64())),
            median(rounds.iter().map(ratio)),
        )?;
    }
    Ok(())
}

fn write_archive(path: &Path, files: usize) -> io::Result<()> {
    let gzip = GzEncoder::new(File::create(path)?, Compression::default());
    let mut archive = tar::Builder::new(gzip);
    for number in 0..files {
        let mut content = vec![0; FILE_BYTES];
        let text = format!("file {number}\n");
        for (to, from) in content.iter_mut().zip(text.bytes().cycle()) {
            *to = from;
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(FILE_BYTES as u64);
        let name = format!("folder-{}/file-{number}", number / FILES_PER_FOLDER);
        archive.append_data(&mut header, name, content.as_slice())?;
    }
    archive.into_inner()?.finish()?.sync_all()
}

/// Stores the archive in a new folder, with the check of the whole archive that comes before.
fn store(archive: &Path, folder: &Path) -> io::Result<Duration> {
    let limits = Limits::default();
    let started = Instant::now();
    examine(ArchiveFormat::TarGz, File::open(archive)?, &limits, |_| {})
        .map_err(io::Error::other)?;
    let file = File::open(archive)?;
    unpack(
        ArchiveFormat::TarGz,
        file,
        &limits,
        folder,
        Durability::Lasting,
    )
    .map_err(|unfinished| io::Error::other(unfinished.cause))?;
    let took = started.elapsed();
    fs::remove_dir_all(folder)?;
    sync(folder.parent().unwrap_or(folder))?;
    Ok(took)
}

fn tar_and_sync(archive: &Path, folder: &Path) -> io::Result<Duration> {
    fs::create_dir(folder)?;
    let started = Instant::now();
    run(Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(folder))?;
    sync(folder)?;
    let took = started.elapsed();
    fs::remove_dir_all(folder)?;
    sync(folder.parent().unwrap_or(folder))?;
    Ok(took)
}

fn sync(folder: &Path) -> io::Result<()> {
    run(Command::new("sync").arg("--file-system").arg(folder))
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{command:?}: {status}")))
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
