//! File writes that survive a power failure: afterwards, a file is the old or the new one.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::{fault, platform};

/// Replaces a file in one step. Only the agent's user can read it.
///
/// A file must not be replaced twice at the same time. A crash leaves at most one `<file>.new`,
/// which the next replacement removes.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut left = name(path)?.to_owned();
    left.push(".new");
    // A fixed name would not be created a second time after a crash.
    match std::fs::remove_file(path.with_file_name(left)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut new = tempfile::Builder::new();
    let new = new.prefix(name(path)?).suffix(".new").rand_bytes(0);
    // The content is on disk before the rename, so that no crash leaves the name with half of the
    // content.
    let file = write(new.tempfile_in(parent(path)?)?, bytes)?.persist(path)?;
    fault::point();
    platform::sync_renamed(&file)?;
    sync_parent(path)
}

/// Creates a file in one step. An existing file stays as it is, and is an error.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut prefix = name(path)?.to_owned();
    prefix.push(".");
    let mut new = tempfile::Builder::new();
    let new = new.prefix(&prefix).suffix(".new");
    let file = write(new.tempfile_in(parent(path)?)?, bytes)?.persist_noclobber(path)?;
    fault::point();
    platform::sync_renamed(&file)?;
    sync_parent(path)
}

/// Renames a file that is on disk; the new name is on disk when this returns.
pub(crate) fn rename(file: &File, from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    fault::point();
    platform::sync_renamed(file)?;
    sync_parent(to)
}

/// Returns `true` if `path` is a temporary file of [`replace`] or [`create`] for the file `name`.
pub(crate) fn is_left_of(path: &Path, name: &str) -> bool {
    let found = path.file_name().and_then(OsStr::to_str);
    let rest = found.and_then(|found| found.strip_prefix(name)?.strip_suffix(".new"));
    rest.is_some_and(|random| random.is_empty() || random.starts_with('.'))
}

/// Appends a line, with its line end, to a file, and creates the file if it is missing.
pub(crate) fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let is_new = file.metadata()?.len() == 0;
    file.write_all(line)?;
    file.sync_all()?;
    fault::point();
    if is_new { sync_parent(path) } else { Ok(()) }
}

/// Creates a folder, and its missing parents, that only the agent's user can enter.
///
/// Existing folders stay as they are.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    folder(parent(path)?)?;
    platform::private_folder(path)?;
    fault::point();
    sync_parent(path)
}

fn write(mut file: NamedTempFile, bytes: &[u8]) -> io::Result<NamedTempFile> {
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    fault::point();
    Ok(file)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    platform::sync_folder(parent(path)?)
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::other("the path has no parent folder"))
}

fn name(path: &Path) -> io::Result<&OsStr> {
    path.file_name()
        .ok_or_else(|| io::Error::other("the path has no file name"))
}
