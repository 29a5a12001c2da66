//! Copies of identity and pass, which a version on trial may rewrite in a form of its own.
//!
//! After a way back, the version before would take such files for damaged ones, and the device would
//! have to enrol again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packcast_protocol::api::Secret;
use serde::de::DeserializeOwned;

use super::files::VersionFiles;
use crate::state::identity::Identity;
use crate::state::{StateDir, StateError, checked_file, durable, remove_file};

/// The beginning of the name of a copy.
const BEFORE: &str = "before-";

impl VersionFiles {
    /// Copies identity and pass before the first start of a trial. Later starts change no copy.
    pub(crate) fn keep_identity(&self, state: &StateDir) -> Result<(), StateError> {
        for path in [state.identity(), state.pass()] {
            let copy = self.copy_of(&path);
            if copy.exists() {
                continue;
            }
            match fs::read(&path) {
                Ok(content) => {
                    durable::replace(&copy, &content).map_err(StateError::at(&copy))?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StateError::at(&path)(error)),
            }
        }
        Ok(())
    }

    /// Restores the files that this version cannot read any more, and then removes the copies.
    ///
    /// Returns the restored files. The pass belongs to the identity, so both are restored together.
    pub(crate) fn restore_identity(&self, state: &StateDir) -> Result<Vec<PathBuf>, StateError> {
        let (identity, pass) = (state.identity(), state.pass());
        let mut restored = Vec::new();
        if self.is_lost::<Identity>(&identity)? {
            restored.extend([identity.clone(), pass.clone()]);
        } else if self.is_lost::<Secret>(&pass)? {
            restored.push(pass.clone());
        }
        for path in &restored {
            let copy = self.copy_of(path);
            if copy.exists() {
                let content = fs::read(&copy).map_err(StateError::at(&copy))?;
                durable::replace(path, &content).map_err(StateError::at(path))?;
            }
        }
        self.forget_identity(state)?;
        Ok(restored)
    }

    /// Removes the copies.
    pub(crate) fn forget_identity(&self, state: &StateDir) -> Result<(), StateError> {
        for path in [state.identity(), state.pass()] {
            remove_file(&self.copy_of(&path))?;
        }
        Ok(())
    }

    /// Returns `true` if this version can read the copy of a file, but not the file.
    fn is_lost<T: DeserializeOwned>(&self, path: &Path) -> Result<bool, StateError> {
        let is_whole = |path: &Path| {
            let file = checked_file::read::<T>(path)?;
            Ok(file.is_some_and(|file| !file.is_damaged()))
        };
        Ok(is_whole(&self.copy_of(path))? && !is_whole(path)?)
    }

    fn copy_of(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.folder().join(format!("{BEFORE}{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::MachineIds;
    use crate::state::identity;

    #[test]
    fn files_that_only_the_trial_can_read_are_restored() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().canonicalize().unwrap().join("state")).unwrap();
        let files = VersionFiles::of(&state);
        durable::folder(files.folder()).unwrap();
        assert_eq!(
            files.restore_identity(&state).unwrap(),
            Vec::<PathBuf>::new()
        );
        let here = MachineIds::of(&["1"]);
        let created = identity::load_or_create(&state, &here).unwrap();
        let pass: Secret = "0123456789abcdef".parse().unwrap();
        identity::store_pass(&state, &pass).unwrap();
        let load = || {
            let pass = identity::load_pass(&state).unwrap();
            (identity::load(&state).unwrap(), pass)
        };
        let good = (Some(created), Some(pass));
        for (path, restored) in [(state.identity(), 2), (state.pass(), 1)] {
            files.keep_identity(&state).unwrap();
            // A whole file in the form of another version.
            checked_file::replace(&path, &["another form"]).unwrap();
            // The copy is from before the first start.
            files.keep_identity(&state).unwrap();
            assert_ne!(load(), good);
            assert_eq!(files.restore_identity(&state).unwrap().len(), restored);
            assert_eq!(load(), good);
        }
        // A file that this version can read is left as it is.
        files.keep_identity(&state).unwrap();
        let other: Secret = "fedcba9876543210".parse().unwrap();
        identity::store_pass(&state, &other).unwrap();
        assert_eq!(
            files.restore_identity(&state).unwrap(),
            Vec::<PathBuf>::new()
        );
        assert_eq!(load().1, Some(other));
    }
}
