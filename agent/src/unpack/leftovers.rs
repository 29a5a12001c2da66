//! Temporary files that an interrupted STORE has left beside the files of a folder.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use packcast_archive::{Entry, EntryKind, PART};
use serde::{Deserialize, Serialize};

use super::folders::{Folders, split};
use crate::platform::{self, ComponentError, Volumes};

/// The limit of the paths in [`StoreFolders`], in bytes: a million folders with short names.
const MAX_BYTES: usize = 16 << 20;

/// The folders to which STORE writes files. The agent keeps them on disk during STORE, because the
/// archive may be gone when the temporary files of an interrupted STORE have to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreFolders {
    root: PathBuf,
    /// The paths of folders below `root`. The empty path is `root` itself.
    below: BTreeSet<String>,
    /// The length of all paths.
    #[serde(skip)]
    bytes: usize,
}

impl StoreFolders {
    /// Returns no folders of a STORE to `root`.
    pub(crate) const fn of(root: PathBuf) -> Self {
        Self {
            root,
            below: BTreeSet::new(),
            bytes: 0,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Adds the folder of an entry. Beyond 16 MiB of paths, folders are left out.
    pub(crate) fn add(&mut self, entry: &Entry) {
        if matches!(entry.kind, EntryKind::Directory { .. }) {
            return;
        }
        let (folder, _) = split(entry.path.as_str());
        if self.bytes + folder.len() <= MAX_BYTES && !self.below.contains(folder) {
            self.bytes += folder.len();
            self.below.insert(folder.to_owned());
        }
    }

    /// Removes the temporary files in all folders, as far as possible. The removals are on disk when
    /// this returns.
    ///
    /// Follows links as STORE does. So a link that has taken the place of a folder since leads
    /// neither out of the folder nor to a place that another user has chosen.
    ///
    /// # Errors
    /// Returns the first error. The other folders are done.
    pub(crate) fn remove_temporary_files(&self) -> Result<(), ComponentError> {
        let Some(root) = platform::find_folder(&self.root)? else {
            return Ok(());
        };
        let mut folders = Folders::new(root);
        let mut volumes = Volumes::default();
        let mut result = Ok(());
        for path in &self.below {
            let removed = folders.open(path).and_then(|dir| {
                if remove_parts(dir)? {
                    volumes.add_folder(dir)?;
                }
                Ok(())
            });
            match removed {
                Err(error) if !is_gone(&error) => {
                    let path = self.root.join(path);
                    result = result.and(Err(ComponentError { path, error }));
                }
                _ => {}
            }
        }
        let synced = volumes.sync().map_err(|error| ComponentError {
            path: self.root.clone(),
            error,
        });
        result.and(synced)
    }
}

/// Returns `true` if a folder does not exist any more. The file of another kind, or a link that
/// leads outside, may be in its place.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::CrossesDevices
    )
}

/// Removes the temporary files from a folder. Returns `true` if there were any.
pub(super) fn remove_parts(dir: &Dir) -> io::Result<bool> {
    let mut removed = false;
    for found in dir.read_dir(".")? {
        let name = found?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PART)) {
            match dir.remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => removed = true,
            }
        }
    }
    Ok(removed)
}
