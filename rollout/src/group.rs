//! The state of a group, as the records have it.

use packcast_protocol::state::{GroupOrigin, Mandate, RolloutId};
use packcast_protocol::{
    Assignee, GroupName, LocationName, PackageId, Priority, Sha256Digest, UnixTime,
};
use serde::{Deserialize, Serialize};

use crate::pacing::PacingOverride;

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
    #[serde(
        rename = "pacing",
        default,
        skip_serializing_if = "PacingOverride::is_empty"
    )]
    pub pace: PacingOverride,
    pub created_at: UnixTime,
    /// Number of the commit that created the group, or gave it its present name. `None` if the
    /// state follows from no commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// First name of a group that was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<GroupOrigin>,
    /// Digest of the group's document in the tree from which the state follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Sha256Digest>,
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
    /// The rollout by which devices begin with the package. `None` if devices begin at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Name of the group when the package was assigned. `None` if the group still has this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<GroupName>,
    pub assigned_at: UnixTime,
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
            origin: None,
            document: None,
        }
    }

    pub fn assignment(&self, package: PackageId) -> Option<&GroupAssignment> {
        self.position(package)
            .ok()
            .map(|index| &self.assignments[index])
    }

    /// Returns the origin of the group. `None` if the state follows from no commit.
    pub fn origin(&self) -> Option<GroupOrigin> {
        let created = self.created?;
        let present = || GroupOrigin {
            name: self.group.clone(),
            created,
        };
        Some(self.origin.clone().unwrap_or_else(present))
    }

    /// Returns the mandate that an assignment gives to the devices of the group. `None` if the
    /// assignment follows from no commit.
    pub fn mandate(&self, assignment: &GroupAssignment) -> Option<Mandate> {
        Some(Mandate {
            assignee: Assignee::Group(self.assignee(assignment).clone()),
            seq: assignment.mandate?,
        })
    }

    /// Returns the name that the group had when the package was assigned.
    pub fn assignee<'a>(&'a self, assignment: &'a GroupAssignment) -> &'a GroupName {
        assignment.assignee.as_ref().unwrap_or(&self.group)
    }

    fn position(&self, package: PackageId) -> Result<usize, usize> {
        self.assignments
            .binary_search_by_key(&package, |assignment| assignment.package)
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
    use crate::record::PackageRecord;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    pub(crate) fn group(name: &str) -> GroupName {
        name.parse().unwrap()
    }

    impl GroupState {
        /// Returns the next revision of the group, with a package that is assigned now.
        pub(crate) fn assigning(&self, package: &PackageRecord, force: bool) -> Self {
            let published = package.published().unwrap();
            let mut next = self.without(package.id);
            let assignment = GroupAssignment {
                package: package.id,
                manifest: published.manifest,
                priority: package.priority,
                seq: next.revision,
                force,
                mandate: None,
                rollout: None,
                assignee: None,
                assigned_at: NOW,
            };
            let index = next.position(package.id).unwrap_err();
            next.assignments.insert(index, assignment);
            next
        }

        /// Returns the next revision of the group, without a package.
        pub(crate) fn without(&self, package: PackageId) -> Self {
            let mut next = self.clone();
            next.revision += 1;
            next.assignments.retain(|it| it.package != package);
            next
        }
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
}
