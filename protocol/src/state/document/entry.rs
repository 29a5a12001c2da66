//! Entries of group and device documents: one assigned package each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MAX_TEXT_BYTES, Terms};
use crate::assignee::Assignee;
use crate::digest::Sha256Digest;
use crate::group::GroupName;
use crate::package::PackageId;
use crate::state::mandate::Mandate;
use crate::state::number::{MAX_NUMBER, read_number};

/// Largest number of entries in one document.
pub const MAX_ENTRIES: usize = 1_000;

/// Largest form of the entries of a document as JSON, in bytes: 248 KiB. The other fields of a
/// document fit into the remaining bytes.
pub const MAX_ENTRIES_BYTES: usize = MAX_TEXT_BYTES - (8 << 10);

/// The assignment of one package to the group or device that owns the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateEntry {
    /// Id of the package.
    pub package: PackageId,
    /// SHA-256 of the package's manifest. The id alone would let the records choose the manifest.
    pub manifest: Sha256Digest,
    /// Number of the commit that added the entry. A device acts once on each.
    #[serde(deserialize_with = "read_number")]
    #[schemars(range(max = MAX_NUMBER))]
    pub seq: u64,
    /// Name of the group when the entry was added. Absent if the group still has this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<GroupName>,
    /// True if the device must deploy the package even if it has the package.
    pub force: bool,
    /// Conditions of this entry alone.
    pub terms: Terms,
}

/// Entries sorted by package, each package once, at most 1,000 and 248 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<StateEntry>", into = "Vec<StateEntry>")]
#[schemars(extend("maxItems" = MAX_ENTRIES))]
pub struct Entries(Vec<StateEntry>);

/// Errors in the entries of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    #[error("a document has at most {MAX_ENTRIES} packages, not {count}: unassign some")]
    TooMany { count: usize },
    #[error("the document has package {package} twice")]
    Twice { package: PackageId },
    #[error(
        "the packages of a document have {bytes} bytes, at most {MAX_ENTRIES_BYTES} are allowed: unassign some"
    )]
    TooLarge { bytes: usize },
}

impl StateEntry {
    /// Returns the mandate that the entry gives to the devices of the group that owns the document.
    ///
    /// The mandate stays the same when the group is renamed, so that no device acts on the entry
    /// again.
    pub fn group_mandate(&self, group: &GroupName) -> Mandate {
        Mandate {
            assignee: Assignee::Group(self.assignee.as_ref().unwrap_or(group).clone()),
            seq: self.seq,
        }
    }

    /// Returns the entry as it is after its group was renamed.
    #[must_use]
    pub fn renamed(&self, from: &GroupName, to: &GroupName) -> Self {
        let assignee = self.assignee.as_ref().unwrap_or(from);
        Self {
            assignee: (assignee != to).then(|| assignee.clone()),
            ..self.clone()
        }
    }
}

impl Entries {
    /// Sorts the entries, which may be in any order.
    pub fn new(mut entries: Vec<StateEntry>) -> Result<Self, EntriesError> {
        if entries.len() > MAX_ENTRIES {
            let count = entries.len();
            return Err(EntriesError::TooMany { count });
        }
        // The order is part of the digested text: equal entries must have equal texts.
        entries.sort_unstable_by_key(|entry| entry.package);
        let mut pairs = entries.windows(2);
        if let Some(twice) = pairs.find(|pair| pair[0].package == pair[1].package) {
            let package = twice[0].package;
            return Err(EntriesError::Twice { package });
        }
        let bytes = serde_json::to_string(&entries)
            .expect("entries have names as keys")
            .len();
        if bytes > MAX_ENTRIES_BYTES {
            return Err(EntriesError::TooLarge { bytes });
        }
        Ok(Self(entries))
    }

    /// Returns the entry of a package.
    pub fn of(&self, package: PackageId) -> Option<&StateEntry> {
        let index = self
            .0
            .binary_search_by_key(&package, |entry| entry.package)
            .ok()?;
        self.0.get(index)
    }

    /// Returns the entries in the order of their packages.
    pub fn as_slice(&self) -> &[StateEntry] {
        &self.0
    }
}

impl TryFrom<Vec<StateEntry>> for Entries {
    type Error = EntriesError;

    fn try_from(entries: Vec<StateEntry>) -> Result<Self, Self::Error> {
        Self::new(entries)
    }
}

impl From<Entries> for Vec<StateEntry> {
    fn from(entries: Entries) -> Self {
        entries.0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::causes::messages;

    pub(in crate::state::document) fn entry(n: u32) -> StateEntry {
        StateEntry {
            package: PackageId::try_from(1_795_000_000 + n).unwrap(),
            manifest: Sha256Digest::of(&n.to_be_bytes()),
            seq: u64::from(n),
            assignee: None,
            force: n.is_multiple_of(2),
            terms: Terms::default(),
        }
    }

    #[test]
    fn entries_are_found_by_package() {
        let entries = Entries::new(vec![entry(3), entry(1), entry(2)]).unwrap();
        assert_eq!(entries.of(entry(2).package), Some(&entry(2)));
        assert_eq!(entries.of(entry(4).package), None);
        assert_eq!(entries.as_slice(), [entry(1), entry(2), entry(3)]);
    }

    #[test]
    fn a_renamed_group_has_the_same_mandates() {
        let [lab, office, hall] = ["lab", "office", "hall"].map(|name| name.parse().unwrap());
        let first = entry(1);
        let second = first.renamed(&lab, &office);
        let third = second.renamed(&office, &hall);
        assert_eq!(third.assignee, Some(lab.clone()));
        for (entry, group) in [(&second, &office), (&third, &hall)] {
            assert_eq!(entry.group_mandate(group), first.group_mandate(&lab));
        }
        assert_eq!(third.renamed(&hall, &lab), first);
    }

    #[test]
    fn error_messages() {
        let errors = [(0..1001).collect(), vec![1, 2, 1]].map(|numbers: Vec<u32>| {
            let entries = numbers.into_iter().map(entry).collect();
            Entries::new(entries).unwrap_err()
        });
        let large = EntriesError::TooLarge { bytes: 300_000 };
        insta::assert_snapshot!(messages([&errors[0], &errors[1], &large]), @"
        a document has at most 1000 packages, not 1001: unassign some
        the document has package 1795000001 twice
        the packages of a document have 300000 bytes, at most 253952 are allowed: unassign some
        ");
    }
}
