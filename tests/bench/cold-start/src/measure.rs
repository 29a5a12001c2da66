//! Measurements of a function.

use std::fs::{self, File};
use std::io::{self, Cursor};
use std::path::Path;
use std::time::Duration;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// One start of a function.
pub(crate) struct Start {
    /// Time from before the process was created to its first request for work.
    pub(crate) time: Duration,
    /// Memory of the process at that time, including pages of files.
    pub(crate) memory_bytes: u64,
}

/// Returns the memory of a process, from `/proc`.
pub(crate) fn memory_bytes(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    let kibibytes: u64 = kibibytes.ok_or_else(|| io::Error::other("/proc has no VmRSS"))?;
    Ok(kibibytes * 1024)
}

/// Returns the size of the archive that is deployed for a program.
pub(crate) fn zipped_bytes(program: &Path) -> io::Result<u64> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("bootstrap", SimpleFileOptions::default())?;
    io::copy(&mut File::open(program)?, &mut archive)?;
    Ok(archive.finish()?.into_inner().len() as u64)
}

/// Returns the upper median.
pub(crate) fn median<T: Ord>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.swap_remove(values.len() / 2)
}
