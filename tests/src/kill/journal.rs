//! The stages of packages according to the agent's journals.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::labels::Labels;

/// The stage of each package that has a journal.
pub(super) type Journals = BTreeMap<String, JournalStage>;

/// The stage that a journal contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub(super) enum JournalStage {
    Fetching,
    Acting,
    Finished,
}

/// Reads a journal: a digest, a space, and JSON.
pub(super) fn read(path: &Path) -> Option<JournalStage> {
    let line = fs::read_to_string(path).ok()?;
    let (_, json) = line.split_once(' ')?;
    serde_json::from_str(json).ok()
}

/// Reads all journals in the state of a device.
pub(super) fn read_all(state: &Path, labels: &Labels<'_>) -> Journals {
    let files = tree(state).into_iter();
    let journals = files.filter_map(|path| {
        let label = labels.path(&path);
        Some((package(&label)?.to_owned(), read(&path)?))
    });
    journals.collect()
}

/// Returns the package whose journal has this label.
pub(super) fn package(label: &str) -> Option<&str> {
    label
        .strip_prefix("state/packages/")?
        .strip_suffix("/journal")
}

/// Returns the paths of all files and folders below a folder, at any depth.
pub(super) fn tree(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_contains_its_stage() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("journal");
        let check = |line: &str, expected| {
            fs::write(&path, line).unwrap();
            assert_eq!(read(&path), expected, "{line}");
        };
        check(
            "5c7b {\"stage\":\"acting\",\"attempt\":1}\n",
            Some(JournalStage::Acting),
        );
        check(
            "5c7b {\"stage\":\"finished\"}\n",
            Some(JournalStage::Finished),
        );
        check("5c7b {\"stage\":\"act", None);
        check("", None);
    }
}
