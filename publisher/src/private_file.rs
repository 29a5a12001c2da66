//! Files that only their owner can read, written whole or not at all.

use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// Creates a temporary file beside `path`, and the folder of `path` if there is none.
///
/// Temporary files are readable by their owner only.
pub(crate) fn new_beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    NamedTempFile::new_in(folder)
}

/// Writes a new file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if there is a file at `path`.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    written(path, content)?.persist_noclobber(path)?;
    Ok(())
}

/// Writes a file in place of the one at `path`, if there is one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    written(path, content)?.persist(path)?;
    Ok(())
}

fn written(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let mut temporary = new_beside(path)?;
    temporary.write_all(content)?;
    // The name must not lead to an empty file after a power failure.
    temporary.as_file().sync_all()?;
    Ok(temporary)
}
