//! Trusted documents in the state folder. Their signatures are verified again when they are read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packcast_protocol::{AgentId, Assignee, SignedKeyList, with_causes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Trust, TrustChange};
use crate::config::KeyConfig;
use crate::state::durable;
use crate::state::{StateDir, StateError};

impl Trust {
    /// Reads the stored documents, starting from the configured keys.
    ///
    /// A document that is damaged, or not signed by a trusted key, is discarded. The next check-in
    /// brings it again.
    pub(crate) fn load(
        state: &StateDir,
        config: &KeyConfig,
        device: AgentId,
    ) -> Result<Self, StateError> {
        let keys = config.trusted_keys.clone();
        let groups = config.groups.clone();
        let mut trust = Self::configured(device, keys, groups, config.trust_server_assignments);
        let lists: Vec<SignedKeyList> = read(&state.keys())?.unwrap_or_default();
        // Key lists first, because they decide which signatures of assignments are valid.
        let (_, mut refused) = trust.accept(&lists, Vec::new());
        for path in files(&state.assignments())? {
            if let Some(signed) = read(&path)? {
                refused.extend(trust.restore(signed).err());
            }
        }
        for refusal in refused {
            let error = with_causes(&refusal);
            tracing::warn!(error, "discarded a stored document");
        }
        Ok(trust)
    }
}

impl TrustChange {
    /// Stores the change; it is on disk when this returns.
    pub(crate) fn store(&self, state: &StateDir) -> Result<(), StateError> {
        match self {
            Self::Keys(lists) => write(&state.keys(), lists),
            Self::Assignments(recipient, signed) => {
                let folder = state.assignments();
                durable::folder(&folder).map_err(StateError::at(&folder))?;
                write(&folder.join(file_name(recipient)), signed)
            }
        }
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), StateError> {
    let bytes = serde_json::to_vec(value).map_err(io::Error::from);
    let written = bytes.and_then(|bytes| durable::replace(path, &bytes));
    written.map_err(StateError::at(path))
}

/// Returns the file name of an assignee's document.
///
/// A group's name has only characters that every file system accepts. The prefix keeps it apart
/// from the names that Windows reserves.
fn file_name(recipient: &Assignee) -> String {
    match recipient {
        Assignee::Device(_) => "device.json".to_owned(),
        Assignee::Group(group) => format!("group-{group}.json"),
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, StateError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StateError::at(folder)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(StateError::at(folder))?.path();
        // Temporary files of an interrupted write have another extension.
        if path.extension().is_some_and(|kind| kind == "json") {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::at(path)(error)),
    };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            tracing::warn!(path = %path.display(), error = error.to_string(), "discarded a damaged document");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::publisher::{TestDocument, device, key, list, to_device, to_group};
    use super::*;

    fn config() -> KeyConfig {
        KeyConfig {
            trusted_keys: vec![key(0)],
            ..KeyConfig::default()
        }
    }

    /// Returns a device that followed a new key, and has its assignments and those of two groups.
    fn stored(state: &StateDir, config: &KeyConfig) -> Trust {
        let mut trust = Trust::load(state, config, device(1)).unwrap();
        let own = TestDocument {
            groups: &["con"],
            ..to_device(1)
        };
        let documents = [own, to_group("con"), to_group("all")].map(|said| said.signed(1));
        let (changes, refused) = trust.accept(&[list(0, 1, &[1, 0])], documents.into());
        assert!(refused.is_empty());
        for change in &changes {
            change.store(state).unwrap();
        }
        trust
    }

    #[test]
    fn accepted_documents_are_stored() {
        let dir = tempfile::tempdir().unwrap();
        let config = config();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let trust = stored(&state, &config);
        let loaded = Trust::load(&state, &config, device(1)).unwrap();
        assert_eq!(loaded.held_documents(), trust.held_documents());
        assert_eq!(loaded.keys(), trust.keys());
        assert_eq!(loaded.documents().count(), 3);
    }

    #[test]
    fn damaged_or_unsigned_documents_are_discarded() {
        let dir = tempfile::tempdir().unwrap();
        let config = config();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let trust = stored(&state, &config);
        let path = state.assignments().join("group-con.json");
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            let loaded = Trust::load(&state, &config, device(1)).unwrap();
            let con = loaded
                .held_documents()
                .groups
                .into_iter()
                .find(|(name, _)| !name.is_all());
            assert!(
                con.is_none_or(|con| trust.held_documents().groups[&con.0] == con.1),
                "byte {at}"
            );
            fs::write(&path, &whole[..at]).unwrap();
            let loaded = Trust::load(&state, &config, device(1)).unwrap();
            assert_eq!(loaded.documents().count(), 2, "{at} bytes");
        }
        fs::write(state.keys(), "[").unwrap();
        let loaded = Trust::load(&state, &config, device(1)).unwrap();
        assert_eq!(
            loaded.held_documents(),
            packcast_protocol::api::HeldDocuments::default()
        );
    }
}
