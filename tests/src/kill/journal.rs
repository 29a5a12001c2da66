//! How far the agent's journals say that its packages are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::labels::Labels;
use super::site::tree;

/// The stages of every package that has a journal.
pub(super) type Journals = BTreeMap<String, Stage>;

/// What a journal says of its package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub(super) enum Stage {
    Fetching,
    Acting,
    Finished,
}

/// Reads a journal: a digest, a space, and JSON.
pub(super) fn read(path: &Path) -> Option<Stage> {
    let line = fs::read_to_string(path).ok()?;
    let (_, json) = line.split_once(' ')?;
    serde_json::from_str(json).ok()
}

/// Reads all journals in a device's state.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_tells_its_stage() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("journal");
        let check = |line: &str, expected| {
            fs::write(&path, line).unwrap();
            assert_eq!(read(&path), expected, "{line}");
        };
        check(
            "5c7b {\"stage\":\"acting\",\"attempt\":1}\n",
            Some(Stage::Acting),
        );
        check("5c7b {\"stage\":\"finished\"}\n", Some(Stage::Finished));
        check("5c7b {\"stage\":\"act", None);
        check("", None);
    }
}
