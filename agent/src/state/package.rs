//! The folder of one package: its journal, its fragments, and the folders of its programs.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use packcast_protocol::manifest::MAX_MANIFEST_BYTES;
use packcast_protocol::with_causes;

use super::remove::{self, remove_file, remove_files};
use super::{StateError, checked_file, durable};
use crate::platform::{self, ComponentError};
use crate::unpack::StoreFolders;

/// The space for the longest result in a journal.
///
/// The result contains the end of a program's output, of which JSON may escape each byte with six
/// bytes, and further fields.
const RESERVE_BYTES: usize = 40 << 10;

/// The prefix of the folders that programs run in.
const WORK: &str = "work";

/// The folder of one package that the agent deploys.
#[derive(Clone, Debug)]
pub(crate) struct PackageDir(pub(super) PathBuf);

impl PackageDir {
    pub(crate) fn create(&self) -> Result<(), StateError> {
        durable::folder(&self.0).map_err(StateError::at(&self.0))
    }

    /// Creates the folder of the fragments, and returns its path.
    pub(crate) fn create_fragments(&self) -> Result<PathBuf, StateError> {
        let path = self.fragments();
        platform::private_folder(&path).map_err(StateError::at(&path))?;
        Ok(path)
    }

    /// Removes the folder of a package without a journal.
    ///
    /// Such a folder contains little. A crash before the first journal leaves only empty folders,
    /// and [`PackageDir::remove`] leaves only folders of programs.
    pub(crate) fn remove_unused(&self) -> Result<(), StateError> {
        remove_file(&self.0.join("journal.new"))?;
        remove_file(&self.manifest())?;
        self.release_space()?;
        self.remove_work();
        self.remove_store_leftovers();
        for path in [self.fragments(), self.0.clone()] {
            match fs::remove_dir(&path) {
                Err(error) if !is_absent_or_in_use(&error) => {
                    return Err(StateError::at(&path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the journal, then the rest of the folder as far as possible.
    pub(crate) fn remove(&self) -> Result<(), StateError> {
        // First the journal: without it, the next round removes the rest of the folder.
        remove_file(&self.journal())?;
        self.remove_store_leftovers();
        if self.store_folders().exists() {
            // With the whole folder, the agent would forget the temporary files.
            remove::folder(&self.fragments());
            self.remove_work();
            return Ok(());
        }
        remove::folder(&self.0);
        Ok(())
    }

    /// Returns the error of work on a package whose files are still being removed.
    pub(crate) fn still_removing(&self) -> StateError {
        let path = self.0.clone();
        StateError::Removing { path }
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// Returns the folder with a file `<n>` per verified fragment, and `<n>.part` per partial one.
    pub(crate) fn fragments(&self) -> PathBuf {
        self.0.join("fragments")
    }

    /// Returns the kept manifest of a package that waits for another signed state.
    ///
    /// The file may be damaged, so the caller verifies the digest.
    pub(crate) fn kept_manifest(&self) -> Option<Vec<u8>> {
        let file = fs::File::open(self.manifest()).ok()?;
        let mut bytes = Vec::new();
        let limit = MAX_MANIFEST_BYTES as u64;
        file.take(limit).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Keeps the manifest of a package that waits, so that it is not fetched again each time.
    pub(crate) fn keep_manifest(&self, document: &[u8]) -> Result<(), StateError> {
        let path = self.manifest();
        fs::write(&path, document).map_err(StateError::at(&path))
    }

    fn manifest(&self) -> PathBuf {
        self.0.join("manifest.json")
    }

    /// Creates an empty folder for a package's program.
    ///
    /// If a program of an earlier attempt still uses its folder, that folder stays, and the new one
    /// has another name.
    pub(crate) fn fresh_work_folder(&self) -> Result<PathBuf, StateError> {
        self.remove_work();
        let path = |n: u32| match n {
            0 => self.0.join(WORK),
            n => self.0.join(format!("{WORK}-{n}")),
        };
        let mut free = (0..)
            .map(path)
            .filter(|path| path.symlink_metadata().is_err());
        let path = free.next().unwrap_or_else(|| path(0));
        platform::private_folder(&path).map_err(StateError::at(&path))?;
        Ok(path)
    }

    /// Removes partial fragments and the folders of programs.
    pub(crate) fn remove_parts(&self) {
        self.remove_work();
        let is_part = |path: &Path| path.extension().is_some_and(|kind| kind == "part");
        if let Err(error) = remove_files(&self.fragments(), is_part) {
            tracing::warn!(
                error = with_causes(&error),
                "cannot remove partial fragments"
            );
        }
    }

    /// Frees the space of the archive and of the unpacked files.
    ///
    /// Every end of a package calls this, so no interrupted STORE leaves temporary files.
    pub(crate) fn discard_contents(&self) {
        remove::folder(&self.fragments());
        self.remove_work();
        self.remove_store_leftovers();
    }

    /// Returns the list of the folders to which STORE writes.
    fn store_folders(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Writes the list of the folders to which STORE will write. It is on disk when this returns.
    pub(crate) fn note_store(&self, folders: &StoreFolders) -> Result<(), StateError> {
        // The name of the folder can contain variables. If one has changed, the interrupted STORE
        // has written to other folders.
        self.remove_store_leftovers();
        checked_file::replace(&self.store_folders(), folders)
    }

    /// Removes the list of folders, because STORE has left no temporary file.
    ///
    /// If the list stays, [`PackageDir::discard_contents`] looks for temporary files.
    pub(crate) fn forget_store(&self) {
        let list = self.store_folders();
        for path in [list.with_extension("new"), list] {
            if let Err(error) = remove_file(&path) {
                let error = with_causes(&error);
                tracing::warn!(error, "cannot remove the list of the folders of STORE");
            }
        }
    }

    /// Removes the temporary files that an interrupted STORE has left, as far as possible.
    ///
    /// The list stays if some of them stay.
    ///
    /// No other package is stored meanwhile, because its temporary files have the same names.
    fn remove_store_leftovers(&self) {
        let path = self.store_folders();
        let folders = match checked_file::read::<StoreFolders>(&path) {
            Ok(None) => None,
            Ok(Some(file)) => {
                if file.is_damaged() {
                    let list = path.display();
                    tracing::warn!(%list, "the list of the folders of STORE is damaged: temporary files of an interrupted STORE may stay");
                }
                file.value
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(error, "cannot read the list of the folders of STORE");
                return;
            }
        };
        let removed = folders.map_or(Ok(()), |folders| folders.remove_temporary_files());
        if let Err(ComponentError { path, error }) = removed {
            let folder = path.display();
            tracing::warn!(%folder, %error, "cannot remove temporary files of an interrupted STORE: the agent will try again");
            return;
        }
        self.forget_store();
    }

    fn reserve(&self) -> PathBuf {
        self.0.join("reserve")
    }

    /// Reserves disk space for a result, because a program may fill the volume.
    ///
    /// The space is allocated on disk when this returns.
    pub(crate) fn reserve_space(&self) -> Result<(), StateError> {
        let path = self.reserve();
        // Random bytes, because a file system with compression would shrink zeros to nothing.
        let mut bytes = vec![0; RESERVE_BYTES];
        let random = getrandom::fill(&mut bytes).map_err(io::Error::other);
        random
            .and_then(|()| durable::replace(&path, &bytes))
            .map_err(StateError::at(&path))
    }

    /// Frees the reserved space, if there is any.
    pub(crate) fn release_space(&self) -> Result<(), StateError> {
        remove_file(&self.reserve().with_extension("new"))?;
        remove_file(&self.reserve())
    }

    fn remove_work(&self) {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let is_work = |name: &OsStr| name.as_encoded_bytes().starts_with(WORK.as_bytes());
        let work = entries.filter(|entry| is_work(&entry.file_name()));
        work.for_each(|entry| remove::folder(&entry.path()));
    }
}

fn is_absent_or_in_use(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
    )
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    /// A path with a zero byte can be opened on no system.
    #[test]
    fn the_folders_of_store_are_known_until_their_temporary_files_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let package = PackageDir(root.join("packages/1795000001"));
        package.create().unwrap();
        fs::write(package.journal(), "journal").unwrap();
        fs::create_dir(package.fragments()).unwrap();
        fs::write(package.fragments().join("1"), "content").unwrap();
        let unremovable = StoreFolders::of(root.join("a\0"));
        package.note_store(&unremovable).unwrap();
        package.discard_contents();
        package.remove().unwrap();
        package.remove_unused().unwrap();
        let entries = fs::read_dir(&package.0).unwrap().map(Result::unwrap);
        let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["store"]);
        checked_file::replace(&package.store_folders(), &StoreFolders::of(root)).unwrap();
        package.remove_unused().unwrap();
        assert!(!package.0.exists());
    }
}
