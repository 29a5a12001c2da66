//! Unpacks an archive as the agent does; `tests/archives` compares the result with other programs.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use packcast_agent::unpack::{Durability, examine, unpack};
use packcast_archive::Limits;
use packcast_protocol::{ArchiveFormat, with_causes};

/// Unpack an archive as the agent does
#[derive(Parser)]
struct Args {
    /// Archive; its name ends with .zip or .tar.gz
    archive: PathBuf,
    /// Folder to unpack into
    folder: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // An error of standard error cannot be reported.
            let _ = writeln!(io::stderr(), "{}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let format = match args.archive.extension() {
        Some(end) if end == "zip" => ArchiveFormat::Zip,
        _ => ArchiveFormat::TarGz,
    };
    let limits = Limits::default();
    examine(format, File::open(&args.archive)?, &limits, |_| {})?;
    let file = File::open(&args.archive)?;
    unpack(format, file, &limits, &args.folder, Durability::Temporary)
        .map_err(|unfinished| unfinished.cause)?;
    Ok(())
}
