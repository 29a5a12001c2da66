//! The signed state of a target, in files of the device.
//!
//! The state is one file, and each document is a file that is named by its digest. A change writes
//! new documents first, then replaces the state, then deletes documents that the state no longer
//! names. So a device that stops between two writes has the state before or the state after, and
//! perhaps a document too many.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packcast_protocol::Sha256Digest;
use packcast_protocol::state::document::MAX_TEXT_BYTES;
use packcast_protocol::state::{Accepted, DocumentText, Refusal, StoredState, VerifiedState};

use crate::state::checked_file;
use crate::state::durable;
use crate::state::{StateError, remove_file, remove_files};

/// The name of the state's file.
const STATE: &str = "state";

/// The first part of the name of a document's file; the digest follows.
const DOCUMENT: &str = "document-";

/// The folder with the state of a target.
#[derive(Clone, Debug)]
pub struct TargetStateFiles(PathBuf);

/// A state that was read from its files.
#[derive(Debug)]
pub struct LoadedState {
    /// The verified state; without key lists and commit if nothing was stored.
    pub state: VerifiedState,
    /// Parts of the stored state that do not verify any more.
    pub discarded: Vec<Refusal>,
    /// Place of a damaged state file, or of a file of another target, which was moved aside. The
    /// next check-ins bring the state again.
    pub damaged: Option<PathBuf>,
}

/// One write of a change. The writes of a change are performed in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// Writes a document.
    Document(DocumentText),
    /// Replaces the state.
    State(Box<StoredState>),
    /// Deletes a document.
    Delete(Sha256Digest),
}

/// Errors from reading or writing the state of a target.
#[derive(Debug, thiserror::Error)]
#[error("cannot read or write the state of the target")]
pub struct TargetStateError(#[source] pub(super) StateError);

impl TargetStateFiles {
    /// Names the folder, which [`TargetStateFiles::perform`] creates if it is missing.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Returns the writes that store a change of the state.
    pub fn changes(state: &VerifiedState, accepted: &Accepted) -> Vec<FileChange> {
        let documents = accepted.added.iter().cloned().map(FileChange::Document);
        let replaced = accepted
            .changed
            .then(|| FileChange::State(Box::new(state.stored())));
        let deleted = accepted.dropped.iter().copied().map(FileChange::Delete);
        documents.chain(replaced).chain(deleted).collect()
    }

    /// Performs one write. The result is on disk when this returns.
    pub fn perform(&self, change: &FileChange) -> Result<(), TargetStateError> {
        self.try_perform(change).map_err(TargetStateError)
    }

    /// Returns the path of the state's file.
    pub(crate) fn state_path(&self) -> PathBuf {
        self.0.join(STATE)
    }

    /// Reads the state and verifies it again, without a change on disk.
    ///
    /// `empty` is the state without parts, for the device and its configuration.
    pub(crate) fn read(&self, mut empty: VerifiedState) -> Result<VerifiedState, TargetStateError> {
        let file = checked_file::read::<StoredState>(&self.state_path());
        let stored = file.map_err(TargetStateError)?.and_then(|file| file.value);
        if let Some(stored) = stored {
            let documents = self.read_documents().map_err(TargetStateError)?;
            // The agent reports discarded parts when it opens the state.
            let _ = empty.load(stored, documents);
        }
        Ok(empty)
    }

    /// Reads the state, and verifies it again.
    ///
    /// `empty` is the state without parts, for the device and its configuration. Documents that the
    /// state does not name are deleted. The caller makes sure that nobody else changes the files.
    pub fn load(&self, empty: VerifiedState) -> Result<LoadedState, TargetStateError> {
        self.try_load(empty).map_err(TargetStateError)
    }

    fn try_perform(&self, change: &FileChange) -> Result<(), StateError> {
        let folder = &self.0;
        durable::folder(folder).map_err(StateError::at(folder))?;
        match change {
            FileChange::State(state) => checked_file::replace(&folder.join(STATE), state),
            FileChange::Document(text) => {
                let path = self.document(&text.digest());
                let written = durable::replace(&path, text.as_str().as_bytes());
                written.map_err(StateError::at(&path))
            }
            FileChange::Delete(digest) => remove_file(&self.document(digest)),
        }
    }

    fn try_load(&self, mut empty: VerifiedState) -> Result<LoadedState, StateError> {
        let path = self.state_path();
        let mut discarded = Vec::new();
        let mut damaged = None;
        if let Some(file) = checked_file::read::<StoredState>(&path)? {
            if let Some(stored) = file.value.clone() {
                discarded = empty.load(stored, self.read_documents()?);
            }
            let is_foreign = |refusal: &Refusal| matches!(refusal, Refusal::OtherTarget { .. });
            if file.is_damaged() || discarded.iter().any(is_foreign) {
                let kept = file.move_aside(&path, "the next check-in brings the state again")?;
                damaged = Some(kept.kept);
            }
        }
        self.delete_unnamed(&empty)?;
        Ok(LoadedState {
            state: empty,
            discarded,
            damaged,
        })
    }

    /// Reads the documents. A damaged document is left out: the device lacks it, and asks for it.
    fn read_documents(&self) -> Result<Vec<DocumentText>, StateError> {
        let mut documents = Vec::new();
        for (path, digest) in self.document_files()? {
            let size = fs::metadata(&path).map_err(StateError::at(&path))?.len();
            if size > MAX_TEXT_BYTES as u64 {
                continue;
            }
            let bytes = fs::read(&path).map_err(StateError::at(&path))?;
            let text = String::from_utf8(bytes).ok();
            let text = text.and_then(|text| DocumentText::new(text).ok());
            documents.extend(text.filter(|text| text.digest() == digest));
        }
        Ok(documents)
    }

    /// Deletes documents that the state does not name, and files of a write that a crash cut off.
    fn delete_unnamed(&self, state: &VerifiedState) -> Result<(), StateError> {
        let is_cut_off = |path: &Path| path.extension().is_some_and(|kind| kind == "new");
        remove_files(&self.0, is_cut_off)?;
        for (path, digest) in self.document_files()? {
            if !state.documents().any(|text| text.digest() == digest) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Returns the files of documents, each with the digest in its name.
    fn document_files(&self) -> Result<Vec<(PathBuf, Sha256Digest)>, StateError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StateError::at(&self.0)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(StateError::at(&self.0))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let digest = name.and_then(|name| name.strip_prefix(DOCUMENT)?.parse().ok());
            files.extend(digest.map(|digest| (path, digest)));
        }
        Ok(files)
    }

    fn document(&self, digest: &Sha256Digest) -> PathBuf {
        self.0.join(format!("{DOCUMENT}{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_messages() {
        let source = StateError::at(Path::new("/state"))(io::Error::other("disk"));
        insta::assert_snapshot!(TargetStateError(source), @"cannot read or write the state of the target");
    }
}
