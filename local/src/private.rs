//! Files and directories that only their owner can read.
//!
//! On Unix the modes are 0600 and 0700; wider modes are restricted again. On other systems the
//! permissions of the parent directory apply.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Creates the directory and its missing parents, and removes other users' access to it.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    restrict(path, 0o700)
}

/// Opens a file for reading and writing; creates it if missing, and keeps its content.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = options().read(true).write(true).create(true).open(path)?;
    restrict(path, 0o600)?;
    Ok(file)
}

/// Opens a file for appending; creates it if missing.
pub(crate) fn open_append(path: &Path) -> io::Result<File> {
    let file = options().append(true).create(true).open(path)?;
    restrict(path, 0o600)?;
    Ok(file)
}

/// Replaces a file as a whole, or not at all.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    // A crash may have left a temporary file, and `create_new` refuses an existing one.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = options().write(true).create_new(true).open(&temporary)?;
    file.write_all(contents)?;
    // Synced before the rename, so that after a power cut either file is complete.
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_directory(path)
}

/// Makes a rename durable; only Unix can open a directory to sync it.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if cfg!(unix) => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn restrict(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}
