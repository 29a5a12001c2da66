//! Putting an archive's files into a folder.

use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use packcast_protocol::ArchiveFormat;

use super::{ArchiveError, Entry, EntryKind, EntryPath, Limits, Summary, walk};
use crate::failure::is_full;
use crate::platform;

/// The name that a file has until it is complete, in the folder it belongs to.
const PART: &str = ".packcast.part";

/// Why an archive was not unpacked, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("no space is left for {}: free some on the device", path.display())]
    NoSpace { path: PathBuf },
    #[error("folder {} cannot be made or opened", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Unpacks an archive into `folder`, which is made if it is missing, over what is there.
///
/// A file is replaced in one step, so that a reader sees the old or the new one. Nothing
/// outside `folder` is written, whatever links are in it already. Files that are not in the
/// archive stay. Modes are 755 for executables and 644 for other files.
///
/// # Errors
/// What was written before an error stays.
pub fn unpack<R: Read + Seek>(
    format: ArchiveFormat,
    reader: R,
    limits: &Limits,
    folder: &Path,
) -> Result<Summary, UnpackError> {
    let opened = std::fs::create_dir_all(folder)
        .and_then(|()| Dir::open_ambient_dir(folder, ambient_authority()));
    let dir = opened.map_err(|source| fail(folder, None, source))?;
    walk(format, reader, limits, |entry, content| {
        put(&dir, entry, content).map_err(|error| match error {
            PutError::Archive(error) => UnpackError::Archive(error),
            PutError::Io(source) => fail(folder, Some(&entry.path), source),
        })
    })
}

enum PutError {
    Archive(ArchiveError),
    Io(io::Error),
}

impl From<ArchiveError> for PutError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn fail(folder: &Path, entry: Option<&EntryPath>, source: io::Error) -> UnpackError {
    let path = entry.map_or_else(|| folder.to_owned(), |entry| folder.join(entry.as_str()));
    if is_full(&source) {
        UnpackError::NoSpace { path }
    } else if entry.is_none() {
        UnpackError::Folder { path, source }
    } else {
        UnpackError::Write { path, source }
    }
}

fn put(dir: &Dir, entry: &Entry, content: &mut super::Content<'_>) -> Result<(), PutError> {
    platform::check_names(&entry.path)?;
    if let Some(parent) = entry.path.parent() {
        dir.create_dir_all(parent)?;
    }
    let path = entry.path.as_str();
    let part = entry
        .path
        .parent()
        .map_or_else(|| PART.to_owned(), |parent| format!("{parent}/{PART}"));
    match &entry.kind {
        EntryKind::Directory => dir.create_dir_all(path)?,
        EntryKind::File { executable, .. } => {
            remove_left_over(dir, &part)?;
            let options = OpenOptions::new().write(true).create_new(true).clone();
            let mut file = dir.open_with(&part, &options)?;
            content.copy_to::<PutError>(&mut file)?;
            platform::set_mode(&file, *executable)?;
            drop(file);
            replace(dir, &part, path)?;
        }
        EntryKind::Symlink { target } => {
            remove_left_over(dir, &part)?;
            platform::symlink(dir, target.as_str(), &part)?;
            replace(dir, &part, path)?;
        }
    }
    Ok(())
}

fn replace(dir: &Dir, part: &str, path: &str) -> io::Result<()> {
    platform::make_replaceable(dir, path)?;
    dir.rename(part, dir, path).inspect_err(|_| {
        // The rename's error is the one to tell.
        let _ = dir.remove_file(part);
    })
}

fn remove_left_over(dir: &Dir, part: &str) -> io::Result<()> {
    match dir.remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
