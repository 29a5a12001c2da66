//! The state of a group, and its changes.

use packcast_protocol::{GroupName, LocationName, PackageId, Priority, Sha256Digest, UnixTime};
use serde::{Deserialize, Serialize};

use crate::pacing::{PacingChange, PacingOverride};
use crate::record::PackageRecord;
use crate::validity::{GroupSignature, next_revision};

/// Maximum number of packages of a group, so that its state fits into one item of the table.
pub const MAX_ASSIGNMENTS: usize = 1_000;

/// State of a group.
///
/// It is one record, so that an assignment costs the same for a group of any size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    pub group: GroupName,
    /// Revision of the state. It grows with every change. A group that is deleted and created
    /// again continues from its last revision.
    pub revision: u64,
    /// Assignments of the group, in the order of their packages' ids.
    pub assignments: Vec<GroupAssignment>,
    /// Location from which the group's devices download first, if a package is active there.
    pub preferred: Option<LocationName>,
    /// Pacing of the group's devices with OCS agents, where it differs from the target's.
    #[serde(default, skip_serializing_if = "PacingOverride::is_empty")]
    pub pace: PacingOverride,
    pub created_at: UnixTime,
    /// Number of the commit that created the group. `None` if the state follows from no commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// Digest of the group's document in the tree from which the state follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Sha256Digest>,
    /// The publisher's signature over this state. `None` after a change, until the change is
    /// signed.
    #[serde(rename = "seal", default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<GroupSignature>,
}

/// Revision of a group, with the time at which it was signed.
///
/// A state that is signed again keeps its revision and gets a new time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRevision {
    pub revision: u64,
    /// Time at which the state was signed. `None` if it is not signed.
    pub issued: Option<UnixTime>,
}

/// A package that is assigned to a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAssignment {
    pub package: PackageId,
    /// Digest of the package's manifest, as the publisher has verified it.
    pub manifest: Sha256Digest,
    pub priority: Priority,
    /// Revision of the group in which the package was assigned. A device whose observed revision
    /// is lower has no task for this assignment yet.
    pub seq: u64,
    /// Deploy the package even if the device has it already.
    pub force: bool,
    /// `seq` of the entry in the group's document: the number of the commit that assigned the
    /// package. `None` if the assignment follows from no commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<u64>,
    pub assigned_at: UnixTime,
}

/// Errors from assigning a package to a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupAssignError {
    #[error(
        "group {group} has {MAX_ASSIGNMENTS} packages, which is the limit: unassign one, or use another group"
    )]
    TooMany { group: GroupName },
    #[error(
        "package {package} is not published yet: run the same 'packcast publish' command again"
    )]
    NotPublished { package: PackageId },
}

impl GroupState {
    /// Returns a group without assignments.
    pub fn new(group: GroupName, revision: u64, now: UnixTime) -> Self {
        Self {
            group,
            revision,
            assignments: Vec::new(),
            preferred: None,
            pace: PacingOverride::default(),
            created_at: now,
            created: None,
            document: None,
            signature: None,
        }
    }

    /// Returns the revision of this state, with the time at which the state was signed.
    pub fn signed_revision(&self) -> GroupRevision {
        GroupRevision {
            revision: self.revision,
            issued: self.signature.as_ref().map(|signature| signature.issued),
        }
    }

    pub fn assignment(&self, package: PackageId) -> Option<&GroupAssignment> {
        self.position(package)
            .ok()
            .map(|index| &self.assignments[index])
    }

    fn position(&self, package: PackageId) -> Result<usize, usize> {
        self.assignments
            .binary_search_by_key(&package, |assignment| assignment.package)
    }

    /// Returns the group with the package assigned.
    ///
    /// If the group has the package already, this is a new assignment: devices on which the
    /// package failed try again.
    pub fn assign(
        &self,
        package: &PackageRecord,
        force: bool,
        now: UnixTime,
    ) -> Result<Self, GroupAssignError> {
        let published = package.published();
        let published = published.ok_or(GroupAssignError::NotPublished {
            package: package.id,
        })?;
        let mut next = self.next(now);
        let assignment = GroupAssignment {
            package: package.id,
            manifest: published.manifest,
            priority: package.priority,
            seq: next.revision,
            force,
            mandate: None,
            assigned_at: now,
        };
        match next.position(package.id) {
            Ok(index) => next.assignments[index] = assignment,
            Err(_) if next.assignments.len() >= MAX_ASSIGNMENTS => {
                let group = next.group;
                return Err(GroupAssignError::TooMany { group });
            }
            Err(index) => next.assignments.insert(index, assignment),
        }
        Ok(next)
    }

