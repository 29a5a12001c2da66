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

/// The folders to which STORE writes files. The agent keeps this list on disk during STORE, because
/// the archive may be gone when the temporary files of an interrupted STORE have to be removed.
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
    /// Returns an empty list for a STORE to `root`.
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
    /// Follows links as STORE does. So a link that has replaced a folder since leads neither out of
    /// `root` nor to a place that another user has chosen.
    ///
    /// # Errors
    /// Returns the first error, after the removals in all other folders.
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

/// Returns `true` if a folder does not exist any more. A file of another kind, or a link that leads
/// outside, may have replaced the folder.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::CrossesDevices
    )
}

/// Returns the name of temporary file number `n`.
pub(super) fn part_name(n: usize) -> String {
    format!("{PART}-{n}")
}

/// Returns `true` if [`part_name`] returns this name. Other files may begin with the same letters.
fn is_part_name(name: &str) -> bool {
    let number = name
        .strip_prefix(PART)
        .and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| number.parse().is_ok_and(|n| part_name(n) == name))
}

/// Removes the temporary files and links from a folder. Returns `true` if there were any.
///
/// STORE creates only files and links, so anything else with such a name stays.
///
/// # Errors
/// Returns the first error. The other files are removed.
pub(super) fn remove_parts(dir: &Dir) -> io::Result<bool> {
    let mut removed = false;
    let mut result = Ok(());
    for found in dir.read_dir(".")? {
        let found = found?;
        let name = found.file_name();
        if !name.to_str().is_some_and(is_part_name) {
            continue;
        }
        let remove = || {
            let kind = found.file_type()?;
            if !kind.is_file() && !kind.is_symlink() {
                return Ok(false);
            }
            dir.remove_file(&name).map(|()| true)
        };
        match remove() {
            Ok(is_removed) => removed |= is_removed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => removed = true,
            Err(error) => result = result.and(Err(error)),
        }
    }
    result.map(|()| removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_that_the_agent_gives_are_its_own() {
        for n in [0, 7, 1_000, usize::MAX] {
            assert!(is_part_name(&part_name(n)));
        }
        for name in [
            "",
            "-",
            "-x",
            "-07",
            "-+7",
            "-7.bak",
            "-7-7",
            "s",
            "-99999999999999999999999",
        ] {
            let name = format!("{PART}{name}");
            assert!(!is_part_name(&name), "{name}");
        }
        assert!(!is_part_name(&part_name(7).to_uppercase()));
        assert!(!is_part_name(&format!("x{}", part_name(7))));
    }

    #[test]
    fn only_files_and_links_of_the_agent_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let own = part_name(1);
        let kept = [part_name(0), format!("{PART}-0.bak"), format!("{PART}s")];
        std::fs::create_dir(path(&kept[0])).unwrap();
        for name in [&kept[1], &kept[2], &own] {
            std::fs::write(path(name), "content").unwrap();
        }
        let open = Dir::open_ambient_dir(dir.path(), cap_std::ambient_authority()).unwrap();
        assert!(remove_parts(&open).unwrap());
        assert!(!path(&own).exists());
        for name in &kept {
            assert!(path(name).exists(), "{name}");
        }
        assert!(!remove_parts(&open).unwrap());
    }

    /// A path with a zero byte can be opened on no system.
    #[test]
    fn an_error_in_one_folder_leaves_the_others_clean() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let mut folders = StoreFolders::of(root.clone());
        let parts = ["a", "z"].map(|name| root.join(name).join(part_name(0)));
        for part in &parts {
            std::fs::create_dir(part.parent().unwrap()).unwrap();
            std::fs::write(part, "content").unwrap();
        }
        folders.below = ["a", "m\0", "z"].map(str::to_owned).into();
        let error = folders.remove_temporary_files().unwrap_err();
        assert_eq!(error.path, root.join("m\0"));
        assert!(parts.iter().all(|part| !part.exists()));
    }
}
