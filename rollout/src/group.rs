//! What a group has been assigned, and how an assignment changes it.

use packcast_protocol::{GroupName, LocationName, PackageId, Priority, Sha256Digest, UnixTime};
use serde::{Deserialize, Serialize};

use crate::pace::{PacingChange, PacingOverride};
use crate::record::PackageRecord;
use crate::validity::{GroupSignature, next_revision};

/// How many packages a group can have: what fits into one item of a table.
pub const MAX_ASSIGNMENTS: usize = 1_000;

/// What a group has: one record, so that an assignment costs the same whatever its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    pub group: GroupName,
    /// Grows with every change, also over a deletion: a name that is used again goes on counting.
    pub revision: u64,
    /// In the order of their packages' ids.
    pub assignments: Vec<GroupAssignment>,
    /// Where its devices fetch from first, if a package is active there.
    pub preferred: Option<LocationName>,
    /// How fast its devices with stock agents work, where it differs from the target.
    #[serde(default, skip_serializing_if = "PacingOverride::is_empty")]
    pub pace: PacingOverride,
    pub created_at: UnixTime,
    /// The publisher's signature over this state; a change is to be signed anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<GroupSignature>,
}

/// Which state of a group it is: a state that is signed again keeps its revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub revision: u64,
    /// When it was signed, if it was.
    pub issued: Option<UnixTime>,
}

/// A package that every device of a group is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAssignment {
    pub package: PackageId,
    /// The package's manifest, as the publisher has seen it signed.
    pub manifest: Sha256Digest,
    pub priority: Priority,
    /// The group's revision that brought it: a device that is reconciled up to an earlier one
    /// has not seen it.
    pub seq: u64,
    /// Whether to deploy although the device has the package.
    pub force: bool,
    pub assigned_at: UnixTime,
}

/// Why a group does not get a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupAssignError {
    #[error(
        "group {group} has {MAX_ASSIGNMENTS} packages, the most that a group can have: unassign one, or use another group"
    )]
    TooMany { group: GroupName },
    #[error("package {package} is not published yet: publish it again to complete it")]
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
            seal: None,
        }
    }

    pub fn version(&self) -> Version {
        Version {
            revision: self.revision,
            issued: self.seal.as_ref().map(|seal| seal.issued),
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
    /// Assigning again is a new assignment: devices on which the package failed try it again.
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

    /// Returns the group without the package; none if it does not have it.
    pub fn unassign(&self, package: PackageId, now: UnixTime) -> Option<Self> {
        let index = self.position(package).ok()?;
        let mut next = self.next(now);
        next.assignments.remove(index);
        Some(next)
    }

    /// Returns the group with another preferred location, or with none.
    #[must_use]
    pub fn prefer(&self, preferred: Option<LocationName>, now: UnixTime) -> Self {
        Self {
            preferred,
            ..self.next(now)
        }
    }

    /// Returns the group with another pace.
    #[must_use]
    pub fn pace(&self, change: &PacingChange, now: UnixTime) -> Self {
        Self {
            pace: self.pace.changed(change),
            ..self.next(now)
        }
    }

    fn next(&self, now: UnixTime) -> Self {
        Self {
            revision: next_revision(self.revision, now),
            seal: None,
            ..self.clone()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::tests::{id, package};

    const NOW: UnixTime = UnixTime(1_795_000_000);

    /// A clock that says less than the revisions do.
    const EARLY: UnixTime = UnixTime(1);

    pub(crate) fn group(name: &str) -> GroupName {
        name.parse().unwrap()
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
    fn a_full_group_takes_no_other_package() {
        let mut state = GroupState::new(group("lab"), 0, NOW);
        for n in 0..1_000 {
            state = state.assign(&package(n), false, NOW).unwrap();
        }
        assert!(state.assign(&package(1_000), false, NOW).is_err());
        assert!(state.assign(&package(999), false, NOW).is_ok());
    }
}