    /// Returns the group without the package, or `None` if the group does not have the package.
    pub fn unassign(&self, package: PackageId, now: UnixTime) -> Option<Self> {
        let index = self.position(package).ok()?;
        let mut next = self.next(now);
        next.assignments.remove(index);
        Some(next)
    }

    /// Returns the group with another preferred location, or without one.
    #[must_use]
    pub fn prefer(&self, preferred: Option<LocationName>, now: UnixTime) -> Self {
        Self {
            preferred,
            ..self.next(now)
        }
    }

    /// Returns the group with changed pacing.
    #[must_use]
    pub fn with_pacing(&self, change: &PacingChange, now: UnixTime) -> Self {
        Self {
            pace: self.pace.changed(change),
            ..self.next(now)
        }
    }

    fn next(&self, now: UnixTime) -> Self {
        Self {
            revision: next_revision(self.revision, now),
            signature: None,
            ..self.clone()
        }
    }
}

/// Returns true if the recorded state of a group follows from this leaf of the tree.
///
/// `leaf` is the digest of the group's document at the cached head, or `None` if the head has no
/// such group. If the two differ, the records of the group are incomplete, or the cached head is
/// old: the function then announces nothing of this group, and withdraws nothing.
pub fn follows_leaf(recorded: Option<&GroupState>, leaf: Option<Sha256Digest>) -> bool {
    recorded.and_then(|state| state.document) == leaf
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::tests::{id, package};

    const NOW: UnixTime = UnixTime(1_795_000_000);

    /// A time that is lower than the revisions.
    const EARLY: UnixTime = UnixTime(1);

    pub(crate) fn group(name: &str) -> GroupName {
        name.parse().unwrap()
    }

    #[test]
    fn messages() {
        let errors = [
            GroupAssignError::TooMany {
                group: group("lab"),
            },
            GroupAssignError::NotPublished { package: id(1) },
        ];
        let lines = errors.map(|error| error.to_string());
        insta::assert_snapshot!(lines.join("\n"), @r"
        group lab has 1000 packages, which is the limit: unassign one, or use another group
        package 1790000001 is not published yet: run the same 'packcast publish' command again
        ");
    }

    #[test]
    fn every_change_is_a_revision() {
        let empty = GroupState::new(group("lab"), 7, EARLY);
        let two = empty.assign(&package(2), false, EARLY).unwrap();
        let both = two.assign(&package(1), true, EARLY).unwrap();
        assert_eq!((two.revision, both.revision), (8, 9));
        let seqs = both.assignments.iter().map(|a| (a.package, a.seq));
        assert_eq!(seqs.collect::<Vec<_>>(), [(id(1), 9), (id(2), 8)]);
        let left = both.unassign(id(1), EARLY).unwrap();
        assert_eq!((left.revision, left.assignments.len()), (10, 1));
        assert_eq!(left.unassign(id(1), EARLY), None);
    }

    #[test]
    fn assigning_again_is_a_new_assignment() {
        let state = GroupState::new(group("lab"), 0, EARLY);
        let once = state.assign(&package(1), false, EARLY).unwrap();
        let twice = once.assign(&package(1), false, EARLY).unwrap();
        assert_eq!(twice.assignments.len(), 1);
        assert_eq!(twice.assignments[0].seq, 2);
    }

    #[test]
    fn a_state_follows_only_from_the_leaf_with_its_document() {
        let document = Sha256Digest::of(b"document");
        let unsigned = GroupState::new(group("lab"), 7, NOW);
        let state = GroupState {
            document: Some(document),
            ..unsigned.clone()
        };
        assert!(follows_leaf(Some(&state), Some(document)));
        assert!(follows_leaf(None, None));
        let other = Some(Sha256Digest::of(b"other"));
        for leaf in [None, other] {
            assert!(!follows_leaf(Some(&state), leaf));
        }
        assert!(!follows_leaf(Some(&unsigned), other));
        assert!(!follows_leaf(None, other));
    }

    #[test]
    fn a_full_group_takes_no_other_package() {
        let mut state = GroupState::new(group("lab"), 0, NOW);
        for n in 0..1_000 {
            state = state.assign(&package(n), false, NOW).unwrap();
        }
        assert!(state.assign(&package(1_000), false, NOW).is_err());
        assert!(state.assign(&package(999), false, NOW).is_ok());
    }
}
