//! State files that consist of one line with a digest, so that damage is noticed.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::damage::{self, DamagedFile};
use super::{StateError, checked_line, durable};

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckedFile<T> {
    bytes: Vec<u8>,
    /// `None` if the file is damaged.
    pub(crate) value: Option<T>,
}

/// Reads a file. Returns `None` if it does not exist.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<CheckedFile<T>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => {
            let value = checked_line::read(&bytes).ok();
            Ok(Some(CheckedFile { bytes, value }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StateError::at(path)(error)),
    }
}

/// Creates a file, unless another process was faster. It is on disk when this returns.
pub(crate) fn create(path: &Path, value: &impl Serialize) -> Result<(), StateError> {
    let line = checked_line::line(value).map_err(io::Error::from);
    match line.and_then(|line| durable::create(path, &line)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map_err(StateError::at(path)),
    }
}

/// Replaces a file in one step; it is on disk when this returns.
pub(crate) fn replace(path: &Path, value: &impl Serialize) -> Result<(), StateError> {
    let line = checked_line::line(value).map_err(io::Error::from);
    line.and_then(|line| durable::replace(path, &line))
        .map_err(StateError::at(path))
}

impl<T> CheckedFile<T> {
    pub(crate) const fn is_damaged(&self) -> bool {
        self.value.is_none()
    }

    /// Moves the file aside. The caller holds the lock of the state folder.
    ///
    /// `effect` is the effect of the damage on the device, for the report.
    pub(crate) fn move_aside(
        &self,
        path: &Path,
        effect: &'static str,
    ) -> Result<DamagedFile, StateError> {
        let kept = damage::move_aside(path, &self.bytes).map_err(StateError::at(path))?;
        let path = path.to_owned();
        Ok(DamagedFile { path, kept, effect })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read::<u32>(&path).unwrap(), None);
        create(&path, &7_u32).unwrap();
        create(&path, &8_u32).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().value, Some(7_u32));
        replace(&path, &9_u32).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            for bytes in [&changed, &whole[..at]] {
                fs::write(&path, bytes).unwrap();
                let file = read::<u32>(&path).unwrap().unwrap();
                assert!(file.is_damaged(), "{at}");
            }
        }
        let file = read::<u32>(&path).unwrap().unwrap();
        let damaged = file.move_aside(&path, "none").unwrap();
        assert_eq!(fs::read(damaged.kept).unwrap(), whole[..whole.len() - 1]);
        assert!(!path.exists());
    }
}
