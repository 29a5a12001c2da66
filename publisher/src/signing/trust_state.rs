//! The memory of this machine: the latest states that it has signed for a target, in a file.
//!
//! A signature does not show whether a later state was signed. Somebody who controls the table
//! could put an earlier state back. With the next change, the publisher would then sign that state
//! again, including assignments that were withdrawn since. The memory detects such a rollback.

use std::path::{Path, PathBuf};

use packcast_protocol::assignments::{Assignee, Held};
use packcast_protocol::with_causes;
use packcast_store::records::PublisherMemory;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::private_file;
use crate::warning::{Warning, Warnings};

/// The memory of a target. When a changed memory is dropped, it is written to its file.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    pub known: PublisherMemory,
    keys: u64,
    stored: MemoryFile,
    warnings: Warnings,
}

/// The content of the memory file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct MemoryFile {
    /// The number of the latest key list; 0 before the first list.
    #[serde(default)]
    keys: u64,
    assignments: Vec<SignedState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SignedState {
    recipient: Assignee,
    #[serde(flatten)]
    held: Held,
}

/// Errors from reading or writing the memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("cannot read or write the signing memory {}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot parse the signing memory {}", path.display())]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
}

impl Memory {
    /// Reads the memory, which is empty if there is no file.
    ///
    /// # Errors
    /// The function also checks that the file can be written, so that an unwritable memory is an
    /// error before anything is signed.
    pub fn load(path: &Path, warnings: &Warnings) -> Result<Self, MemoryError> {
        let stored = read(path)?;
        // Only checks that a file can be created: the temporary file is removed when it is dropped.
        private_file::new_beside(path).map_err(|source| MemoryError::File {
            path: path.to_owned(),
            source,
        })?;
        let states = stored.assignments.iter();
        Ok(Self {
            path: path.to_owned(),
            known: states
                .map(|state| (state.recipient.clone(), state.held))
                .collect(),
            keys: stored.keys,
            stored,
            warnings: warnings.clone(),
        })
    }

    /// Returns the number of the latest key list.
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// Remembers the number of a key list.
    pub fn follow_keys(&mut self, serial: u64) {
        self.keys = self.keys.max(serial);
    }

    fn content(&self) -> MemoryFile {
        let states = self.known.all().into_iter();
        MemoryFile {
            keys: self.keys,
            assignments: states
                .map(|(recipient, held)| SignedState { recipient, held })
                .collect(),
        }
    }

    /// Writes the memory, merged with the memory that other commands have written meanwhile.
    fn save(&mut self) -> Result<(), MemoryError> {
        if self.content() == self.stored {
            return Ok(());
        }
        // Another command may have written the file after this one has read it.
        let meanwhile = read(&self.path)?;
        self.follow_keys(meanwhile.keys);
        for SignedState { recipient, held } in meanwhile.assignments {
            self.known.advance(&recipient, held);
        }
        let content = self.content();
        let file = |source| MemoryError::File {
            path: self.path.clone(),
            source,
        };
        let text = serde_json::to_vec(&content).map_err(std::io::Error::from);
        private_file::replace(&self.path, &text.map_err(file)?).map_err(file)?;
        self.stored = content;
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Err(error) = self.save() {
            self.warnings.push(not_saved(&error));
        }
    }
}

fn not_saved(error: &MemoryError) -> Warning {
    Warning::new(format!(
        "cannot record the new signatures on this machine: {}",
        with_causes(error)
    ))
}

impl From<MemoryError> for Failure {
    fn from(error: MemoryError) -> Self {
        let hint = match &error {
            MemoryError::File { .. } => {
                "make the file and its folder readable and writable for your user"
            }
            MemoryError::Damaged { .. } => {
                "remove the file if you know the cause of the damage: until this machine signs again, it accepts the recorded states as the latest ones"
            }
        };
        Self::failed(error).hint(hint)
    }
}

fn read(path: &Path) -> Result<MemoryFile, MemoryError> {
    let path_buf = || path.to_owned();
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|source| MemoryError::Damaged {
            path: path_buf(),
            source,
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(MemoryFile::default()),
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
    use crate::rendered::converted;

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
    fn memories_of_two_commands_merge_to_the_latest_states() {
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
    fn an_unchanged_memory_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signed.json");
        drop(Memory::load(&path, &Warnings::default()).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_damaged_memory_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signed.json");
        for text in ["", "{}", "{\"keys\":\"many\",\"assignments\":[]}"] {
            std::fs::write(&path, text).unwrap();
            let error = Memory::load(&path, &Warnings::default()).unwrap_err();
            assert!(matches!(error, MemoryError::Damaged { .. }), "{text}");
        }
    }

    #[test]
    fn errors_of_the_memory_have_next_steps() {
        let path = || "/s/signed.json".into();
        let file = || MemoryError::File {
            path: path(),
            source: std::io::Error::other("cause"),
        };
        let damaged = MemoryError::Damaged {
            path: path(),
            source: serde_json::from_str::<()>("").unwrap_err(),
        };
        insta::assert_snapshot!(converted([file(), damaged]), @r"
        Failed: cannot read or write the signing memory /s/signed.json
          hint: make the file and its folder readable and writable for your user
        Failed: cannot parse the signing memory /s/signed.json
          hint: remove the file if you know the cause of the damage: until this machine signs again, it accepts the recorded states as the latest ones
        ");
        insta::assert_snapshot!(not_saved(&file()), @"warning: cannot record the new signatures on this machine: cannot read or write the signing memory /s/signed.json: cause");
    }
}
