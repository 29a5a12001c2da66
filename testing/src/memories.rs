//! The memories of signed commits: one for each table, in a folder that the table owns.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use packcast_protocol::state::TrustedRoots;
use packcast_publisher::signing::memory_file::{MemoryFile, MemoryFileError};
use packcast_store::Records;
use tempfile::TempDir;

/// Paths of the memories, by the names of their tables, which are random.
static PATHS: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// Creates the memory of a table whose target is new.
///
/// # Panics
/// The folder for the memory cannot be written.
pub(crate) fn create(records: &Records, trust: &TrustedRoots) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be created");
    let path = folder.path().join("commits.jsonl");
    let is_new = MemoryFile::found(&path, trust).expect("a memory can be created");
    assert!(is_new, "the folder is empty");
    let mut paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
    paths.insert(records.table().to_owned(), path);
    folder
}

/// Opens the memory of a table, as soon as no other caller has it.
///
/// # Panics
/// The table has no target.
pub(crate) async fn open(
    records: &Records,
    trust: &TrustedRoots,
) -> Result<MemoryFile, MemoryFileError> {
    let path = {
        let paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
        paths.get(records.table()).cloned()
    };
    MemoryFile::open(&path.expect("the table has a target"), trust).await
}
