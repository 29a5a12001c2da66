//! What this machine remembers of what was signed for a target, in a file.
//!
//! Signatures do not show that they are old. Whoever owns the table could put an earlier state
//! back, so that the next change of it, signed anew, brings back what was taken back since.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use packcast_protocol::assignments::{Assignee, Held};
use packcast_protocol::with_causes;
use packcast_store::records::PublisherMemory;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::warning::{Warning, Warnings};

/// The memory of a target. It is written when it is dropped, if it has grown.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    pub known: PublisherMemory,
    keys: u64,
    was: Remembered,
    warnings: Warnings,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// The latest list of trusted keys, 0 before the first.
    #[serde(default)]
    keys: u64,
    assignments: Vec<State>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    recipient: Assignee,
    #[serde(flatten)]
    held: Held,
}

/// Why there is no memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("{} cannot be read or written", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} does not read", path.display())]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
}

impl Memory {
    /// Reads what is remembered; nothing if there is no file. What could not be kept later is
    /// an error now, before anything is signed.
    pub fn load(path: &Path, warnings: &Warnings) -> Result<Self, MemoryError> {
        let was = read(path)?;
        new_beside(path)?;
        let states = was.assignments.iter();
        Ok(Self {
            path: path.to_owned(),
            known: states
                .map(|state| (state.recipient.clone(), state.held))
                .collect(),
            keys: was.keys,
            was,
            warnings: warnings.clone(),
        })
    }

    /// Returns the number of the latest list of trusted keys.
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// Remembers a list of trusted keys.
    pub fn follow_keys(&mut self, serial: u64) {
        self.keys = self.keys.max(serial);
    }

    fn now(&self) -> Remembered {
        let states = self.known.all().into_iter();
        Remembered {
            keys: self.keys,
            assignments: states
                .map(|(recipient, held)| State { recipient, held })
                .collect(),
        }
    }

    /// Writes what is remembered, with what other commands have remembered meanwhile.
    fn keep(&mut self) -> Result<(), MemoryError> {
        if self.now() == self.was {
            return Ok(());
        }
        let meanwhile = read(&self.path)?;
        self.follow_keys(meanwhile.keys);
        for State { recipient, held } in meanwhile.assignments {
            self.known.advance(&recipient, held);
        }
        let now = self.now();
        let file = |source| MemoryError::File {
            path: self.path.clone(),
            source,
        };
        let mut temporary = new_beside(&self.path)?;
        let text = serde_json::to_vec(&now).map_err(std::io::Error::from);
        temporary.write_all(&text.map_err(file)?).map_err(file)?;
        temporary.as_file().sync_all().map_err(file)?;
        temporary
            .persist(&self.path)
            .map_err(|error| file(error.error))?;
        self.was = now;
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Err(error) = self.keep() {
            self.warnings.push(Warning::new(format!(
                "this machine does not remember what it has signed: {}",
                with_causes(&error)
            )));
        }
    }
}

impl From<MemoryError> for Failure {
    fn from(error: MemoryError) -> Self {
        let hint = match &error {
            MemoryError::File { .. } => "make it yours to read and write",
            MemoryError::Damaged { .. } => {
                "remove it if you know what spoilt it: until this machine has signed again, what is on record is taken for the latest"
            }
        };
        Self::failed(error).hint(hint)
    }
}

fn new_beside(path: &Path) -> Result<tempfile::NamedTempFile, MemoryError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| tempfile::NamedTempFile::new_in(folder))
        .map_err(|source| MemoryError::File {
            path: path.to_owned(),
            source,
        })
}

fn read(path: &Path) -> Result<Remembered, MemoryError> {
    let path_buf = || path.to_owned();
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|source| MemoryError::Damaged {
            path: path_buf(),
            source,
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Remembered::default()),
        Err(source) => Err(MemoryError::File {
            path: path_buf(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;

    use super::*;

    fn lab() -> Assignee {
        Assignee::Group("lab".parse().unwrap())
    }

    const fn held(revision: u64) -> Held {
        Held {
            revision,
            issued: UnixTime(revision),
        }
    }

    #[test]
    fn what_two_commands_have_signed_is_remembered_at_its_latest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("target/signed.json");
        let mut one = Memory::load(&path, &Warnings::default()).unwrap();
        let other = Memory::load(&path, &Warnings::default()).unwrap();
        one.known.advance(&lab(), held(2));
        one.follow_keys(3);
        other.known.advance(&lab(), held(1));
        drop(one);
        drop(other);
        let kept = Memory::load(&path, &Warnings::default()).unwrap();
        assert_eq!(kept.known.latest(&lab()), Some(held(2)));
        assert_eq!(kept.keys(), 3);
    }

    #[test]
    fn who_has_signed_nothing_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signed.json");
        drop(Memory::load(&path, &Warnings::default()).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_memory_that_does_not_read_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signed.json");
        for text in ["", "{}", "{\"keys\":\"many\",\"assignments\":[]}"] {
            std::fs::write(&path, text).unwrap();
            let error = Memory::load(&path, &Warnings::default()).unwrap_err();
            assert!(matches!(error, MemoryError::Damaged { .. }), "{text}");
        }
    }
}
