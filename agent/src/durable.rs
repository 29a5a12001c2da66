//! Files that are either the old ones or the new ones, whenever the power fails.

use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::platform;

/// Replaces a file in one step; only the agent's user can read it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    written(path, bytes)?.persist(path)?;
    sync_parent(path)
}

/// Replaces a file by a value's JSON.
pub(crate) fn replace_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, &serde_json::to_vec(value)?)
}

/// Makes a file in one step; one that exists is left as it is, and is an error.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    written(path, bytes)?.persist_noclobber(path)?;
    sync_parent(path)
}

/// Renames a file that is complete and synchronised.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_parent(to)
}

fn written(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(parent(path)?)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    platform::sync_folder(parent(path)?)
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::other("a file has a folder"))
}
